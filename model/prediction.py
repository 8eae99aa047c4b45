"""From the network's outputs to the distribution that is sent, and kept so that it is scored as it was sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model import calibration, distribution, experts, features, ngrams, scaling
from model.network import Network
from model.ngrams import Counts
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
    """

    mean: Floats
    std: Floats
    quantiles: Floats
    known: NDArray[np.bool_]
    probabilities: Floats


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
    scale = records["scale"]
    increments = outputs[:, : network.n_reals].double().cpu().numpy()
    mean = scale["value"] + scaling.increment_scale(scale) * np.clip(
        increments, -features.MAX_OUTPUT, features.MAX_OUTPUT
    )
    known = scale["count"] > 0
    if spec.has_experts:
        mean = np.where(known, experts.mix(records["experts"], mean).mean, mean)
    std = scaling.error_scale(scale) * np.sqrt(1 + scale["gap"])
    read = calibration.read(records["quantiles"], np.asarray(spec.quantiles))
    if counts is None:
        probabilities = [category_probabilities(network, outputs, n_known, j) for j in range(len(network.slices))]
    else:
        logits = outputs[:, network.n_reals :].float().cpu().numpy()
        mixed = ngrams.probabilities(counts, records["ngrams"], logits, n_known)
        starts = [start - network.n_reals for start, _ in network.slices[1:]]
        probabilities = [_floored(network, part, n_known, j) for j, part in enumerate(np.split(mixed, starts, axis=1))]
    return Predictions(
        mean=mean,
        std=std,
        quantiles=mean[..., None] + std[..., None] * read,
        known=known,
        probabilities=np.concatenate(probabilities, 1) if probabilities else np.zeros((len(records), 0)),
    )


def category_probabilities(
    network: Network, outputs: torch.Tensor, n_known: NDArray[np.int64], category: int
) -> NDArray[np.float64]:
    """Floored probabilities (B, V) of one category field's slots, by the network alone."""
    known = torch.from_numpy(n_known).to(outputs.device).expand(len(outputs), -1)
    probabilities = network.log_probabilities(outputs, known, category).exp().double().cpu().numpy()
    return _floored(network, probabilities, n_known, category)


def _floored(network: Network, probabilities: Floats, n_known: NDArray[np.int64], category: int) -> Floats:
    slot = np.arange(probabilities.shape[1])
    possible = slot < n_known[category]
    if network.is_open[category]:
        possible[-1] = True  # the slot of all values not yet known
    floored = distribution.floored(probabilities, np.broadcast_to(possible, probabilities.shape))
    return floored.astype(np.float32).astype(np.float64)  # as it is kept, so that it is scored as it was sent


def await_item(records: np.ndarray, predictions: Predictions, n_known: NDArray[np.int64], version: int) -> None:
    """Keep the predictions as pending; ``records`` is changed."""
    pending = records["pending"]
    pending["mean"], pending["std"] = predictions.mean, predictions.std
    pending["low"], pending["high"] = predictions.quantiles[..., 0], predictions.quantiles[..., -1]
    records["probabilities"] = predictions.probabilities
    records["n_known"] = n_known
    pending["weights_version"] = version
