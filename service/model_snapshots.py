"""Snapshots of a model's weights that somebody asked to keep, and going back to one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from model.codec import DamagedRecord, OtherFormat
from model.learner import Learner
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.errors import DamagedSnapshot, UnknownSnapshot, UnreadableFormat
from service.rescue import known_to_beliefs, values_met
from service.store import KeptSnapshot, Partition
from service.turn import Turn


class ModelSnapshots:
    """Keeps and restores what a model has learned; beliefs stay as they are.

    Args:
        partition: Holds them.
        between_batches: Holds off the next batch; gives what may be used meanwhile.
        begin_anew: Stores other weights and goes on with them; called between two batches.
        compute: Where weights are encoded and decoded.
        at_most: How many are kept.
    """

    def __init__(
        self,
        partition: Partition,
        between_batches: Callable[[], AbstractAsyncContextManager[Turn]],
        begin_anew: Callable[[Learner], Awaitable[None]],
        compute: ComputeThread,
        at_most: int,
    ) -> None:
        self._partition = partition
        self._between_batches = between_batches
        self._begin_anew = begin_anew
        self._compute = compute
        self._at_most = at_most

    async def keep(self, name: str | None) -> KeptSnapshot:
        """Keep the weights as they are.

        Raises:
            Overloaded: If as many are kept as may be.
            StoreUnavailable: If the store did not answer; it may have been kept nevertheless.
        """
        async with self._between_batches() as turn:
            content = await self._compute.run(turn.learner.encode_weights)
            kept = KeptSnapshot(
                id=secrets.token_hex(8),
                name=name,
                weights_version=turn.learner.version,
                n_bytes=len(content),
                created_us=time.time_ns() // 1000,
            )
            await self._partition.keep_snapshot(kept, content, at_most=self._at_most)
        return kept

    async def restore(self, snapshot_id: str) -> None:
        """Go on with the weights of a snapshot from the next item, under a version of their own.

        Raises:
            UnknownSnapshot: If no such snapshot is kept.
            DamagedSnapshot: If it cannot be read; nothing was changed.
            UnreadableFormat: If another version of the service wrote it; nothing was changed.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        async with self._between_batches() as turn:
            content = await _load(self._partition, snapshot_id)
            learner = await self._compute.run(_named_errors, snapshot_id, turn.learner.going_back, content)
            await self._begin_anew(learner)

    async def drop(self, snapshot_id: str) -> None:
        """Remove a snapshot.

        Raises:
            UnknownSnapshot: If no such snapshot is kept.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        async with self._between_batches():
            if not await self._partition.drop_snapshot(snapshot_id):
                raise UnknownSnapshot(snapshot_id)


async def restore_lost(partition: Partition, compute: ComputeThread, spec: ModelSpec, snapshot_id: str) -> None:
    """Give weights to a model whose own cannot be recovered: those of a snapshot.

    Args:
        partition: Acquired here, so that no engine writes meanwhile.
        compute: Where weights are decoded.
        spec: The model's.
        snapshot_id: Which are restored.

    Raises:
        UnknownSnapshot: If no such snapshot is kept.
        DamagedSnapshot: If it cannot be read; nothing was changed.
        UnreadableFormat: If another version of the service wrote it or the redo log; nothing was changed.
        StoreUnavailable: If the store did not answer; the outcome is then unknown.
    """
    await partition.acquire()
    content = await _load(partition, snapshot_id)
    learner = await compute.run(_named_errors, snapshot_id, _decoder(spec), content)
    stored = await partition.load_versions()
    last = max(stored.last, stored.current or 0)
    page = await partition.load_redo(0)
    while page:
        last = max(last, page[-1][0])
        learner.vocabulary, unreadable = await compute.run(values_met, spec, learner.vocabulary, page)
        for version, error in unreadable:
            if isinstance(error, OtherFormat):
                raise UnreadableFormat(f"the redo record of version {version}", error.why) from error
        page = await partition.load_redo(page[-1][0])
    learner.vocabulary = learner.vocabulary.padded(await known_to_beliefs(partition, compute, spec))
    learner.version = last + 1
    await partition.begin_anew(learner.version, await compute.run(learner.encode_weights))


async def _load(partition: Partition, snapshot_id: str) -> bytes:
    content = await partition.load_kept(snapshot_id)
    if content is None:
        raise UnknownSnapshot(snapshot_id)
    return content


def _decoder(spec: ModelSpec) -> Callable[[bytes], Learner]:
    return lambda content: Learner.from_snapshot(spec, content)


def _named_errors(snapshot_id: str, decode: Callable[[bytes], Learner], content: bytes) -> Learner:
    try:
        return decode(content)
    except OtherFormat as error:
        raise UnreadableFormat(f"the kept snapshot {snapshot_id!r}", error.why) from error
    except DamagedRecord as error:
        raise DamagedSnapshot(snapshot_id, error.why) from error
