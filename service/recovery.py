"""From what the store holds of a partition's weights to a learner, whatever of it is damaged.

Recovery begins at the current snapshot; if that cannot be read, at the previous one; if neither can, at fresh weights,
provided that the redo log begins with the first update. From there it redoes the log. A record that is damaged or
missing ends that: those after it cannot be redone, but still tell which values were met.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from model.codec import DamagedRecord, Kind, OtherFormat
from model.learner import Learner
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.errors import UnreadableFormat, WeightsLost
from service.rescue import known_to_beliefs, values_met
from service.store import Partition, StoredVersions

log = logging.getLogger("stepahead")

REDONE_AT_ONCE = 16
"""Records that one call in the learning thread redoes: other models learn between two."""

Page = Sequence[tuple[int, bytes]]
"""Redo records in order, each with its version."""


@dataclass(slots=True)
class Recovered:
    """What recovery came to.

    Args:
        learner: As it was after the last commit; where updates were lost, after the last one that could be redone.
        last: The highest version that the store tells of.
        committed: The version that the next commit must follow, as the store has it.
        snapshot_bytes: Size of the snapshot that it began with; ``None`` without one.
        current_damaged: Whether the current snapshot could not be read.
        n_redone: Records redone.
        redone_bytes: Their size.
    """

    learner: Learner
    last: int
    committed: int
    snapshot_bytes: int | None
    current_damaged: bool
    n_redone: int = 0
    redone_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the log can go on from these weights."""
        return self.learner.version == self.last == self.committed


