"""How unusual an item was, on one scale for all models: the share of its stream's past that surprised less."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EDGES = np.concatenate([-np.geomspace(40, 3.5, 8), np.arange(-3.0, 5.01, 0.25), np.geomspace(5.5, 1e6, 22)])
N_BINS = len(_EDGES) + 1
"""Bins of a stream's histogram of past surprise: a quarter of a nat wide where most items fall, coarser outside."""


def share_below(counts: NDArray[np.uint32], surprise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of past items less surprising than this one, (B,), in [0, 1]; 0 where there is no past.

    Args:
        counts: Histogram of past surprise, (B, N_BINS).
        surprise: Nats, comparable within a stream, (B,).
    """
    at = np.searchsorted(_EDGES, surprise)
    rows = np.arange(len(counts))
    total = counts.sum(1)
    below = np.cumsum(counts, 1)[rows, at] - counts[rows, at]
    # Within its bin an item is placed by linear interpolation; the outermost bins have one edge only.
    inner = np.clip(at, 1, len(_EDGES) - 1)
    place = np.clip((surprise - _EDGES[inner - 1]) / (_EDGES[inner] - _EDGES[inner - 1]), 0, 1)
    return np.asarray((below + place * counts[rows, at]) / np.maximum(total, 1), dtype=np.float64)


def count(counts: NDArray[np.uint32], surprise: NDArray[np.float64], seen: NDArray[np.bool_]) -> None:
    """Add this item to the histogram; ``counts`` is changed."""
    counts[np.arange(len(counts)), np.searchsorted(_EDGES, surprise)] += seen.astype(np.uint32)
