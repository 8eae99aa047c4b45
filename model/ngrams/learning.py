"""What is learned from an observed value, as compiled loops: counts, smoothing, and how network and counts are mixed.

Counting is with update exclusion: from the longest context down to the first that knew the value already, so that
shorter contexts count in how many longer ones a value occurred. Discounts and concentrations follow the gradient of the
log probability.

Source: Steinruecken, Ghahramani, MacKay, "Improving PPM with dynamic parameter updates" (DCC 2015).
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from model.kernels import kernel, part
from model.ngrams.lookup import (
    LEAST,
    LINKS,
    N_PAIRS,
    PARAMETERS,
    class_of,
    contexts,
    count_in,
    discounts,
    find,
    successors,
    without_context,
)
from model.ngrams.predicting import EXPONENTS, MODEL, PER_FIELD, PER_SLOT, ROWS, SLOTS, SMOOTHING, TOKENS

SHARE = 0.002
"""Of the experts' weights, what each item returns to their start."""

START = (0.1, 0.1, 0.8)
"""Weights of network, counts and blend in a model that has seen nothing."""

_RATE = 0.1  # of the discounts and concentrations, over the root of their summed squared gradients
_BOUND = 5.0  # of their logits and logarithms
_START_CURVATURE, _KEEP = (
    20.0,
    0.999,
)  # of the blend's exponents: summed curvature at first, and what an item keeps of it
_MAX_EXPONENT = 2.0
_MAX_SUM = 1e60  # of squares and curvature; far beyond what items can come to, and far from overflow

START_SQUARES = 1e-2
"""What the sums of squared gradients begin at; they are divided by, and only grow."""

BOUNDS: dict[str, tuple[float, float]] = {
    "smoothing": (-_BOUND, _BOUND),
    "squares": (START_SQUARES, _MAX_SUM),
    "exponents": (0.0, _MAX_EXPONENT),
    "curvature": (0.0, _MAX_SUM),
}
"""Least and most that learning leaves in the parts of :class:`model.ngrams.counts.Counts`."""


@part
def _learn_smoothing(
    rows: np.ndarray, smoothing: np.ndarray, squares: np.ndarray, keys: np.ndarray, depth: int, n_slots: int,
    observed: int, first: float,
) -> None:  # fmt: skip
    """Move discounts and concentrations along the gradient of the observed slot's log probability (AdaGrad).

    ``first`` is its probability without context.
    """
    slots, counts = np.empty(LINKS * N_PAIRS, np.int64), np.empty(LINKS * N_PAIRS, np.int64)
    said = np.empty(depth + 1)  # the observed slot's probability, order by order
    facts = np.empty((depth, 5))  # per order: class, total, single and larger counts, the observed slot's count
    said[0] = first
    for order in range(depth):
        m = successors(rows, keys[order], n_slots, slots, counts)
        said[order + 1], facts[order] = said[order], -1.0
        if m == 0:
            continue
        single, larger, concentration = discounts(smoothing[order, class_of(m)])
        total, ones, own = concentration, 0, 0
        for k in range(m):
            total += counts[k]
            ones += counts[k] == 1
            if slots[k] == observed:
                own = counts[k]
        facts[order, 0], facts[order, 1], facts[order, 2] = class_of(m), total, ones
        facts[order, 3], facts[order, 4] = m - ones, own
        direct = own - single if own == 1 else own - larger if own > 1 else 0.0
        back = concentration + ones * single + (m - ones) * larger
        said[order + 1] = (direct + back * said[order]) / total
    outer = 1 / max(said[depth], LEAST)
    for order in range(depth - 1, -1, -1):
        if facts[order, 0] < 0:
            continue
        kind, total = int(facts[order, 0]), facts[order, 1]
        ones, others, own = facts[order, 2], facts[order, 3], facts[order, 4]
        single, larger, concentration = discounts(smoothing[order, kind])
        below, here = said[order], said[order + 1]
        slope = (
            (ones * below - (own == 1)) / total * single * (1 - single),
            (others * below - (own > 1)) / total * larger * (1 - larger / 2),
            (below - here) / total * concentration,
        )
        for i in range(PARAMETERS):
            g = slope[i] * outer
            squares[order, kind, i] += g * g
            moved = smoothing[order, kind, i] + _RATE * g / math.sqrt(squares[order, kind, i])
            smoothing[order, kind, i] = min(max(moved, -_BOUND), _BOUND)
        outer *= (concentration + ones * single + others * larger) / total


