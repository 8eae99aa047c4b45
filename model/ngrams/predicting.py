"""What is predicted from counts, and its blend with the network, as compiled loops.

Prediction is interpolated Kneser-Ney smoothing in the Pitman-Yor form: each order has, by the number of a context's
successors (one, two or three, more), a discount of single counts, one of larger counts, and a concentration.

Sources: Chen & Goodman, "An empirical study of smoothing techniques for language modeling" (1999); Teh, "A hierarchical
Bayesian language model based on Pitman-Yor processes" (ACL 2006).
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from model.kernels import SINGLES, kernel, part, row
from model.ngrams.lookup import (
    CLASSES,
    LEAST,
    LINKS,
    N_PAIRS,
    class_of,
    contexts,
    discounts,
    possible,
    successors,
    without_context,
)

_MAX_LOGIT = 1e30

ROWS = types.uint32[:, ::1]
COUNTS = types.uint32[::1]
SMOOTHING = types.float64[:, :, :, ::1]
EXPONENTS = types.float64[:, :, ::1]
TOKENS = types.int32[:, :, ::1]
SLOTS = types.int32[:, ::1]
PER_FIELD = types.float64[:, :, ::1]
PER_SLOT = types.float64[:, ::1]
MODEL = (ROWS, COUNTS, SMOOTHING, EXPONENTS, types.int64[::1], types.boolean[::1])
"""What of the model a prediction is made from, see :attr:`model.ngrams.counts.Counts.used`."""

# Parts of a belief or a lesson, which may lie within larger records.
KEPT_TOKENS = types.int32[:, :, :]
KEPT_SLOTS = types.int32[:, :]
WEIGHTS = types.float64[:, :, :]


@part
def _from_counts(
    rows: np.ndarray, smoothing: np.ndarray, keys: np.ndarray, depth: int, n_known: int, is_open: bool,
    slots: np.ndarray, counts: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Turn probabilities without context into those with it; which exponents the blend takes for such a context."""
    n, kind = out.shape[0], CLASSES - 1
    factor = 1.0  # what is in ``out`` is to be multiplied by this
    for order in range(depth):
        m = successors(rows, keys[order], n, slots, counts)
        if m == 0:
            continue
        single, larger, concentration = discounts(smoothing[order, class_of(m)])
        kind = (order + 1) * CLASSES + class_of(m)
        total, taken = concentration, concentration
        for k in range(m):
            total += counts[k]
            taken += single if counts[k] == 1 else larger
        factor *= taken / total
        for k in range(m):
            out[slots[k]] += (counts[k] - (single if counts[k] == 1 else larger)) / total / factor
    total = 0.0
    for v in range(n):
        if not (possible(v, n, n_known, is_open)):
            out[v] = 0.0
        total += out[v]
    for v in range(n):
        out[v] /= total
    return kind


@part
def _finite(logit: float) -> float:
    return min(max(float(logit), -_MAX_LOGIT), _MAX_LOGIT) if not math.isnan(logit) else 0.0


@part
def _from_logits(logits: np.ndarray, n_known: int, is_open: bool, out: np.ndarray) -> None:
    """Fill in the network's probabilities."""
    n, most, total = logits.shape[0], -np.inf, 0.0
    for v in range(n):
        if possible(v, n, n_known, is_open):
            most = max(most, _finite(logits[v]))
    for v in range(n):
        out[v] = math.exp(_finite(logits[v]) - most) if possible(v, n, n_known, is_open) else 0.0
        total += out[v]
    for v in range(n):
        out[v] /= total


@part
def _blend(network: np.ndarray, counted: np.ndarray, exponents: np.ndarray, out: np.ndarray) -> None:
    """Fill in the product of powers of both; slots that the network holds impossible stay so."""
    n, most, total = out.shape[0], -np.inf, 0.0
    for v in range(n):
        if counted[v] > 0:
            out[v] = exponents[0] * math.log(max(network[v], LEAST)) + exponents[1] * math.log(max(counted[v], LEAST))
            most = max(most, out[v])
    for v in range(n):
        out[v] = math.exp(out[v] - most) if counted[v] > 0 else 0.0
        total += out[v]
    for v in range(n):
        out[v] /= total


