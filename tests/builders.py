"""Specs, items and streams that tests are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from model import experts
from model.belief import Beliefs
from model.items import Item, parse_item
from model.learner import Learner
from model.spec import CellKind, FieldSpec, LearnSpec, ModelSpec
from model.step import Step
from service.store import Partition

MIXED = (
    FieldSpec("load"),
    FieldSpec("state", "category", ("idle", "busy", "off")),
    FieldSpec("activity", "category", capacity=5),
)


def small_spec(*, cell: CellKind = "lstm", **parts: Any) -> ModelSpec:
    """One real, one closed and one open category field; eight units."""
    return ModelSpec(**{"fields": MIXED, "cell": cell, "hidden": 8, **parts})


def frozen(spec: ModelSpec, *, state: bool = True) -> ModelSpec:
    """The same spec with frozen weights."""
    return ModelSpec.from_dict({**spec.to_dict(), "learn": {"weights": False, "state": state, "initial_state": False}})


def only_weights() -> LearnSpec:
    """The carried state is never corrected."""
    return LearnSpec(state=False)


def mixed_item(spec: ModelSpec, n: int, source: np.random.Generator, *, missing: float = 0.0) -> Item:
    """Item ``n`` of a stream of fields of :data:`MIXED`: a noisy wave, a cycle, and names that turn up over time."""
    values: dict[str, Any] = {
        "load": 10 + math.sin(n / 3) + 0.1 * source.standard_normal(),
        "state": ("idle", "busy", "off")[n % 3],
        "activity": f"a{int(source.integers(0, min(1 + n // 4, 8)))}",
    }
    for name in values:
        if source.random() < missing:
            values[name] = None
    values = {name: value for name, value in values.items() if name in spec.field_names}
    return parse_item(spec, values, 1_700_000_000_000_000 + n * 3_600_000_000)


def feed(learner: Learner, beliefs: Beliefs, n_items: int, *, seed: int = 0, missing: float = 0.0) -> Beliefs:
    """Run ``n_items`` mixed items through every stream of the batch; the learner adopts each step."""
    source = np.random.default_rng(seed)
    for n in range(n_items):
        items = [mixed_item(learner.spec, n, source, missing=missing) for _ in range(len(beliefs))]
        step = learner.step(beliefs, items)
        learner.adopt(step)
        beliefs = step.beliefs
    return beliefs


def redo_of(step: Step) -> list[bytes]:
    """A step's redo record, if it has one."""
    return [] if step.redo is None else [step.redo]


async def reply_of(partition: Partition, stream: str, sequence: int) -> bytes | None:
    """The reply that is kept of one item."""
    (kept,) = await partition.load_replies([(stream, sequence)])
    return kept.reply


def mix_experts(records: np.ndarray, network: np.ndarray) -> experts.Mixed:
    """Mix in what the network says, (B, R), of each stream's and field's next item; ``records`` is changed."""
    for place in np.ndindex(*network.shape):
        experts.mix(records["fields"][place], network[place])
    return experts.pending(records)


def wave(n: int, *, period: float = 12.0, noise: float = 0.05, seed: int = 0) -> list[float]:
    """A noisy sine of ``n`` values."""
    source = np.random.default_rng(seed)
    return [math.sin(2 * math.pi * i / period) + noise * float(source.standard_normal()) for i in range(n)]
