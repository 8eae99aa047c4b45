"""Interval coverage held online: each quantile follows the stream's own standardised errors.

Quantiles are tracked on a fixed grid of levels, so that a stream's belief does not depend on the levels a model is
asked to report; those are read off between the grid's.

Source: the quantile tracker of Angelopoulos, Candes, Tibshirani, "Conformal PID Control for Time Series Prediction"
(2023), on errors divided by their running scale.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = np.array([0.005, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.995])
_NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])

RATE = 0.005
"""Step of the tracker, in units of the error scale over the normal density at the level; the first steps are larger.

Over the density, because far out an error passes a quantile rarely and must then move it further.
"""

_DENSITY = np.array([NormalDist().pdf(NormalDist().inv_cdf(level)) for level in LEVELS])


def fresh(n_reals: int) -> Floats:
    """Quantiles of the standardised error before any was seen: the normal distribution's, (R, Q)."""
    return np.broadcast_to(_NORMAL, (n_reals, len(LEVELS))).copy()


def track(quantiles: NDArray[np.float32], standardised: Floats, n_errors: Floats) -> NDArray[np.float32]:
    """Move each quantile by one error.

    Args:
        quantiles: (B, R, Q), rising along Q; not changed.
        standardised: Error over its scale as predicted, (B, R); NaN where there was none.
        n_errors: Errors seen before this one, (B, R).

    Returns:
        The new quantiles, rising along Q.
    """
    seen = ~np.isnan(standardised)[..., None]
    above = np.where(seen, standardised[..., None], 0) > quantiles
    rate = np.maximum(RATE, 1 / (n_errors + 10))[..., None] / _DENSITY
    moved = quantiles + rate * (above - (1 - LEVELS))
    return np.where(seen, np.sort(moved, axis=-1), quantiles).astype(np.float32)


def read(quantiles: NDArray[np.float32], levels: Floats) -> Floats:
    """Quantiles (B, R, N) at any levels (N,): linear between the grid's in normal scores, and on beyond its ends."""
    at = np.array([NormalDist().inv_cdf(float(level)) for level in levels])
    right = np.clip(np.searchsorted(_NORMAL, at), 1, len(_NORMAL) - 1)
    share = (at - _NORMAL[right - 1]) / (_NORMAL[right] - _NORMAL[right - 1])
    low, high = quantiles[..., right - 1].astype(np.float64), quantiles[..., right].astype(np.float64)
    return np.asarray(low + share * (high - low))
