"""What each expert and the network said of the next item: what a reply shows of the mix when it is asked to.

The one place to change where a field gets another expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model import experts, ngrams
from model.experts import Mixed
from model.prediction import Predictions

NETWORK = "network"


def kept(records: np.ndarray) -> Mixed | None:
    """The mix that a pending prediction was made of; ``None`` where the model has no experts.

    Args:
        records: Beliefs, (B,); not changed.
    """
    if "experts" not in (records.dtype.names or ()):
        return None
    return experts.pending(records["experts"])


def of_real(predictions: Predictions, i: int, j: int) -> dict[str, Any]:
    """What is said of stream ``i``'s real field ``j``, which was seen: by expert, its ``mean`` and its ``weight``."""
    mixed = predictions.mixed
    if mixed is None:
        return {NETWORK: {"mean": float(predictions.mean[i, j]), "weight": 1.0}}
    return {
        name: {"mean": float(mixed.forecasts[i, j, e]), "weight": float(mixed.weights[i, j, e])}
        for e, name in enumerate(experts.EXPERTS)
    }


def of_category(
    sent: dict[str, Any], said: Sequence[dict[str, Any]], weights: Sequence[float] | np.ndarray
) -> dict[str, Any]:
    """What is said of a category: by expert, its ``weight``, ``top`` and ``probabilities``.

    Args:
        sent: The field as it is predicted, ``top`` and ``probabilities``: the network's, where it is alone.
        said: The same of each of :data:`model.ngrams.EXPERTS`; empty where the network is alone.
        weights: Their shares in the mix.
    """
    if not said:
        return {NETWORK: {"weight": 1.0, **sent}}
    return {
        name: {"weight": float(weight), **expert}
        for name, weight, expert in zip(ngrams.EXPERTS, weights, said, strict=True)
    }
