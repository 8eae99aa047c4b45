"""Scores and predictions as the contract's JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import drift, opinions
from model.items import Vocabulary
from model.prediction import Predictions
from model.scoring import Scores
from model.spec import ModelSpec

LEVEL_DIGITS = 4
"""Decimals that a drift's level is told with."""

MOST_LIKELY = 10
"""Values of a category that a reply names; the score uses the whole distribution."""


def results(
    spec: ModelSpec,
    vocabulary: Vocabulary,
    sequence: NDArray[np.int64],
    version: int,
    scores: Scores,
    predictions: Predictions,
    drifts: np.ndarray,
    with_experts: Sequence[bool] | None = None,
) -> list[dict[str, Any]]:
    """Sequence, score and prediction of each stream, (B,).

    Args:
        spec: The model's.
        vocabulary: Names the values of categories.
        sequence: Of the items, (B,).
        version: Weights version that made the predictions.
        scores: Of the items.
        predictions: Of the next items.
        drifts: Records of :mod:`model.drift` after the items, (B,).
        with_experts: Of which streams the prediction also says what each expert said, (B,); ``None`` for none.
    """
    return [
        {
            "sequence": int(sequence[i]),
            "score": score(spec, scores, drifts[i], i),
            "prediction": {
                "sequence": int(sequence[i]) + 1,
                "weights_version": version,
                "fields": fields(
                    spec, vocabulary, predictions, i, with_experts=with_experts is not None and with_experts[i]
                ),
            },
        }
        for i in range(len(sequence))
    ]


def score(spec: ModelSpec, scores: Scores, drifted: np.void, i: int) -> dict[str, Any] | None:
    """Score of stream ``i``; ``None`` where nothing was predicted or nothing observed. Names observed fields only.

    ``drifted`` is the stream's record of :mod:`model.drift` after the item.
    """
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
    return {
        "nll": float(scores.nll[i]),
        "anomaly": float(scores.anomaly[i]),
        "drift": drift_signal(spec, drifted),
        "fields": in_order(spec, found),
    }


def drift_signal(spec: ModelSpec, drifted: np.void) -> dict[str, Any]:
    """Whether the stream drifts, how near the nearest field is to drift, and which fields drift."""
    drifting = {f.name: now for f, now in zip((*spec.reals, *spec.categories), drift.which_drift(drifted), strict=True)}
    return {
        "drifting": any(drifting.values()),
        "level": round(float(drift.level(drifted).max()), LEVEL_DIGITS),
        "fields": [field.name for field in spec.fields if drifting[field.name]],
    }


def fields(
    spec: ModelSpec, vocabulary: Vocabulary, predictions: Predictions, i: int, *, with_experts: bool = False
) -> dict[str, Any]:
    """What is predicted of each field of stream ``i``; ``None`` for a real field that was never seen.

    ``with_experts`` adds what each expert said.
    """
    found: dict[str, Any] = {}
    levels = [str(level) for level in spec.quantiles]
    known, mean, std = (column[i].tolist() for column in (predictions.known, predictions.mean, predictions.std))
    for j, (field, quantiles) in enumerate(zip(spec.reals, predictions.quantiles[i].tolist(), strict=True)):
        found[field.name] = None
        if known[j]:
            sent: dict[str, Any] = {
                "mean": mean[j],
                "std": std[j],
                "quantiles": dict(zip(levels, quantiles, strict=True)),
            }
            if predictions.degrees is not None and predictions.degrees[i, j]:
                sent["degrees_of_freedom"] = int(predictions.degrees[i, j])
            if with_experts:
                sent["experts"] = opinions.of_real(predictions, i, j)
            found[field.name] = sent
    at, opinion = 0, predictions.said(i) if with_experts and predictions.said is not None else None
    for j, field in enumerate(spec.categories):
        sent = category(vocabulary.values[j], predictions.probabilities[i, at : at + field.n_slots])
        if with_experts:
            place = slice(at, at + field.n_slots)
            said = [] if opinion is None else [category(vocabulary.values[j], p[place]) for p in opinion.probabilities]
            sent["experts"] = opinions.of_category(sent, said, () if opinion is None else opinion.weights[j])
        found[field.name] = sent
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
