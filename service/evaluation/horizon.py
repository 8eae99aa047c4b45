"""Forecasts several steps ahead, scored once their items are there; nothing is learned from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.belief import Beliefs
from model.forecast import forecast
from model.learner import Learner
from service.evaluation.series import Series

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Quantiles that a forecast is read at: the mean pinball loss over them, doubled, approximates the CRPS."""


class Ahead:
    """Sums over forecasts, per step ahead (H) and real field (R) or category field (C).

    A forecast is made from the belief and the weights as they were after a row. It is compared with the rows that
    followed in that stream, which the learner meets only in their turn, as items one step ahead.

    Args:
        series: Where the truth is.
        scored: Rows that a forecast may be made for, (N,).
        horizon: Steps (H).
        every: Rows of a stream between two forecasts.
    """

    def __init__(self, series: Series, scored: NDArray[np.bool_], horizon: int, every: int) -> None:
        self.series, self.scored, self.horizon, self.every = series, scored, horizon, every
        self.by_stream = series.by_stream()
        self.turn = np.empty(len(series), np.int64)
        for rows in self.by_stream:
            self.turn[rows] = np.arange(len(rows))
        n_reals, n_categories = len(series.reals), len(series.categories)
        self.n, self.squares, self.absolutes, self.crps, self.covered, self.persistence = np.zeros(
            (6, horizon, n_reals)
        )
        self.named, self.right, self.repeated = np.zeros((3, horizon, n_categories))
        self.last_values, self.last_names = series.last_seen()

    def look(self, rows: NDArray[np.int64], learner: Learner, beliefs: Beliefs) -> None:
        """Forecast from the beliefs after these rows, where it is due and all its items come."""
        for i, row in enumerate(rows):
            own, turn = self.by_stream[self.series.stream[row]], self.turn[row]
            coming = own[turn + 1 : turn + 1 + self.horizon]
            if turn % self.every or len(coming) < self.horizon or not self.scored[coming[0]]:
                continue
            asked = learner.with_spec(replace(learner.spec, quantiles=LEVELS))
            for step, (place, said) in enumerate(zip(coming, forecast(asked, beliefs[[i]], self.horizon), strict=True)):
                self._add(step, int(place), int(coming[0]), said["fields"])

    def _add(self, step: int, row: int, first: int, said: dict[str, dict[str, object] | None]) -> None:
        """Count what was said of one row; ``first`` is the row after the forecast's origin."""
        for j, name in enumerate(self.series.reals):
            value, last, found = self.series.values[row, j], self.last_values[first, j], said[name]
            if found is None or np.isnan(value) or np.isnan(last):
                continue
            quantiles = np.array(list(found["quantiles"].values()))  # type: ignore[attr-defined]
            error = value - found["mean"]
            below = value - quantiles
            self.n[step, j] += 1
            self.squares[step, j] += error**2
            self.absolutes[step, j] += abs(error)
            self.crps[step, j] += 2 * np.mean(np.maximum(np.array(LEVELS) * below, (np.array(LEVELS) - 1) * below))
            self.covered[step, j] += quantiles[0] <= value <= quantiles[-1]
            self.persistence[step, j] += (value - last) ** 2
        for j, name in enumerate(self.series.categories):
            named, found = self.series.names[row, j], said[name]
            if named is not None and found is not None and found["top"] is not None:
                self.named[step, j] += 1
                self.right[step, j] += found["top"] == named
                self.repeated[step, j] += self.last_names[first, j] == named

    def report(self) -> list[dict[str, dict[str, float | int | None]]]:
        """Measures per step ahead and field; ``None`` where nothing was scored. In the fields' own units."""
        steps = []
        for h in range(self.horizon):
            found: dict[str, dict[str, float | int | None]] = {}
            for j, name in enumerate(self.series.reals):
                n = self.n[h, j]
                sums = (self.squares, self.absolutes, self.crps, self.covered, self.persistence)
                mse, mae, crps, coverage, persistence = (float(part[h, j] / n) if n else None for part in sums)
                found[name] = {
                    "scored": int(n),
                    "rmse": None if mse is None else mse**0.5,
                    "mae": mae,
                    "crps": crps,
                    "coverage": coverage,
                    "persistence_rmse": None if persistence is None else persistence**0.5,
                    "rmse_ratio": (mse / persistence) ** 0.5 if mse is not None and persistence else None,
                }
            for j, name in enumerate(self.series.categories):
                n = self.named[h, j]
                found[name] = {
                    "scored": int(n),
                    "accuracy": float(self.right[h, j] / n) if n else None,
                    "persistence_accuracy": float(self.repeated[h, j] / n) if n else None,
                }
            steps.append(found)
        return steps
