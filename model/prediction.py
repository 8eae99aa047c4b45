"""From the network's outputs to the distribution that is sent, and kept so that it is scored as it was sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numba import types
from numpy.typing import NDArray

from model import calibration, ngrams
from model.calibration import read_at
from model.distribution import FLOOR
from model.experts import Mixed, mix
from model.experts.records import FIELD
from model.features import MAX_OUTPUT
from model.kernels import SINGLES, SLOTS, VALUES, clip, fields_of, kernel, part
from model.ngrams import Counts
from model.scaling import SCALE, error_size, increment_size
from model.scoring import PENDING
from model.spec import ModelSpec
from model.student import best

_NO_EXPERTS = np.empty((0, 0), FIELD)
_NO_MIX = np.empty((0, 0)), np.empty((0, 0, 0)), np.empty((0, 0, 0))

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Predictions:
    """One prediction per stream, as columns.

    Args:
        mean: (B, R).
        std: (B, R), above 0.
        quantiles: At the spec's levels, (B, R, N).
        known: Whether the stream has ever seen a value of the field, (B, R); no prediction without one.
        probabilities: Of all category fields' slots side by side, (B, V).
        offsets: Of the quantiles from the mean, in standard deviations, (B, R, N): ``mean + std * offsets`` gives their
            very bits; ``None`` where they are of no one shape.
        degrees: Of freedom, (B, R), 0 for a normal distribution; ``None`` where the distribution is of no one shape.
        mixed: What the means were mixed of; ``None`` where the network alone made them, or where they are of no one
            mix, such as those of many paths.
        said: What network and counts say of a stream's categories, asked for by its place in the batch; ``None`` where
            the network is alone.
    """

    mean: Floats
    std: Floats
    quantiles: Floats
    known: NDArray[np.bool_]
    probabilities: Floats
    offsets: NDArray[np.float32] | None = None
    degrees: Floats | None = None
    mixed: Mixed | None = None
    said: Callable[[int], ngrams.Opinion] | None = None


class Predictor:
    """Makes the predictions of a model; holds what of its spec they depend on."""

    def __init__(self, spec: ModelSpec) -> None:
        n_slots = np.array([field.n_slots for field in spec.categories], np.int64)
        stops = np.cumsum(n_slots)
        self.bounds = np.stack((stops - n_slots, stops), 1)
        """Where each category field's slots begin and end among all probabilities, (C, 2)."""
        self._is_open = np.array([field.is_open for field in spec.categories], np.bool_)
        self._right, self._share = calibration.places(np.asarray(spec.quantiles))
        self._has_tails, self._has_experts = spec.tails == "student", spec.has_experts

    def predict(
        self,
        counts: Counts | None,
        records: np.ndarray,
        outputs: NDArray[np.float32],
        n_known: NDArray[np.int64],
        version: int,
    ) -> Predictions:
        """Turn outputs into distributions, mixed with what experts and counts say, and keep them as pending.

        Args:
            counts: Mixed with the network's probabilities; ``None`` leaves it alone.
            records: Beliefs after the last item, (B,); changed.
            outputs: Of the network, for the next item, (B, O).
            n_known: Values that the vocabulary knows, (C,).
            version: Of the weights.
        """
        n, n_reals = records["scale"].shape
        mean, std, degrees = np.empty((3, n, n_reals))
        known, quantiles = np.empty((n, n_reals), np.bool_), np.empty((n, n_reals, len(self._right)))
        offsets = np.empty(quantiles.shape, np.float32)
        said, mixed, fields = None, None, _NO_EXPERTS
        if counts is None:
            probabilities = np.empty((n, outputs.shape[1] - n_reals))
        else:
            logits = outputs[:, n_reals:]
            probabilities = ngrams.probabilities(counts, records["ngrams"], logits, n_known)
            said = partial(ngrams.opinion, counts, records["ngrams"], logits, n_known)
        if self._has_experts:
            fields = records["experts"]["fields"]
            mixed = Mixed.room(n, n_reals)
        _predict(
            *(records["scale"], fields, records["quantiles"], records["tails"]["gains"]),
            *(records["pending"], records["probabilities"], records["n_known"], records["weights_version"]),
            *(outputs, n_known, self.bounds, self._is_open, self._right, self._share),
            *(mean, std, degrees, known, quantiles, offsets, probabilities),
            *((mixed.mean, mixed.weights, mixed.forecasts) if mixed else _NO_MIX),
            *(version, counts is None, self._has_tails),
        )
        return Predictions(mean, std, quantiles, known, probabilities, offsets, degrees, mixed, said)


def category_probabilities(logits: NDArray[np.float32], n_known: int, *, is_open: bool) -> NDArray[np.float64]:
    """Probabilities (B, V) of one category field's slots by the network alone, floored.

    Args:
        logits: Of its slots, (B, V).
        n_known: Values that the vocabulary knows.
        is_open: Whether the last slot is that of all values not yet known.
    """
    probabilities = np.empty(logits.shape)
    _categories(logits, n_known, is_open, probabilities)
    return probabilities


