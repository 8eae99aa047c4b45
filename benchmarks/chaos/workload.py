"""The models, their streams and their items; an item follows from the seed and its place, so none needs keeping."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model.items import Item, parse_item
from model.spec import FieldSpec, LearnSpec, ModelSpec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MISSING = 0.05
"""Share of the values that are missing. A model's first real field never is, so that every item after a stream's first
changes the weights of a model that learns: its batches can then be told apart by their weights version."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One item as it is sent.

    Args:
        values: Field name to number, text or ``None``.
        timestamp: ISO 8601; ``None`` where the model's items have no time.
    """

    values: dict[str, Any]
    timestamp: str | None


@dataclass(frozen=True)
class Workload:
    """One model and the streams that feed it.

    Args:
        model: The model's name.
        spec: The model's.
        streams: Their names.
        seed: Of the items.
        timed: Whether items have a time.
    """

    model: str
    spec: ModelSpec
    streams: tuple[str, ...]
    seed: int
    timed: bool = False

    @property
    def learns(self) -> bool:
        """Whether items change the weights."""
        return self.spec.learn.weights

    def observed(self, stream: str, sequence: int) -> Observed:
        """The item at a place, always the same."""
        source = random.Random(f"{self.seed}/{self.model}/{stream}/{sequence}")
        phase = sequence / 7 + len(stream)
        values: dict[str, Any] = {}
        for i, field in enumerate(self.spec.fields):
            if i and source.random() < MISSING:
                values[field.name] = None
            elif field.kind == "real":
                values[field.name] = round(20 + 5 * math.sin(phase) + source.gauss(0, 1), 4)
            elif field.values is not None:
                values[field.name] = field.values[int(abs(phase) + source.random()) % len(field.values)]
            elif sequence == 1:
                # A value that is met raises the weights version; a stream's first item is to leave it where it is.
                values[field.name] = None
            else:
                values[field.name] = f"met-{int(source.random() ** 3 * 4 * sequence)}"
        at = BEGIN + timedelta(seconds=60 * sequence + source.randrange(30))
        return Observed(values, at.isoformat() if self.timed else None)

    def item(self, stream: str, sequence: int) -> Item:
        """The item at a place as the learner takes it."""
        observed = self.observed(stream, sequence)
        timestamp_us = None
        if observed.timestamp is not None:
            since = datetime.fromisoformat(observed.timestamp) - datetime(1970, 1, 1, tzinfo=UTC)
            timestamp_us = since // timedelta(microseconds=1)
        return parse_item(self.spec, observed.values, timestamp_us)


def workloads(seed: int, n_streams: int) -> list[Workload]:
    """A default model, one of everything, and one whose weights are frozen; ``n_streams`` each."""
    reals = (FieldSpec("load"),)
    mixed = (
        FieldSpec("load"),
        FieldSpec("pressure"),
        FieldSpec("state", "category", values=("idle", "busy", "broken")),
        FieldSpec("word", "category", capacity=100),
    )
    frozen = LearnSpec(weights=False, state=True, initial_state=False)
    return [
        Workload("plain", ModelSpec(reals), _names("site", n_streams), seed),
        Workload("mixed", ModelSpec(mixed, hidden=16, experts="light"), _names("Gerät", n_streams), seed, timed=True),
        Workload("frozen", ModelSpec(reals, hidden=8, learn=frozen), _names("meter", n_streams), seed),
    ]


def _names(kind: str, n: int) -> tuple[str, ...]:
    return tuple(f"{kind} {i}" for i in range(n))
