"""The weights of a partition in the store: two snapshots, and the redo records after the older one."""

from __future__ import annotations

from dataclasses import dataclass

from service.store import scripts
from service.store.fenced import Fenced

REDO_PAGE_BYTES = 4 * 2**20
"""Redo records that one read returns, in bytes; a bound on what recovery holds in memory, and holds the store up."""


@dataclass(frozen=True, slots=True)
class StoredVersions:
    """Which weights are stored.

    Args:
        current: Version of the current snapshot; None without one.
        previous: Version of the one before; None without one. The redo records begin after it, or with version 1.
        last: Version of the last commit; 0 without one.
    """

    current: int | None
    previous: int | None
    last: int


class StoredWeights(Fenced):
    """The part of a partition that its weights are recovered from. See :class:`service.store.Partition`."""

    async def load_versions(self) -> StoredVersions:
        """Read which weights are stored."""
        found = await self._client.read("HMGET", self._keys.weights, "version", "previous", "last")
        current, previous, last = map(_version, found)
        return StoredVersions(current, previous, last or 0)

    async def load_snapshot(self, *, previous: bool = False) -> bytes | None:
        """Read the current snapshot, or the one before; None if it is not there."""
        key = self._keys.previous_snapshot if previous else self._keys.snapshot
        snapshot: bytes | None = await self._client.read("GET", key, bulk=True)
        return snapshot

    async def load_redo(self, after: int) -> list[tuple[int, bytes]]:
        """Read the first redo records after version ``after``: about ``REDO_PAGE_BYTES`` of them.

        Returns:
            Version and content of each, in order; none at the end of the log.
        """
        found = await self._client.run(
            scripts.READ_REDO, [self._keys.redo], [f"{after + 1}-0", REDO_PAGE_BYTES], bulk=True, patient=True
        )
        return [(int(entry.partition(b"-")[0]), record) for entry, record in found]

    async def save_weights(self, version: int, snapshot: bytes, *, only_current: bool = False) -> None:
        """Replace the current snapshot; it becomes the previous one, and redo records up to its version are dropped.

        Args:
            version: Neither below the current snapshot's nor above the last commit's.
            snapshot: The weights at ``version``.
            only_current: Drop the current snapshot, as it cannot be read, and keep the previous one with all redo
                records.

        Raises:
            LeaseLost: If another owner took the partition, or saved a newer snapshot; nothing was written.
        """
        await self._run_fenced(
            scripts.SAVE_WEIGHTS, self._weights_keys, [version, snapshot, int(only_current)], bulk=True
        )

    async def begin_anew(self, version: int, snapshot: bytes) -> None:
        """Go on with other weights than those that were committed; the next commit follows ``version``.

        What was before is gone: no recovery can lead back to it.

        Args:
            version: Above the last commit's.
            snapshot: The weights at ``version``.

        Raises:
            LeaseLost: If another owner took the partition; nothing was written.
        """
        await self._run_fenced(scripts.BEGIN_ANEW, self._weights_keys, [version, snapshot], bulk=True)

    @property
    def _weights_keys(self) -> list[str]:
        keys = self._keys
        return [keys.weights, keys.redo, keys.snapshot, keys.previous_snapshot]


def _version(text: bytes | None) -> int | None:
    """A version as it is stored; None where there is none, or what is there cannot be one."""
    return int(text) if text is not None and text.isdigit() else None
