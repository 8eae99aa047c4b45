"""Interval coverage held online: each quantile follows the stream's own standardised errors.

Quantiles are tracked on a fixed grid of levels, so that a stream's belief does not depend on the levels a model is
asked to report; those are read off between the grid's.

Source: the quantile tracker of Angelopoulos, Candes, Tibshirani, "Conformal PID Control for Time Series Prediction"
(2023), on errors divided by their running scale.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.kernels import SINGLES_OF_FIELDS, kernel, part

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


@part
def track(quantiles: np.ndarray, standardised: float, n_errors: float) -> None:
    """Move each quantile of a field by one error.

    Args:
        quantiles: (Q,), rising, and rising again afterwards; changed.
        standardised: Error over its scale as predicted.
        n_errors: Errors seen before this one.
    """
    step = max(RATE, 1 / (n_errors + 10))
    for i in range(quantiles.size):
        above = 1.0 if standardised > quantiles[i] else 0.0
        quantiles[i] += step / _DENSITY[i] * (above - (1 - LEVELS[i]))
    for i in range(1, quantiles.size):  # insertion sort: it is nearly in order
        moved, to = quantiles[i], i
        while to > 0 and quantiles[to - 1] > moved:
            quantiles[to] = quantiles[to - 1]
            to -= 1
        quantiles[to] = moved


def read(quantiles: NDArray[np.float32], levels: Floats) -> NDArray[np.float32]:
    """Quantiles (B, R, N) at any levels (N,): linear between the grid's in normal scores, and on beyond its ends.

    As precise as the grid's own; what is sent follows from them as they are here.
    """
    right, share = places(levels)
    found = np.empty((*quantiles.shape[:2], len(right)), np.float32)
    _read(quantiles, right, share, found)
    return found


def places(levels: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Of each level the grid's level to its right, (N,), and its place between that and the one before, (N,)."""
    at = np.array([NormalDist().inv_cdf(level) for level in levels])
    right = np.clip(np.searchsorted(_NORMAL, at), 1, len(_NORMAL) - 1)
    return right.astype(np.int64), (at - _NORMAL[right - 1]) / (_NORMAL[right] - _NORMAL[right - 1])


@part
def read_at(quantiles: np.ndarray, right: int, share: float) -> np.float32:
    """A field's quantile (Q,) at one of :func:`places`, as precise as the grid's own."""
    low, high = np.float64(quantiles[right - 1]), np.float64(quantiles[right])
    return np.float32(low + share * (high - low))


@kernel(SINGLES_OF_FIELDS, types.int64[:], types.float64[:], types.float32[:, :, :])
def _read(quantiles: np.ndarray, right: np.ndarray, share: np.ndarray, found: np.ndarray) -> None:
    for b in range(quantiles.shape[0]):
        for f in range(quantiles.shape[1]):
            for i in range(right.size):
                found[b, f, i] = read_at(quantiles[b, f], right[i], share[i])
