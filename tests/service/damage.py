"""A run that was written to a real store, and ways to damage what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import redis

from model import codec
from model.belief import Beliefs
from model.codec import Kind
from model.learner import Learner
from model.spec import ModelSpec
from service.store import BeliefChange, Partition
from service.store.keys import PartitionKeys
from tests.builders import mixed_item

STREAMS = ("a", "b")


@dataclass(slots=True)
class Run:
    """A model that learned without interruption, and what it wrote.

    Args:
        spec: The model's.
        states: Its snapshot at each version, from 0.
        redo: Its redo record of each version, from 1.
        learner: As it is at the end.
        beliefs: Of ``STREAMS``, at the end.
    """

    spec: ModelSpec
    states: list[bytes] = field(default_factory=list)
    redo: list[bytes] = field(default_factory=list)
    learner: Learner = field(init=False)
    beliefs: Beliefs = field(init=False)

    @classmethod
    def of(cls, spec: ModelSpec, n_updates: int) -> Run:
        """Learn until there were ``n_updates``."""
        run, learner, source = cls(spec), Learner(spec), np.random.default_rng(0)
        run.learner, run.beliefs = learner, learner.fresh_beliefs(len(STREAMS))
        run.states.append(learner.encode_weights())
        n = 0
        while learner.version < n_updates:
            step = learner.step(run.beliefs, [mixed_item(spec, n, source) for _ in STREAMS])
            learner.adopt(step)
            run.beliefs, n = step.beliefs, n + 1
            if step.redo is not None:
                run.redo.append(step.redo)
                run.states.append(learner.encode_weights())
        return run

    @property
    def last(self) -> int:
        """The last version."""
        return len(self.redo)

    async def write(self, partition: Partition, *snapshots: int) -> None:
        """Take the partition and commit the run, with the beliefs at its end, and snapshots of the versions named."""
        await partition.acquire()
        for version, record in enumerate(self.redo, 1):
            changes = []
            if version == self.last:
                encoded = self.beliefs.encode()
                changes = [BeliefChange(s, 1, belief, b"") for s, belief in zip(STREAMS, encoded, strict=True)]
            await partition.commit(changes, version=version, redo=[record], ttl_s=None)
            if version in snapshots:
                await partition.save_weights(version, self.states[version])

    def learned(self, version: int) -> dict[str, Any]:
        """What was learned by then, see :func:`learned`."""
        return learned(Learner.from_snapshot(self.spec, self.states[version]))


def learned(learner: Learner) -> dict[str, Any]:
    """All bits that a learner has learned but its version and vocabulary."""
    weights, counts = learner.weights, learner.counts
    return {
        "weights": [array.tobytes() for array in weights.arrays],
        "n_updates": weights.n_updates,
        "counts": None if counts is None else [array.tobytes() for array in counts.encode()[1]],
    }


def flipped(data: bytes, at: float = 0.5) -> bytes:
    """The same bytes with one bit changed; ``at`` is how far in, 0 to 1."""
    changed = bytearray(data)
    changed[min(int(at * len(data)), len(data) - 1)] ^= 0x10
    return bytes(changed)


def newer(kind: Kind, data: bytes) -> bytes:
    """The same record as a later version of this software would write it."""
    with patch("model.codec.FORMAT", codec.FORMAT + 1):
        return codec.pack(kind, bytes(memoryview(data)[8:]))


def put_snapshot(raw: redis.Redis, snapshot: bytes | None, *, previous: bool = False, model: str = "m") -> None:
    """Replace what is stored as a snapshot; ``None`` removes it."""
    keys = PartitionKeys(model)
    key = keys.previous_snapshot if previous else keys.snapshot
    if snapshot is None:
        raw.delete(key)
    else:
        raw.set(key, snapshot)


def put_redo(raw: redis.Redis, changes: Mapping[int, bytes | None], model: str = "m") -> None:
    """Replace redo records by version; ``None`` removes one."""
    key = PartitionKeys(model).redo
    entries: list[tuple[bytes, dict[bytes, bytes]]] = raw.xrange(key)  # type: ignore[assignment]
    raw.delete(key)
    for entry, fields in entries:
        record = changes.get(int(entry.partition(b"-")[0]), fields[b"record"])
        if record is not None:
            raw.xadd(key, {"record": record}, id=entry)
