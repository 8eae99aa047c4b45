"""The numbers of replies: one row of fixed size each, filled for a whole micro-batch at once.

A row is what the store keeps of a reply and what its JSON is rendered from, so no number of it is rounded: what takes
four bytes was given in so many from the start. Rows have no gaps, so a row's bytes are also what ``struct`` reads.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.drift import FIELD, THRESHOLD
from model.kernels import FACTS, PER_STREAM, SLOTS, VALUES, fields_of, kernel, streams_of
from model.prediction import Predictions
from model.scoring import Scores
from model.spec import ModelSpec

MOST_LIKELY = 10
"""Values of a category that a reply names; the score uses the whole distribution."""

ANOMALY_STEPS = 10**9
LEVEL_STEPS = 10**4
"""The anomaly and a drift's level are told as whole numbers of steps: so many decimals, in four and two bytes."""

_HEAD = np.dtype([("nll", "<f8"), ("anomaly", "<u4"), ("level", "<u2")])
_REAL = np.dtype([*((name, "<f8") for name in ("error", "crps", "mean", "std", "value")), ("flags", "u1")])
_CATEGORY = np.dtype([("nll", "<f8"), ("rank", "<u4"), ("slot", "<i4"), ("flags", "u1")])

_SINGLE, _SHORT = np.dtype("<f4"), np.dtype("<u2")
_HEAD_NUMBERS, _REAL_NUMBERS, _CATEGORY_NUMBERS = 3, 6, 4

KNOWN, COVERED, DRIFTING, NUMBER = 1, 2, 4, 8
"""Parts of a field's flags: whether the stream has seen a value, whether the value lay within the outermost quantiles,
whether the field drifts; and how often the last is in them, the degrees of freedom or how many values are named."""

RealNumbers: TypeAlias = tuple[Any, ...]
"""Error, CRPS, mean, standard deviation, observed value, flags; then the quantiles' offsets."""

CategoryNumbers: TypeAlias = tuple[Any, ...]
"""Nats, rank, slot observed, flags; then K slots of the most likely values, and K probabilities of these."""


class RowLayout:
    """How a row lies in memory, for models of so many fields.

    Args:
        n_reals: Real fields (R).
        n_levels: Quantiles of each (Q).
        n_categories: Category fields (C).
        n_likely: Values of each that a row names (K).
    """

    def __init__(self, n_reals: int, n_levels: int, n_categories: int, n_likely: int) -> None:
        self.n_reals, self.n_levels, self.n_categories, self.n_likely = n_reals, n_levels, n_categories, n_likely
        self._real_bytes = _REAL.itemsize + 4 * n_levels
        self._category_bytes = _CATEGORY.itemsize + (2 + 4) * n_likely
        self._struct = struct.Struct(
            "<dIH" + f"5dB{n_levels}f" * n_reals + f"dIiB{n_likely}H{n_likely}f" * n_categories
        )
        self.n_bytes = self._struct.size

    def fill(
        self,
        scores: Scores,
        predictions: Predictions,
        drifts: np.ndarray,
        values: NDArray[np.float64],
        slots: NDArray[np.int64],
        spans: NDArray[np.int64],
    ) -> bytes:
        """The rows of a micro-batch, one after the other.

        Args:
            scores: Of the items.
            predictions: Of the next items; with offsets and degrees.
            drifts: Records of :mod:`model.drift` after the items, (B,).
            values: Observed, (B, R).
            slots: Observed, (B, C).
            spans: Of each category field where its slots begin among the probabilities, and how many of its values are
                known, (C, 2).

        Raises:
            ValueError: If the predictions are of no one shape, such as those of many paths.
        """
        if predictions.offsets is None or predictions.degrees is None:
            raise ValueError("only predictions of one shape have rows")
        n = len(drifts)
        data = bytearray(n * self.n_bytes)
        at = _HEAD.itemsize
        by_real = (self.n_bytes, self._real_bytes)
        _fill_reals(
            *(scores.scored, scores.nll, scores.anomaly, scores.error, scores.crps, scores.covered),
            *(predictions.known, predictions.mean, predictions.std, predictions.offsets, predictions.degrees),
            *(values, drifts["fields"]),
            _view((n,), _HEAD, data, 0, (self.n_bytes,)),
            _view((n, self.n_reals), _REAL, data, at, by_real),
            _view((n, self.n_reals, self.n_levels), _SINGLE, data, at + _REAL.itemsize, (*by_real, 4)),
        )
        if self.n_categories:
            at += self.n_reals * self._real_bytes
            by_category = (self.n_bytes, self._category_bytes)
            shape = (n, self.n_categories, self.n_likely)
            named = at + _CATEGORY.itemsize
            _fill_categories(
                *(scores.category_nll, scores.rank, predictions.probabilities, slots, spans, drifts["fields"]),
                _view((n, self.n_categories), _CATEGORY, data, at, by_category),
                _view(shape, _SHORT, data, named, (*by_category, 2)),
                _view(shape, _SINGLE, data, named + 2 * self.n_likely, (*by_category, 4)),
            )
        return bytes(data)

    def split(self, row: bytes) -> tuple[float, float, float, list[RealNumbers], list[CategoryNumbers]]:
        """A row as plain numbers: nats (NaN where nothing was scored), anomaly, level, and the numbers of each field.

        Raises:
            struct.error: If it is not of this layout.
        """
        numbers = self._struct.unpack(row)
        at, width = _HEAD_NUMBERS, _REAL_NUMBERS + self.n_levels
        middle = at + self.n_reals * width
        reals = [numbers[i : i + width] for i in range(at, middle, width)]
        width = _CATEGORY_NUMBERS + 2 * self.n_likely
        categories = [numbers[i : i + width] for i in range(middle, len(numbers), width)] if self.n_categories else []
        return numbers[0], numbers[1] / ANOMALY_STEPS, numbers[2] / LEVEL_STEPS, reals, categories


