"""How unusual an item was, on one scale for all models: the share of its stream's past that surprised less."""

from __future__ import annotations

import numpy as np
from numba import types

from model.kernels import part

_EDGES = np.concatenate([-np.geomspace(40, 3.5, 8), np.arange(-3.0, 5.01, 0.25), np.geomspace(5.5, 1e6, 22)])
N_BINS = len(_EDGES) + 1
"""Bins of a stream's histogram of past surprise: a quarter of a nat wide where most items fall, coarser outside."""

HISTOGRAMS = types.uint32[:, :]
"""What kernels take the streams' histograms as, (B, N_BINS)."""


@part
def share_below(counts: np.ndarray, surprise: float) -> float:
    """Share of past items less surprising than this one, in [0, 1]; 0 where there is no past.

    Args:
        counts: Histogram of the stream's past surprise, (N_BINS,).
        surprise: Nats, comparable within the stream.
    """
    at, below, total = _bin(surprise), 0, 0
    for i in range(counts.size):
        total += counts[i]
        if i < at:
            below += counts[i]
    # Within its bin an item is placed by linear interpolation; the outermost bins have one edge only.
    right = min(max(at, 1), _EDGES.size - 1)
    place = (surprise - _EDGES[right - 1]) / (_EDGES[right] - _EDGES[right - 1])
    share: float = (below + min(max(place, 0.0), 1.0) * counts[at]) / max(total, 1)
    return share


@part
def count(counts: np.ndarray, surprise: float) -> None:
    """Add an item to its stream's histogram; ``counts`` (N_BINS,) is changed."""
    counts[_bin(surprise)] += 1


@part
def _bin(surprise: float) -> int:
    """How many edges lie below."""
    low, high = 0, _EDGES.size
    while low < high:
        middle = (low + high) // 2
        if _EDGES[middle] < surprise:
            low = middle + 1
        else:
            high = middle
    return low
