"""What the learner is compared with: methods that forecast one value of one field of one stream at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.evaluation.outcome import Outcome
from service.evaluation.runs import TELL_EVERY, Asked, Tell
from service.evaluation.series import Series

Floats = NDArray[np.float64]

LAGS = 24
"""Values that autoregressions look back on."""

_MIN_CYCLES = 2  # how often a season must fit into what it is looked for in
_NEARLY = 0.9  # share of the strongest correlation that is as good
_SIGNIFICANCE = 5.0  # standard errors of white noise that a season must have: many are tried, on changes that overlap


class Forecaster(Protocol):
    """Of one field of one stream."""

    def forecast(self) -> float:
        """The next value; asked for once before each :meth:`learn`."""
        ...

    def learn(self, value: float) -> None:
        """Take in the next value; a missing one comes as what was forecast in its place."""
        ...


@dataclass(frozen=True, slots=True)
class Baseline:
    """Forecasters under a name.

    Args:
        name: What tables call it.
        make: A fresh forecaster from the values before the first scored one, (T,), or the first quarter where that is
            none, of which it takes no more than a season; and from a seed. It travels to other processes.
        uses_seed: Whether the seed makes a difference.
    """

    name: str
    make: Callable[[Floats, int], Forecaster]
    uses_seed: bool = False

    def run(self, series: Series, asked: Asked, seed: int, tell: Tell) -> Outcome:
        """Go through every stream's real fields, test then train; the first value of each is never forecast."""
        outcome = Outcome.empty(series)
        scored = asked.rows.scored(series)
        n_reals, debt = len(series.reals), 0
        for rows in series.by_stream():
            for j in range(n_reals):
                column = series.values[rows, j]
                started = time.process_time()
                before = column[~scored[rows]] if not scored[rows].all() else column[: len(column) // 4]
                forecasts, n_replaced = follow(self.make(before, seed), column)
                outcome.cpu_s += time.process_time() - started
                outcome.error[rows, j] = column - forecasts
                outcome.n_replaced += n_replaced
                outcome.n_steps += len(rows)
            debt += len(rows)
            if debt >= TELL_EVERY:
                tell(debt, "")
                debt = 0
        tell(debt, "")
        outcome.error[np.isnan(outcome.persistence_error)] = np.nan
        outcome.keep(scored)
        return outcome


def follow(forecaster: Forecaster, column: Floats) -> tuple[Floats, int]:
    """Forecasts of each value of (T,), NaN before the first one seen, and how many were not finite.

    In place of a forecast that is not finite comes the last value.
    """
    forecasts, n_replaced, last = np.full(len(column), np.nan), 0, math.nan
    for i, value in enumerate(column.tolist()):
        if math.isnan(last):
            said = math.nan
        else:
            said = forecaster.forecast()
            if not math.isfinite(said):
                said, n_replaced = last, n_replaced + 1
        forecasts[i] = said
        seen = not math.isnan(value)
        if seen or not math.isnan(last):
            forecaster.learn(value if seen else said)
        last = value if seen else last
    return forecasts, n_replaced


class Persistence:
    """The last value again."""

    def __init__(self) -> None:
        self.last = math.nan

    def forecast(self) -> float:
        """The last value."""
        return self.last

    def learn(self, value: float) -> None:
        """Keep it."""
        self.last = value


class SeasonalNaive:
    """The value one season ago; before a season has passed, the last one.

    Args:
        period: Values of a season.
    """

    def __init__(self, period: int) -> None:
        self.period = period
        self.ring: list[float] = []

    def forecast(self) -> float:
        """The value one season ago."""
        return self.ring[-self.period] if len(self.ring) >= self.period else self.ring[-1]

    def learn(self, value: float) -> None:
        """Keep it."""
        self.ring.append(value)
        if len(self.ring) > 2 * self.period:
            del self.ring[: -self.period]


class RecursiveLeastSquares:
    """An autoregression on the last ``LAGS`` values and a constant, by recursive least squares in double precision.

    Values are taken relative to the first one and in units of the first few changes, so that the prior fits any unit;
    before anything is learned the forecast is the last value. Forgetting stops while the covariance's trace is above
    the prior's: without that guard it grows without bound along directions that the stream does not excite.

    Source: Ljung, "System Identification", 2nd ed., 11.2.
    """

    FORGETTING = 0.9999
    PRIOR = 1.0  # variance of a coefficient
    _WARM = 8  # changes that the unit is taken from

    def __init__(self) -> None:
        self.origin = math.nan
        self.unit = 0.0
        self.first: list[float] = []
        self.past = np.zeros(LAGS + 1)
        self.past[-1] = 1.0  # the constant
        self.coefficients = np.zeros(LAGS + 1)
        self.coefficients[0] = 1.0
        self.covariance = self.PRIOR * np.eye(LAGS + 1)

    def forecast(self) -> float:
        """From the last values."""
        if self.unit == 0:
            return self.first[-1]
        return self.origin + self.unit * float(self.coefficients @ self.past)

    def learn(self, value: float) -> None:
        """Take one step of recursive least squares."""
        if self.unit == 0:
            self.first.append(value)
            self._begin()
            return
        target = (value - self.origin) / self.unit
        self._update(target)
        self.past[1:LAGS] = self.past[: LAGS - 1]
        self.past[0] = target

    def _update(self, target: float) -> None:
        gain = self.covariance @ self.past
        forgetting = self.FORGETTING if np.trace(self.covariance) < self.PRIOR * (LAGS + 1) else 1.0
        divisor = forgetting + float(self.past @ gain)
        error = target - float(self.coefficients @ self.past)
        coefficients = self.coefficients + gain * (error / divisor)
        covariance = (self.covariance - np.outer(gain, gain / divisor)) / forgetting
        if divisor > 0 and np.isfinite(coefficients).all() and np.isfinite(covariance).all():
            self.coefficients, self.covariance = coefficients, (covariance + covariance.T) / 2

    def _begin(self) -> None:
        """Settle the unit once enough values have come and they are not all the same."""
        changes = np.diff(self.first)
        if len(changes) < self._WARM or not np.any(changes):
            self.first = self.first[-1:] if len(changes) >= self._WARM else self.first
            return
        self.origin, self.unit = self.first[0], float(np.sqrt(np.mean(np.square(changes))))
        for value in self.first[1:]:
            self.past[1:LAGS] = self.past[: LAGS - 1]
            self.past[0] = (value - self.origin) / self.unit


def find_season(values: Floats) -> int:
    """Period at which changes correlate with themselves about as much as at any; 1 if none does by more than chance.

    Multiples of a season correlate as it does: the shortest is taken.

    Args:
        values: (T,); NaN where missing.
    """
    known = values[~np.isnan(values)]
    changes = np.diff(known)
    if len(changes) < 2 * _MIN_CYCLES:
        return 1
    changes = changes - changes.mean()
    n = len(changes)
    power = np.abs(np.fft.rfft(changes, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[:n]
    if correlation[0] <= 0:
        return 1
    correlation = correlation / correlation[0] * (n / (n - np.arange(n)))
    lags = np.arange(2, n // _MIN_CYCLES + 1)
    peaks = [k for k in lags if correlation[k] >= correlation[k - 1] and correlation[k] >= correlation[k + 1]]
    strong = [k for k in peaks if correlation[k] * math.sqrt(n - k) > _SIGNIFICANCE]
    enough = _NEARLY * max((correlation[k] for k in strong), default=0.0)
    return int(next((k for k in strong if correlation[k] >= enough), 1))


@dataclass(frozen=True, slots=True)
class Plain:
    """Makes a forecaster that takes neither the past nor a seed."""

    kind: Callable[[], Forecaster]

    def __call__(self, before: Floats, seed: int) -> Forecaster:  # noqa: ARG002 - it takes neither
        """A fresh one."""
        return self.kind()


@dataclass(frozen=True, slots=True)
class Naive:
    """Makes a seasonal naive forecaster; the season is found if it is not given."""

    season: int | None

    def __call__(self, before: Floats, seed: int) -> Forecaster:  # noqa: ARG002 - nothing random in it
        """A fresh one."""
        return SeasonalNaive(self.season or find_season(before))


def simple(season: int | None) -> list[Baseline]:
    """Baselines that need no library.

    Args:
        season: Values of one; ``None`` to look for it in the values before the first scored one.
    """
    return [
        Baseline("persistence", Plain(Persistence)),
        Baseline("seasonal-naive", Naive(season)),
        Baseline(f"rls-ar{LAGS}", Plain(RecursiveLeastSquares)),
    ]
