"""Scores and predictions as the contract's JSON values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.items import Vocabulary
from model.prediction import Predictions
from model.scoring import Scores
from model.spec import ModelSpec

MOST_LIKELY = 10
"""Values of a category that a reply names; the score uses the whole distribution."""


def results(
    spec: ModelSpec,
    vocabulary: Vocabulary,
    sequence: NDArray[np.int64],
    version: int,
    scores: Scores,
    predictions: Predictions,
) -> list[dict[str, Any]]:
    """Sequence, score and prediction of each stream, (B,)."""
    return [
        {
            "sequence": int(sequence[i]),
            "score": score(spec, scores, i),
            "prediction": {
                "sequence": int(sequence[i]) + 1,
                "weights_version": version,
                "fields": fields(spec, vocabulary, predictions, i),
            },
        }
        for i in range(len(sequence))
    ]


def score(spec: ModelSpec, scores: Scores, i: int) -> dict[str, Any] | None:
    """Score of stream ``i``; ``None`` where nothing was predicted or nothing observed. Names observed fields only."""
    if not scores.scored[i]:
        return None
    interval = len(spec.quantiles) > 1
    found: dict[str, Any] = {}
    # Whole rows become plain numbers at once: picked one by one from an array they cost ten times as much.
    reals = zip(spec.reals, scores.error[i].tolist(), scores.crps[i].tolist(), scores.covered[i].tolist(), strict=True)
    for field, error, crps, covered in reals:
        if not math.isnan(error):
            found[field.name] = {"error": error, "crps": crps, "covered": covered if interval else None}
    for field, nll, rank in zip(spec.categories, scores.category_nll[i].tolist(), scores.rank[i].tolist(), strict=True):
        if rank:
            found[field.name] = {"nll": nll, "rank": rank}
    return {"nll": float(scores.nll[i]), "anomaly": float(scores.anomaly[i]), "fields": in_order(spec, found)}


def fields(spec: ModelSpec, vocabulary: Vocabulary, predictions: Predictions, i: int) -> dict[str, Any]:
    """What is predicted of each field of stream ``i``; ``None`` for a real field that was never seen."""
    found: dict[str, Any] = {}
    levels = [str(level) for level in spec.quantiles]
    known, mean, std = (column[i].tolist() for column in (predictions.known, predictions.mean, predictions.std))
    for j, (field, quantiles) in enumerate(zip(spec.reals, predictions.quantiles[i].tolist(), strict=True)):
        sent = {"mean": mean[j], "std": std[j], "quantiles": dict(zip(levels, quantiles, strict=True))}
        found[field.name] = sent if known[j] else None
    at = 0
    for j, field in enumerate(spec.categories):
        found[field.name] = category(vocabulary.values[j], predictions.probabilities[i, at : at + field.n_slots])
        at += field.n_slots
    return in_order(spec, found)


def category(values: list[str], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """The most likely value, and the most likely ten with their probabilities; no value is known before the first."""
    of_known = probabilities[: len(values)]
    first = np.argsort(-of_known, kind="stable")[:MOST_LIKELY]
    likely = zip(first.tolist(), of_known[first].tolist(), strict=True)
    return {
        "top": values[first[0]] if len(first) else None,
        "probabilities": {values[k]: probability for k, probability in likely},
    }


def in_order(spec: ModelSpec, found: dict[str, Any]) -> dict[str, Any]:
    """The fields in the order the model names them."""
    return {field.name: found[field.name] for field in spec.fields if field.name in found}