@part
def _experts(
    rows: np.ndarray, singles: np.ndarray, smoothing: np.ndarray, exponents: np.ndarray, tokens: np.ndarray,
    logits: np.ndarray, field: int, n_known: int, is_open: bool, out: np.ndarray,
) -> int:  # fmt: skip
    """Fill in what network, counts and blend say of one field, (3, V); which exponents the blend took."""
    keys = np.empty(tokens.shape[0], np.uint64)
    slots, counts = np.empty(LINKS * N_PAIRS, np.int64), np.empty(LINKS * N_PAIRS, np.int64)
    depth = contexts(tokens, field, keys)
    _from_logits(logits, n_known, is_open, out[0])
    without_context(singles, n_known, is_open, out[1])
    kind = _from_counts(rows, smoothing, keys, depth, n_known, is_open, slots, counts, out[1])
    _blend(out[0], out[1], exponents[kind], out[2])
    return kind


@kernel(*MODEL, KEPT_TOKENS, SINGLES, types.int64[:], WEIGHTS, PER_SLOT)
def predict(
    rows: np.ndarray, singles: np.ndarray, smoothing: np.ndarray, exponents: np.ndarray, starts: np.ndarray,
    is_open: np.ndarray, tokens: np.ndarray, logits: np.ndarray, n_known: np.ndarray, weights: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Fill in the experts' mix, (B, V), by their weights, (B, C, 3)."""
    for c in range(starts.shape[0] - 1):
        start, stop = starts[c], starts[c + 1]
        said = np.empty((3, stop - start))
        for b in range(out.shape[0]):
            _experts(
                rows, singles[start:stop], smoothing[c], exponents[c], row(tokens, b, c), logits[b, start:stop], c,
                n_known[c], is_open[c], said,
            )  # fmt: skip
            for v in range(stop - start):
                out[b, start + v] = (
                    weights[b, c, 0] * said[0, v] + weights[b, c, 1] * said[1, v] + weights[b, c, 2] * said[2, v]
                )


@part
def _slope(said: np.ndarray, blend: np.ndarray, observed: int) -> tuple[float, float]:
    """Of the log probability that a blend (V,) gives the observed slot, by one exponent; and the curvature."""
    mean, square = 0.0, 0.0
    for v in range(blend.size):
        if blend[v] > 0:
            x = math.log(max(said[v], LEAST))
            mean += blend[v] * x
            square += blend[v] * x * x
    return math.log(max(said[observed], LEAST)) - mean, max(square - mean * mean, 0.0)


@kernel(*MODEL, KEPT_TOKENS, SINGLES, KEPT_SLOTS, KEPT_SLOTS, WEIGHTS, KEPT_SLOTS, WEIGHTS)
def judge(
    rows: np.ndarray, singles: np.ndarray, smoothing: np.ndarray, exponents: np.ndarray, starts: np.ndarray,
    is_open: np.ndarray, tokens: np.ndarray, logits: np.ndarray, n_known: np.ndarray, observed: np.ndarray,
    likelihood: np.ndarray, kinds: np.ndarray, slopes: np.ndarray,
) -> None:  # fmt: skip
    """Fill in what the experts gave the observed slots, (B, C), those at -1 left out.

    ``likelihood`` (B, C, 3); ``kinds`` (B, C), which exponents the blend took; ``slopes`` (B, C, 4), of its log
    probability by each exponent, then the curvatures.
    """
    for c in range(starts.shape[0] - 1):
        start, stop = starts[c], starts[c + 1]
        said = np.empty((3, stop - start))
        for b in range(observed.shape[0]):
            if observed[b, c] < 0:
                continue
            kind = _experts(
                rows, singles[start:stop], smoothing[c], exponents[c], row(tokens, b, c), logits[b, start:stop], c,
                n_known[b, c], is_open[c], said,
            )  # fmt: skip
            kinds[b, c] = kind
            for e in range(3):
                likelihood[b, c, e] = said[e, observed[b, c]]
            for e in range(2):
                slopes[b, c, e], slopes[b, c, 2 + e] = _slope(said[e], said[2], observed[b, c])