@part
def _is_possible(slot: int, n_slots: int, n_known: int, is_open: bool) -> bool:
    """Whether a slot can be taken: the known ones and, in an open field, the last."""
    return slot < n_known or (is_open and slot == n_slots - 1)


@part
def _normalise(logits: np.ndarray, n_known: int, is_open: bool, probabilities: np.ndarray) -> None:
    """Softmax over the slots (V,) that can be taken."""
    n_slots = logits.size
    most = logits[n_slots - 1] if is_open else logits[0]
    for i in range(min(n_known, n_slots)):
        most = max(most, logits[i])
    total = 0.0
    for i in range(n_slots):
        possible = _is_possible(i, n_slots, n_known, is_open)
        probabilities[i] = math.exp(np.float64(logits[i]) - most) if possible else 0.0
        total += probabilities[i]
    for i in range(n_slots):
        probabilities[i] /= total


@part
def _floor(probabilities: np.ndarray, n_known: int, is_open: bool) -> None:
    """Put a floor under probabilities (V,) of sum 1, and round them as they are kept, so as to be scored as sent.

    A little of the uniform distribution is mixed in, so that a slot that can be taken has at least ``FLOOR``.
    """
    n_slots, n_possible = probabilities.size, 0
    for i in range(n_slots):
        n_possible += _is_possible(i, n_slots, n_known, is_open)
    for i in range(n_slots):
        floored = (1 - FLOOR * n_possible) * probabilities[i] + FLOOR
        probabilities[i] = np.float32(floored) if _is_possible(i, n_slots, n_known, is_open) else 0.0


@kernel(SINGLES, types.int64, types.boolean, VALUES)
def _categories(logits: np.ndarray, n_known: int, is_open: bool, probabilities: np.ndarray) -> None:
    for b in range(logits.shape[0]):
        _normalise(logits[b], n_known, is_open, probabilities[b])
        _floor(probabilities[b], n_known, is_open)


@kernel(
    *(fields_of(SCALE), fields_of(FIELD), types.float32[:, :, :], types.float64[:, :, :]),
    *(fields_of(PENDING), SINGLES, types.int32[:, :], types.int64[:]),
    *(SINGLES, types.int64[:], SLOTS, types.boolean[:], types.int64[:], types.float64[:]),
    *(VALUES, VALUES, VALUES, types.boolean[:, :], types.float64[:, :, :], types.float32[:, :, :], VALUES),
    *(VALUES, types.float64[:, :, :], types.float64[:, :, :], types.int64, types.boolean, types.boolean),
)
def _predict(
    scale: np.ndarray,
    experts: np.ndarray,
    kept_quantiles: np.ndarray,
    gains: np.ndarray,
    pending: np.ndarray,
    kept_probabilities: np.ndarray,
    kept_known: np.ndarray,
    versions: np.ndarray,
    outputs: np.ndarray,
    n_known: np.ndarray,
    bounds: np.ndarray,
    is_open: np.ndarray,
    right: np.ndarray,
    share: np.ndarray,
    means: np.ndarray,
    stds: np.ndarray,
    degrees: np.ndarray,
    known: np.ndarray,
    quantiles: np.ndarray,
    offsets: np.ndarray,
    probabilities: np.ndarray,
    mixed: np.ndarray,
    weights: np.ndarray,
    forecasts: np.ndarray,
    version: int,
    is_alone: bool,
    has_tails: bool,
) -> None:
    n, n_reals = means.shape
    has_experts = experts.shape[1] > 0
    for b in range(n):
        for f in range(n_reals):
            field, sent = scale[b, f], pending[b, f]
            mean = field.value + increment_size(field) * clip(np.float64(outputs[b, f]), MAX_OUTPUT)
            known[b, f] = field.count > 0
            if has_experts:
                expert = experts[b, f]
                mix(expert, mean)
                if known[b, f]:
                    mean = expert.mixed
                mixed[b, f] = expert.mixed
                for e in range(weights.shape[2]):
                    weights[b, f, e], forecasts[b, f, e] = expert.weights[e], expert.forecasts[e]
            # The error to expect grows with the items missing since the last value.
            std = error_size(field) * math.sqrt(1 + field.gap)
            for i in range(right.size):
                offsets[b, f, i] = read_at(kept_quantiles[b, f], right[i], share[i])
                quantiles[b, f, i] = mean + std * offsets[b, f, i]
            means[b, f], stds[b, f] = mean, std
            degrees[b, f] = best(gains[b, f]) if has_tails else 0.0
            sent.mean, sent.std, sent.degrees = mean, std, degrees[b, f]
            sent.low, sent.high = quantiles[b, f, 0], quantiles[b, f, right.size - 1]
        for c in range(n_known.size):
            start, stop = bounds[c, 0], bounds[c, 1]
            made = probabilities[b, start:stop]
            if is_alone:
                _normalise(outputs[b, n_reals + start : n_reals + stop], n_known[c], is_open[c], made)
            _floor(made, n_known[c], is_open[c])
            for i in range(made.size):
                kept_probabilities[b, start + i] = made[i]
            kept_known[b, c] = n_known[c]
        versions[b] = version
