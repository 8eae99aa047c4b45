"""What one method said of every row, as columns that measures and tests are computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.evaluation.series import Series

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Outcome:
    """Scores of N rows; NaN, or rank 0, where nothing was scored: not asked for, missing, or not predicted.

    Args:
        error: Observed minus predicted, (N, R), in the field's unit.
        crps: (N, R), in the field's unit; NaN for methods that only give a value.
        covered: Whether the value lay within the outermost quantiles, 1 or 0, (N, R).
        persistence_error: Observed minus last observed, (N, R).
        nats: Of category fields, (N, C).
        rank: Place of the value among all by probability, (N, C), from 1.
        repeated: Whether a category took its last value again, (N, C).
        nll: Nats of the whole item, (N,).
        cpu_s: Processor seconds spent predicting and learning.
        n_steps: Micro-batches, or values for methods that take one at a time.
        ahead: Measures per step ahead, where horizons were asked for.
        n_replaced: Forecasts that were not finite; the last value took their place.
    """

    error: Floats
    crps: Floats
    covered: Floats
    persistence_error: Floats
    nats: Floats
    rank: NDArray[np.int32]
    repeated: NDArray[np.bool_]
    nll: Floats
    cpu_s: float = 0.0
    n_steps: int = 0
    ahead: list[dict[str, dict[str, float | int | None]]] = field(default_factory=list)
    n_replaced: int = 0

    @classmethod
    def empty(cls, series: Series) -> Self:
        """Nothing scored yet; of persistence what it would have said."""
        n, n_reals, n_categories = len(series), len(series.reals), len(series.categories)
        values, names = series.last_seen()
        return cls(
            error=np.full((n, n_reals), np.nan),
            crps=np.full((n, n_reals), np.nan),
            covered=np.full((n, n_reals), np.nan),
            persistence_error=series.values - values,
            nats=np.full((n, n_categories), np.nan),
            rank=np.zeros((n, n_categories), np.int32),
            repeated=(series.names == names) & (names != None),  # noqa: E711 - of each element
            nll=np.full(n, np.nan),
        )

    def keep(self, scored: NDArray[np.bool_]) -> None:
        """Forget the scores of all rows but these, (N,)."""
        for part in (self.error, self.crps, self.covered, self.nats, self.nll):
            part[~scored] = np.nan
        self.rank[~scored] = 0
