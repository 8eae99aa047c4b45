"""The weights of a partition in the store: recovering them, and when to snapshot."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from model.learner import Learner
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.store import Partition

log = logging.getLogger("stepahead")

REDO_TO_SNAPSHOT = 8
"""A snapshot is due once the redo records after the last one are this many times its size."""


MANY_REDONE = 100
"""After a recovery that redid so many records the next snapshot is due at once: another one need not redo them."""

REDONE_AT_ONCE = 16
"""Records that one call in the learning thread redoes: other models learn between two. Fewer are not worth a snapshot
of a model that leaves memory."""


class DamagedWeights(RuntimeError):
    """The stored snapshot and redo records do not lead from one weights version to the next."""


class WeightsLog:
    """A snapshot and the redo records after it.

    Args:
        partition: Where they are kept.
        compute: Where weights are encoded and redone.
        every_updates: Weight updates after which a snapshot is due at the latest.
    """

    def __init__(self, partition: Partition, compute: ComputeThread, every_updates: int) -> None:
        self._partition = partition
        self._compute = compute
        self._every_updates = every_updates
        self._updates = 0
        self._redo_bytes = 0
        self._redone = 0
        self._snapshot_bytes = 0  # of the last one; of the one to come while there is none

    async def recover(self, spec: ModelSpec) -> Learner:
        """The learner that the last owner had after its last commit, bit for bit.

        Raises:
            StoreUnavailable: If the store did not answer.
            DamagedWeights: If a record is missing or cannot be redone.
        """
        version, snapshot, records = await self._partition.load_weights()
        learner = await self._compute.run(_restore, spec, version, snapshot)
        for i in range(0, len(records), REDONE_AT_ONCE):
            await self._compute.run(_redo, learner, records[i : i + REDONE_AT_ONCE])
        self._updates = self._redone = len(records)
        self._redo_bytes = sum(len(record) for _, record in records)
        if snapshot is None:
            snapshot = await self._compute.run(learner.encode_weights)
        self._snapshot_bytes = len(snapshot)
        if records:
            log.info("redid %d weight updates after version %d", len(records), version)
        return learner

    def count(self, redo: bytes | None) -> None:
        """Take note of one committed update; ``None`` if no weight changed."""
        if redo is not None:
            self._updates += 1
            self._redo_bytes += len(redo)

    @property
    def is_due(self) -> bool:
        """Whether redoing the log would by now cost more than a snapshot."""
        return (
            self._updates >= self._every_updates
            or self._redone >= MANY_REDONE
            or self._redo_bytes > REDO_TO_SNAPSHOT * self._snapshot_bytes
        )

    @property
    def is_worth_saving(self) -> bool:
        """Whether a snapshot costs less than redoing the log when the model is next used."""
        return self._updates > REDONE_AT_ONCE or self.is_due

    async def save(self, learner: Learner) -> None:
        """Snapshot the weights if any update came since the last snapshot.

        Raises:
            LeaseLost: If another owner took the partition.
            StoreUnavailable: If the store did not answer; the log is then as good as before.
        """
        if not self._updates:
            return
        snapshot = await self._compute.run(learner.encode_weights)
        await self._partition.save_weights(learner.version, snapshot)
        self._updates = self._redo_bytes = self._redone = 0
        self._snapshot_bytes = len(snapshot)


def _restore(spec: ModelSpec, version: int, snapshot: bytes | None) -> Learner:
    learner = Learner(spec) if snapshot is None else Learner.from_snapshot(spec, snapshot)
    if learner.version != version:
        raise DamagedWeights(f"the snapshot of version {version} says {learner.version}")
    return learner


def _redo(learner: Learner, records: Sequence[tuple[int, bytes]]) -> None:
    for version, record in records:
        learner.redo(record)
        if learner.version != version:
            raise DamagedWeights(f"the redo record of version {version} leads to {learner.version}")
