"""What a person is shown of a stream: its running scores, and the belief beside the one the correction made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import correction, experts, features, ngrams, prediction, reply
from model.belief import Beliefs
from model.learner import Learner
from model.spec import ModelSpec


def summarise(learner: Learner, belief: Beliefs) -> dict[str, Any]:
    """Running scores of one stream over all its scored items.

    ``rmse`` is the root mean squared error over all real fields, in their units, beside that of predicting the last
    value again; ``coverage`` the share of values within the outermost quantiles; ``nll`` the mean per item, nats.
    ``drift`` is the signal as in a reply, with how often drift began (``count``), at which sequence the present one did
    (``since``), and the last one (``last``). Values are ``None`` before there are any.
    """
    record, spec = belief.records[0], learner.spec
    tally = record["tally"]
    reals, categories = tally["reals"], tally["categories"]
    found: dict[str, Any] = {}
    for j, field in enumerate(spec.reals):
        n = reals["scored"][j]
        found[field.name] = {
            "scored": int(n),
            "rmse": _root(reals["squares"][j], n),
            "persistence_rmse": _root(reals["persistence_squares"][j], n),
            "mae": _mean(reals["absolutes"][j], n),
            "coverage": _mean(reals["covered"][j], n),
        }
    for j, field in enumerate(spec.categories):
        n = categories["named"][j]
        found[field.name] = {
            "scored": int(n),
            "accuracy": _mean(categories["right"][j], n),
            "persistence_accuracy": _mean(categories["repeated"][j], n),
            "bits": _mean(categories["nats"][j] / np.log(2), n),
        }
    n_real = reals["scored"].sum()
    return {
        "sequence": int(record["sequence"]),
        "items": int(record["sequence"]),
        "weights_version": int(record["weights_version"]),
        "nll": _mean(tally["nll"], tally["n_scores"]),
        "rmse": _root(reals["squares"].sum(), n_real),
        "persistence_rmse": _root(reals["persistence_squares"].sum(), n_real),
        "coverage": _mean(reals["covered"].sum(), n_real),
        "drift": _drift(spec, record["drift"]),
        "fields": reply.in_order(spec, found),
    }


def inspect(learner: Learner, belief: Beliefs) -> dict[str, Any]:
    """The belief of one stream, laid open.

    Lists run over layers, then hidden units. ``gates`` are those of the last advance, under today's weights.
    ``before`` and ``after`` are the last item decoded from the belief that predicted it, without and with the
    correction that the item led to.

    Args:
        learner: Its weights are used, not changed.
        belief: Of one stream.
    """
    records, record, network, cell = belief.records, belief.records[0], learner.network, learner.network.cell
    state, uncorrected, corrected = (records[name] for name in ("state", "uncorrected", "corrected"))
    slots = records["window"]["slots"][:, -1].astype(np.int64)
    advanced = network.advance(learner.weights.flat, corrected, records["newest"], slots)
    gates = {
        name: [np.split(layer[0], len(cell.gate_names))[i].tolist() for layer in advanced.gates]
        for i, name in enumerate(cell.gate_names)
        if name != "candidate"
    }
    made = (corrected - uncorrected)[0, :, -1]
    return {
        "sequence": int(record["sequence"]),
        "hidden": state[0, :, 0].tolist(),
        "cell": state[0, :, 1].tolist() if cell.n_parts > 1 else None,
        "gates": gates,
        "correction": made.tolist(),
        "correction_rates": (record["rates"] if learner.spec.learn.state else np.zeros_like(record["rates"])).tolist(),
        "correction_trust": float(correction.trust(belief.records)[0]),
        "experts": _experts(learner, belief),
        "observed": _observed(learner, record),
        "before": _decode(learner, record, uncorrected),
        "after": _decode(learner, record, corrected),
    }


def _experts(learner: Learner, belief: Beliefs) -> dict[str, Any]:
    """Of each field, what each expert and the network say of the next item, and its share in the mix."""
    spec, record = learner.spec, belief.records[0]
    found: dict[str, Any] = {}
    for j, field in enumerate(spec.reals if spec.has_experts else ()):
        mixed = record["experts"]["fields"][j]
        found[field.name] = {
            name: {"forecast": _finite(mixed["forecasts"][e]), "weight": float(mixed["weights"][e])}
            for e, name in enumerate(experts.EXPERTS)
        }
    if learner.counts is not None:
        logits = correction.outputs(belief.records)[:, len(spec.reals) :]
        said = ngrams.opinion(learner.counts.copy(), belief.records["ngrams"], logits, learner.vocabulary.n_known, 0)
        at = 0
        for j, field in enumerate(spec.categories):
            of_field = said.probabilities[:, at : at + field.n_slots]
            found[field.name] = {
                name: {
                    "forecast": reply.category(learner.vocabulary.values[j], of_field[e]),
                    "weight": float(said.weights[j, e]),
                }
                for e, name in enumerate(ngrams.EXPERTS)
            }
            at += field.n_slots
    return reply.in_order(spec, found)


def _drift(spec: ModelSpec, drifted: np.void) -> dict[str, Any]:
    """The drift signal, how often drift began, and at which sequence the one that there is, and the last one, began."""
    stream = drifted["stream"]
    return {
        **reply.drift_signal(spec, drifted),
        "count": int(stream["n_drifts"]),
        "since": int(stream["since"]) or None,
        "last": int(stream["last"]) or None,
    }


def _decode(learner: Learner, record: np.void, state: NDArray[np.float32]) -> dict[str, Any]:
    """The item that a state predicts, in the units it was predicted with."""
    spec, network = learner.spec, learner.network
    outputs = network.read(learner.weights.flat, state)
    found: dict[str, Any] = {}
    increments = np.clip(outputs[0, : network.n_reals].astype(np.float64), -features.MAX_OUTPUT, features.MAX_OUTPUT)
    for j, field in enumerate(spec.reals):
        known = record["scale"]["count"][j] > 0
        found[field.name] = float(record["origin"][j] + record["unit"][j] * increments[j]) if known else None
    for j, (field, (start, stop)) in enumerate(zip(spec.categories, network.slices, strict=True)):
        probabilities = prediction.category_probabilities(
            outputs[:, start:stop], len(learner.vocabulary.values[j]), is_open=field.is_open
        )
        found[field.name] = reply.category(learner.vocabulary.values[j], probabilities[0])
    return reply.in_order(spec, found)


def _observed(learner: Learner, record: np.void) -> dict[str, Any]:
    """The last item; ``None`` where it was missing or no name was kept for it."""
    scale = record["scale"]
    found: dict[str, Any] = {
        field.name: float(scale["observed"][j]) if scale["count"][j] > 0 and scale["gap"][j] == 0 else None
        for j, field in enumerate(learner.spec.reals)
    }
    newest: NDArray[np.int32] = record["window"]["slots"][-1]
    for j, field in enumerate(learner.spec.categories):
        values, slot = learner.vocabulary.values[j], int(newest[j])
        found[field.name] = values[slot] if 0 <= slot < len(values) else None
    return reply.in_order(learner.spec, found)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(total: float, n: float) -> float | None:
    return float(total / n) if n > 0 else None


def _root(total: float, n: float) -> float | None:
    return float(np.sqrt(total / n)) if n > 0 else None