@part
def _weigh(weights: np.ndarray, likelihood: np.ndarray) -> None:
    """Bayes' rule, and the share that goes back to the start."""
    total = 0.0
    for e in range(3):
        weights[e] *= max(likelihood[e], LEAST)
        total += weights[e]
    for e in range(3):
        weights[e] += SHARE * (START[e] - weights[e] / total) + weights[e] / total - weights[e]


@kernel(
    *MODEL, types.int64[::1], SMOOTHING, EXPONENTS, PER_SLOT, TOKENS, SLOTS, SLOTS, SLOTS, SLOTS, PER_FIELD, PER_FIELD
)
def learn(
    rows: np.ndarray, singles: np.ndarray, smoothing: np.ndarray, exponents: np.ndarray, starts: np.ndarray,
    is_open: np.ndarray, state: np.ndarray, squares: np.ndarray, curvature: np.ndarray, weights: np.ndarray,
    tokens: np.ndarray, observed: np.ndarray, named: np.ndarray, n_known: np.ndarray, kinds: np.ndarray,
    slopes: np.ndarray, likelihood: np.ndarray,
) -> None:  # fmt: skip
    """Learn from observed slots, stream by stream; ``rows`` to ``weights`` change.

    ``state`` is the number of rows in use and of values counted; ``observed`` (B, C) as they were scored, -1 where
    there is nothing to learn; ``named`` (B, C) with the values met since; ``kinds``, ``slopes`` and ``likelihood`` as
    :func:`judge` found them.
    """
    keys = np.empty(tokens.shape[2], np.uint64)
    n_streams = tokens.shape[0]
    for c in range(starts.shape[0] - 1):
        start, stop = starts[c], starts[c + 1]
        counts, first = singles[start:stop], np.empty(stop - start)
        for b in range(n_streams):  # all curvature first: a batch goes no further than its own would allow
            if observed[b, c] >= 0:
                for e in range(2):
                    at = curvature[c, kinds[b, c]]
                    at[e] = _KEEP * at[e] + slopes[b, c, 2 + e]
        for b in range(n_streams):
            slot = observed[b, c]
            if slot < 0:
                continue
            for e in range(2):
                at = exponents[c, kinds[b, c]]
                moved = at[e] + slopes[b, c, e] / (_START_CURVATURE + curvature[c, kinds[b, c], e])
                at[e] = min(max(moved, 0.0), _MAX_EXPONENT)
            _weigh(weights[c], likelihood[b, c])
            depth = contexts(tokens[b, c], c, keys)
            without_context(counts, n_known[b, c], is_open[c], first)
            _learn_smoothing(rows, smoothing[c], squares[c], keys, depth, stop - start, slot, first[slot])
            state[1] += 1
            known = False
            for order in range(depth - 1, -1, -1):
                known = count_in(rows, state, keys[order], named[b, c])
                if known:
                    break
            if not known and counts[named[b, c]] < 0xFFFFFFFF:
                counts[named[b, c]] += np.uint32(1)
            if slot != named[b, c] and counts[slot] < 0xFFFFFFFF:  # the last slot counts how often a value was new
                counts[slot] += np.uint32(1)


@kernel(ROWS, ROWS)
def move(old: np.ndarray, new: np.ndarray) -> None:
    """Put the rows of one table into another, empty and larger one."""
    for i in range(old.shape[0]):
        if old[i, 0] != 0:
            key = np.uint64(old[i, 0]) | (np.uint64(old[i, 1]) << np.uint64(32))
            at = find(new, key)
            new[-1 - at if at < 0 else at] = old[i]
