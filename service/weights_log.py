"""The weights of a partition in the store: taking them up, and when to snapshot."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from prometheus_client import Counter

from model.learner import Learner
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.recovery import Recovery
from service.store import Partition

log = logging.getLogger("stepahead")

REDO_TO_SNAPSHOT = 8
"""A snapshot is due once the redo records after the last one are this many times its size.

With ``snapshot_every_updates`` it bounds what recovery redoes; twice as much where the current snapshot is damaged.
"""

MANY_REDONE = 100
"""After a recovery that redid so many records the next snapshot is due at once: another one need not redo them."""


FEW_UPDATES = 16
"""So many are sooner redone when a model comes back than snapshotted when it leaves memory."""


class WeightsLog:
    """Two snapshots, and the redo records after them.

    Args:
        partition: Where they are kept.
        compute: Where weights are encoded and redone.
        every_updates: Weight updates after which a snapshot is due at the latest.
        damaged: Counts stored records that cannot be read, by ``kind``.
        device: Of the learner, see :func:`model.device.network_on`.
    """

    def __init__(
        self, partition: Partition, compute: ComputeThread, every_updates: int, damaged: Counter, device: str = "cpu"
    ) -> None:
        self._partition = partition
        self._compute = compute
        self._every_updates = every_updates
        self._damaged = damaged
        self._device = device
        self._updates = 0
        self._redo_bytes = 0
        self._redone = 0
        self._snapshot_bytes = 0  # of the last one; of the one to come while there is none

    async def recover(self, spec: ModelSpec) -> Learner:
        """The learner that the last owner had after its last commit, bit for bit.

        Where updates cannot be redone they are lost: the model then begins anew, one version above the last there was,
        and what could not be read is gone. A damaged snapshot that nothing is lost by is replaced.

        Raises:
            WeightsLost: If neither a snapshot nor the whole redo log can be read; nothing was changed.
            UnreadableFormat: If anything was written by another version of the service; nothing was changed.
            LeaseLost: If another owner took the partition.
            StoreUnavailable: If the store did not answer.
        """
        found = await Recovery(self._partition, self._compute, spec, self._damaged, self._device).run()
        learner = found.learner
        if not found.is_whole:
            learner.version = found.last + 1
            await self.begin_anew(learner)
            log.error("partition %s: begins anew as version %d", self._partition.name, learner.version)
            return learner
        if found.current_damaged:
            await self._write(learner, only_current=True)
            return learner
        self._updates = self._redone = found.n_redone
        self._redo_bytes = found.redone_bytes
        size = found.snapshot_bytes
        self._snapshot_bytes = len(await self._compute.run(learner.encode_weights)) if size is None else size
        if found.n_redone:
            log.info(
                "partition %s: redid %d weight updates, up to version %d",
                self._partition.name, found.n_redone, learner.version,
            )  # fmt: skip
        return learner

    def count(self, redo: Sequence[bytes]) -> None:
        """Take note of committed updates."""
        self._updates += len(redo)
        self._redo_bytes += sum(map(len, redo))

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
        return self._updates > FEW_UPDATES or self.is_due

    async def save(self, learner: Learner) -> None:
        """Snapshot the weights if any update came since the last snapshot.

        Raises:
            LeaseLost: If another owner took the partition.
            StoreUnavailable: If the store did not answer; the log is then as good as before.
        """
        if self._updates:
            await self._write(learner)

    async def begin_anew(self, learner: Learner) -> None:
        """Let weights that no redo record leads to take the place of all that is stored.

        Args:
            learner: Of a version above the last commit's.

        Raises:
            LeaseLost: If another owner took the partition; nothing was written.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        snapshot = await self._compute.run(learner.encode_weights)
        await self._partition.begin_anew(learner.version, snapshot)
        self._saved(snapshot)

    async def _write(self, learner: Learner, *, only_current: bool = False) -> None:
        snapshot = await self._compute.run(learner.encode_weights)
        await self._partition.save_weights(learner.version, snapshot, only_current=only_current)
        self._saved(snapshot)

    def _saved(self, snapshot: bytes) -> None:
        self._updates = self._redo_bytes = self._redone = 0
        self._snapshot_bytes = len(snapshot)
