"""Baselines from other online-learning libraries, where they are installed: river, and deep-river's LSTM."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.evaluation.baselines import LAGS, Baseline, find_season

Floats = NDArray[np.float64]

HIDDEN, WINDOW = 64, 10
"""Units and items that deep-river's LSTM gets; its other settings are its defaults."""


class Regressed:
    """A library's regressor from the last values to the next one.

    Args:
        regressor: With river's ``predict_one`` and ``learn_one``.
        n_lags: Values that it is shown.
    """

    def __init__(self, regressor: Any, n_lags: int) -> None:
        self.regressor = regressor
        self.past: deque[float] = deque(maxlen=n_lags)

    def forecast(self) -> float:
        """What the regressor says."""
        return float(self.regressor.predict_one(self._features()))

    def learn(self, value: float) -> None:
        """Teach it one value."""
        if self.past:
            self.regressor.learn_one(self._features(), value)
        else:
            self.past.extend([value] * ((self.past.maxlen or 1) - 1))
        self.past.append(value)

    def _features(self) -> dict[str, float]:
        return {str(lag): value for lag, value in enumerate(reversed(self.past), start=1)}


class Arima:
    """River's SNARIMAX.

    Args:
        season: Values of one; 1 for none.
    """

    def __init__(self, season: int) -> None:
        from river.time_series import SNARIMAX  # noqa: PLC0415 - optional

        self.model: Any = SNARIMAX(p=LAGS, d=0, q=0, m=season, sp=int(season > 1))

    def forecast(self) -> float:
        """One step ahead."""
        return float(self.model.forecast(1)[0])

    def learn(self, value: float) -> None:
        """Teach it one value."""
        self.model.learn_one(value)


def found(season: int | None) -> tuple[list[Baseline], list[str]]:
    """The libraries' baselines, and one line for each library that cannot be used.

    Args:
        season: Values of one; ``None`` to look for it.
    """
    baselines: list[Baseline] = []
    missing: list[str] = []
    for name, add, how in (
        ("river", _river, 'pip install "stepahead-server[baselines]"'),
        ("deep-river", _deep_river, "docs/evaluate.md says how to install it"),
    ):
        try:
            baselines += add(season)
        except (ImportError, AttributeError) as error:  # the latter where it was made for another river
            missing.append(f"{name} left out: {error}; {how}")
    return baselines, missing


def _river(season: int | None) -> list[Baseline]:
    import river  # noqa: F401, PLC0415 - optional

    return [
        Baseline("river-snarimax", Seasonal(season)),
        Baseline("river-linear", linear),
    ]


def _deep_river(season: int | None) -> list[Baseline]:  # noqa: ARG001 - as its sibling
    import deep_river.regression.zoo  # noqa: F401, PLC0415 - optional

    return [Baseline("deep-river-lstm", lstm, uses_seed=True)]


class Seasonal:
    """Makes SNARIMAX with a season that is given, or found in what comes before the first scored value."""

    def __init__(self, season: int | None) -> None:
        self.season = season

    def __call__(self, before: Floats, seed: int) -> Arima:  # noqa: ARG002 - nothing random in it
        """A fresh forecaster."""
        return Arima(self.season or find_season(before))


def linear(before: Floats, seed: int) -> Regressed:  # noqa: ARG001 - it takes neither
    """River's linear regression by gradient descent, inputs and target standardised."""
    from river import linear_model  # noqa: PLC0415 - optional

    return Regressed(_standardised(linear_model.LinearRegression()), LAGS)


def lstm(before: Floats, seed: int) -> Regressed:  # noqa: ARG001 - needs no season
    """deep-river's rolling LSTM, input and target standardised; its window holds the past."""
    from deep_river.regression.zoo import LSTMRegressor  # noqa: PLC0415 - optional

    torch.manual_seed(seed)
    model = LSTMRegressor(n_features=1, hidden_size=HIDDEN, window_size=WINDOW, seed=seed)
    return Regressed(_standardised(model), 1)


def _standardised(regressor: Any) -> Any:
    from river import preprocessing  # noqa: PLC0415 - optional

    scaled: Callable[..., Any] = preprocessing.TargetStandardScaler
    return scaled(regressor=preprocessing.StandardScaler() | regressor)