class Recovery:
    """One recovery of a partition's weights. Writes nothing.

    Args:
        partition: Owned by this process, so that nothing changes meanwhile.
        compute: Where weights are decoded and redone.
        spec: The model's.
        damaged: Counts what cannot be read, by ``kind``.
        device: Of the learner, see :func:`model.device.network_on`.
    """

    def __init__(
        self, partition: Partition, compute: ComputeThread, spec: ModelSpec, damaged: Counter, device: str = "cpu"
    ) -> None:
        self._partition = partition
        self._compute = compute
        self._spec = spec
        self._damaged = damaged
        self._device = device

    async def run(self) -> Recovered:
        """Recover, as far as possible.

        Raises:
            WeightsLost: If there is nothing to begin with.
            UnreadableFormat: If anything is of another format; it is not damage, and nothing may be put in its place.
            StoreUnavailable: If the store did not answer.
        """
        stored = await self._partition.load_versions()
        found = await self._begin(stored)
        page = await self._partition.load_redo(found.learner.version)
        if found.current_damaged:
            if found.snapshot_bytes is None and (not page or page[0][0] != 1):
                raise WeightsLost(self._partition.name)
            log.error("partition %s: falling back to version %d", self._partition.name, found.learner.version)
        rest, why = await self._redo(found, page)
        if rest or found.learner.version < found.last:
            await self._rescue(found, rest, why)
        return found

    async def _begin(self, stored: StoredVersions) -> Recovered:
        """The newest snapshot that can be read; fresh weights without one."""
        damaged = False
        for version, is_previous in ((stored.current, False), (stored.previous, True)):
            snapshot = await self._partition.load_snapshot(previous=is_previous)
            if snapshot is None and version is None:
                continue
            what = f"the {'previous ' if is_previous else ''}snapshot"
            what += "" if version is None else f" of version {version}"
            try:
                learner = await self._compute.run(_decode, self._spec, snapshot, version, self._device)
            except OtherFormat as error:
                raise self._unreadable(what, error) from error
            except DamagedRecord as error:
                damaged = True
                self._report("snapshot", f"{what} is damaged: {error.why}")
            else:
                size = len(snapshot or b"")
                return Recovered(learner, max(stored.last, learner.version), stored.last, size, damaged)
        learner = await self._compute.run(Learner, self._spec, device=self._device)
        return Recovered(learner, stored.last, stored.last, None, damaged)

    async def _redo(self, found: Recovered, page: Page) -> tuple[Page, str | None]:
        """Redo the log, reading a page while the one before is redone.

        Returns:
            Where it ended early the records that are left of the page, and why the first of them could not be redone;
            ``None`` if it can be, but does not follow.
        """
        learner = found.learner
        while page:
            before = learner.version
            following, problem = await asyncio.gather(
                self._partition.load_redo(page[-1][0]), self._redo_page(learner, page)
            )
            n_redone = learner.version - before
            found.n_redone += n_redone
            found.redone_bytes += sum(len(record) for _, record in page[:n_redone])
            found.last = max(found.last, learner.version)
            if n_redone < len(page):
                if isinstance(problem, OtherFormat):
                    raise self._unreadable(f"the redo record of version {page[n_redone][0]}", problem) from problem
                return page[n_redone:], None if problem is None else problem.why
            page = following
        return (), None

    async def _redo_page(self, learner: Learner, page: Page) -> DamagedRecord | None:
        """Redo records until one cannot be, or does not follow, and return what was wrong with it."""
        for first in range(0, len(page), REDONE_AT_ONCE):
            some = page[first : first + REDONE_AT_ONCE]
            problem = await self._compute.run(_redo, learner, some)
            if problem is not None or learner.version != some[-1][0]:
                return problem
        return None

    async def _rescue(self, found: Recovered, page: Page, why: str | None) -> None:
        """Name what is lost, and keep the values that were met meanwhile in their slots: beliefs refer to them."""
        learner, n_left = found.learner, 0
        if page and why is not None:
            self._report("redo", f"the redo record of version {page[0][0]} is damaged: {why}")
        first = page[0][0] if page else None
        while page:
            n_left += len(page)
            found.last = max(found.last, page[-1][0])
            learner.vocabulary, unreadable = await self._compute.run(values_met, self._spec, learner.vocabulary, page)
            for version, error in unreadable:
                what = f"the redo record of version {version}"
                if isinstance(error, OtherFormat):
                    raise self._unreadable(what, error) from error
                if version != first or why is None:
                    self._report("redo", f"{what} is damaged: {error.why}")
            page = await self._partition.load_redo(page[-1][0])
        n_lost = found.last - learner.version
        if n_lost > n_left:
            gone = (
                f"{n_lost - n_left} of the redo records of versions {learner.version + 1} to {found.last} are missing"
            )
            self._report("missing", gone, n_lost - n_left)
        known = await known_to_beliefs(self._partition, self._compute, self._spec)
        learner.vocabulary = learner.vocabulary.padded(known)
        log.error(
            "partition %s: %d weight updates after version %d cannot be redone and are lost",
            self._partition.name, n_lost, learner.version,
        )  # fmt: skip

    def _report(self, kind: str, what: str, n: int = 1) -> None:
        self._damaged.labels(kind).inc(n)
        log.error("partition %s: %s", self._partition.name, what)

    def _unreadable(self, what: str, error: OtherFormat) -> UnreadableFormat:
        return UnreadableFormat(f"{what} of partition {self._partition.name!r}", error.why)


def _decode(spec: ModelSpec, snapshot: bytes | None, version: int | None, device: str) -> Learner:
    """The learner of a snapshot; ``version`` is what the store says of it, ``None`` for nothing."""
    if snapshot is None:
        raise DamagedRecord(Kind.WEIGHTS, "it is missing")
    learner = Learner.from_snapshot(spec, snapshot, device)
    if version is not None and learner.version != version:
        raise DamagedRecord(Kind.WEIGHTS, f"it says that it is of version {learner.version}")
    return learner


def _redo(learner: Learner, page: Page) -> DamagedRecord | None:
    """Redo records until one cannot be, or does not follow; ``learner`` is changed. Returns what was wrong with it."""
    for version, record in page:
        if version != learner.version + 1:
            return None
        try:
            learner.redo(record)
        except DamagedRecord as error:
            return error
    return None