def row_layout(spec: ModelSpec, n_levels: int) -> RowLayout:
    """The layout of a model's rows.

    Args:
        spec: The model's.
        n_levels: Quantiles that the row reports, which a spec may change.
    """
    n_likely = min(MOST_LIKELY, max((field.n_slots for field in spec.categories), default=0))
    return _row_layout(len(spec.reals), n_levels, len(spec.categories), n_likely)


_row_layout = lru_cache(maxsize=1024)(RowLayout)


def _view(
    shape: tuple[int, ...], dtype: np.dtype[Any], data: bytearray, at: int, strides: tuple[int, ...]
) -> np.ndarray:
    """A part of every row, which begins so many bytes into it."""
    return np.ndarray(shape, dtype, data, at, strides) if all(shape) else np.empty(shape, dtype)


_SINGLES = types.Array(types.float32, 3, "A", aligned=False)
_SHORTS = types.Array(types.uint16, 3, "A", aligned=False)
_OFFSETS = types.float32[:, :, :]
_TRUTHS = types.boolean[:, :]


@kernel(
    *(FACTS, PER_STREAM, PER_STREAM, VALUES, VALUES, _TRUTHS),
    *(_TRUTHS, VALUES, VALUES, _OFFSETS, VALUES),
    *(VALUES, fields_of(FIELD)),
    *(streams_of(_HEAD), fields_of(_REAL), _SINGLES),
)
def _fill_reals(
    scored: np.ndarray,
    nll: np.ndarray,
    anomaly: np.ndarray,
    error: np.ndarray,
    crps: np.ndarray,
    covered: np.ndarray,
    known: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    offsets: np.ndarray,
    degrees: np.ndarray,
    values: np.ndarray,
    drift: np.ndarray,
    heads: np.ndarray,
    reals: np.ndarray,
    kept_offsets: np.ndarray,
) -> None:
    for b in range(heads.size):
        head, most = heads[b], 0.0
        for f in range(drift.shape[1]):
            most = max(most, drift[b, f].excess)
        head.nll = nll[b] if scored[b] else math.nan
        head.anomaly = round(anomaly[b] * ANOMALY_STEPS)
        head.level = round(most / THRESHOLD * LEVEL_STEPS)
        for f in range(reals.shape[1]):
            real = reals[b, f]
            real.error, real.crps = error[b, f], crps[b, f]
            real.mean, real.std, real.value = mean[b, f], std[b, f], values[b, f]
            flags = int(degrees[b, f]) * NUMBER
            flags += KNOWN if known[b, f] else 0
            flags += COVERED if covered[b, f] else 0
            flags += DRIFTING if drift[b, f].drifting > 0 else 0
            real.flags = flags
            for i in range(offsets.shape[2]):
                kept_offsets[b, f, i] = offsets[b, f, i]


@kernel(
    *(VALUES, SLOTS, VALUES, SLOTS, types.int64[:, :], fields_of(FIELD)),
    *(fields_of(_CATEGORY), _SHORTS, _SINGLES),
)
def _fill_categories(
    nll: np.ndarray,
    ranks: np.ndarray,
    probabilities: np.ndarray,
    slots: np.ndarray,
    spans: np.ndarray,
    drift: np.ndarray,
    categories: np.ndarray,
    likely: np.ndarray,
    likely_probabilities: np.ndarray,
) -> None:
    n_reals, most = drift.shape[1] - spans.shape[0], likely.shape[2]
    for b in range(categories.shape[0]):
        for c in range(spans.shape[0]):
            category, begin = categories[b, c], spans[c, 0]
            named, chances = likely[b, c], likely_probabilities[b, c]
            n = 0
            for slot in range(spans[c, 1]):  # among equals the first stays before
                chance = np.float32(probabilities[b, begin + slot])
                if n == most and not chance > chances[n - 1]:
                    continue
                n = min(n + 1, most)
                to = n - 1
                while to > 0 and chance > chances[to - 1]:
                    named[to], chances[to] = named[to - 1], chances[to - 1]
                    to -= 1
                named[to], chances[to] = slot, chance
            category.nll, category.rank, category.slot = nll[b, c], ranks[b, c], slots[b, c]
            category.flags = n * NUMBER + (DRIFTING if drift[b, n_reals + c].drifting > 0 else 0)
