"""From the network's outputs to the distribution that is sent, and kept so that it is scored as it was sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numba import types
from numpy.typing import NDArray

from model import calibration, experts, ngrams, student
from model.distribution import FLOOR
from model.features import MAX_OUTPUT
from model.kernels import SINGLES, VALUES, clip, fields_of, kernel
from model.network import Network
from model.ngrams import Counts
from model.scaling import SCALE, error_size, increment_size
from model.spec import ModelSpec

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
    degrees: Floats | None = None
    mixed: experts.Mixed | None = None
    said: Callable[[int], ngrams.Opinion] | None = None


def predict(
    spec: ModelSpec,
    network: Network,
    counts: Counts | None,
    records: np.ndarray,
    outputs: torch.Tensor,
    n_known: NDArray[np.int64],
) -> Predictions:
    """Turn outputs into distributions, mixed with the experts' forecasts.

    Args:
        spec: The model's.
        network: Knows where each category field's logits lie.
        counts: Mixed with the network's probabilities; ``None`` leaves it alone.
        records: Beliefs after the last item, (B,); their experts keep what was mixed.
        outputs: (B, O).
        n_known: Values that the vocabulary knows, (C,).
    """
    scale, shape = records["scale"], (len(records), network.n_reals)
    mean, std, known = np.empty(shape), np.empty(shape), np.empty(shape, np.bool_)
    _advance(scale, outputs.cpu().numpy(), mean, std, known)
    mixed, said = None, None
    if spec.has_experts:
        mixed = experts.mix(records["experts"], mean)
        mean = np.where(known, mixed.mean, mean)
    read = calibration.read(records["quantiles"], np.asarray(spec.quantiles))
    if counts is None:
        probabilities = [category_probabilities(network, outputs, n_known, j) for j in range(len(network.slices))]
    else:
        logits = outputs[:, network.n_reals :].float().cpu().numpy()
        blended = ngrams.probabilities(counts, records["ngrams"], logits, n_known)
        starts = [start - network.n_reals for start, _ in network.slices[1:]]
        parts = np.split(blended, starts, axis=1)
        probabilities = [_floored(network, part, n_known, j) for j, part in enumerate(parts)]
        said = partial(ngrams.opinion, counts, records["ngrams"], logits, n_known)
    return Predictions(
        mean=mean,
        std=std,
        quantiles=mean[..., None] + std[..., None] * read,
        known=known,
        probabilities=np.concatenate(probabilities, 1) if probabilities else np.empty((len(records), 0)),
        degrees=student.choose(records) if spec.tails == "student" else np.zeros(mean.shape),
        mixed=mixed,
        said=said,
    )


def category_probabilities(
    network: Network, outputs: torch.Tensor, n_known: NDArray[np.int64], category: int
) -> NDArray[np.float64]:
    """Probabilities (B, V) of one category field's slots by the network alone, floored."""
    start, stop = network.slices[category]
    logits = outputs[:, start:stop].cpu().numpy()
    probabilities = np.empty(logits.shape)
    _normalise(logits, int(n_known[category]), network.is_open[category], probabilities)
    return _floored(network, probabilities, n_known, category)


def _floored(network: Network, probabilities: Floats, n_known: NDArray[np.int64], category: int) -> Floats:
    """Probabilities (B, V) of sum 1 with a floor under them, as single precision keeps them.

    A little of the uniform distribution is mixed in, so that a slot that can be taken has at least ``FLOOR``.
    """
    possible = np.arange(probabilities.shape[1]) < n_known[category]
    if network.is_open[category]:
        possible[-1] = True  # the slot of all values not yet known
    floored = np.where(possible, (1 - FLOOR * possible.sum()) * probabilities + FLOOR, 0.0)
    return floored.astype(np.float32).astype(np.float64)  # as it is kept, so that it is scored as it was sent


def await_item(records: np.ndarray, predictions: Predictions, n_known: NDArray[np.int64], version: int) -> None:
    """Keep the predictions as pending; ``records`` is changed."""
    pending = records["pending"]
    pending["mean"], pending["std"] = predictions.mean, predictions.std
    pending["degrees"] = 0.0 if predictions.degrees is None else predictions.degrees
    pending["low"], pending["high"] = predictions.quantiles[..., 0], predictions.quantiles[..., -1]
    records["probabilities"] = predictions.probabilities
    records["n_known"] = n_known
    records["weights_version"] = version


@kernel(fields_of(SCALE), SINGLES, VALUES, VALUES, types.boolean[:, :])
def _advance(scale: np.ndarray, outputs: np.ndarray, mean: np.ndarray, std: np.ndarray, known: np.ndarray) -> None:
    """The network's mean, and the error to expect of it, which grows with the items missing since the last value."""
    for b in range(mean.shape[0]):
        for f in range(mean.shape[1]):
            field = scale[b, f]
            mean[b, f] = field.value + increment_size(field) * clip(np.float64(outputs[b, f]), MAX_OUTPUT)
            std[b, f] = error_size(field) * math.sqrt(1 + field.gap)
            known[b, f] = field.count > 0


@kernel(SINGLES, types.int64, types.boolean, VALUES)
def _normalise(logits: np.ndarray, n_known: int, is_open: bool, probabilities: np.ndarray) -> None:
    """Softmax over the slots that can be taken: the known ones and, in an open field, the last."""
    n_slots = logits.shape[1]
    n_first = min(n_known, n_slots - 1 if is_open else n_slots)
    for b in range(logits.shape[0]):
        row, found = logits[b], probabilities[b]
        most = row[n_slots - 1] if is_open else row[0]
        for i in range(n_first):
            most = max(most, row[i])
        total = 0.0
        for i in range(n_slots):
            possible = i < n_first or (is_open and i == n_slots - 1)
            found[i] = math.exp(np.float64(row[i]) - most) if possible else 0.0
            total += found[i]
        for i in range(n_slots):
            found[i] /= total
