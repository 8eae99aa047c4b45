"""Streams that begin with another's belief, and the snapshots that a stream keeps of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from service.errors import Overloaded
from service.store import scripts
from service.store.client import Argument, StoreClient
from service.store.keys import PartitionKeys
from service.store.records import NewStream, StreamSnapshot, milliseconds, snapshot_field, snapshot_id
from service.store.ring import is_part, until

FULL = -1
"""What ``keep_snapshot.lua`` answers for a stream that may have no more."""

PER_READ = 8
"""Snapshots that one read returns: each is as large as a belief."""


class StreamCopies:
    """What is written to one partition's streams beside their items; each write is one script, all or nothing.

    A stream's snapshots are fields of its own hash: they expire and are deleted with it.

    Every method raises ``StoreUnavailable`` if the store did not answer in time, or refused; the outcome of a write is
    then unknown. Every write raises ``LeaseLost`` if another owner took the partition, or the stream is not where this
    owner left it; nothing was written then.

    Args:
        client: The way to the store.
        keys: Of the partition.
        run_fenced: Runs a script that checks the owner's epoch and answers a number.
    """

    def __init__(
        self, client: StoreClient, keys: PartitionKeys, run_fenced: Callable[..., Awaitable[int | None]]
    ) -> None:
        self._client = client
        self._keys = keys
        self._run_fenced = run_fenced

    async def create(self, streams: Sequence[NewStream], *, ttl_s: float | None) -> int | None:
        """Create streams that begin with a belief, with no reply kept.

        Args:
            streams: At least one, each name once; so many that one write may hold them.
            ttl_s: Seconds without an item after which they are forgotten; None for never.

        Returns:
            When, in microseconds since 1970; None if one of them exists, and none was created then.

        Raises:
            ValueError: If ``ttl_s`` is out of its bounds; nothing was written.
        """
        hashes = [self._keys.stream(new.stream) for new in streams]
        parts = [part for new in streams for part in (new.stream, new.sequence, new.belief)]
        return await self._number(scripts.CREATE_STREAMS, [self._keys.streams, *hashes], [milliseconds(ttl_s), *parts])

    async def snapshots(self, stream: str) -> dict[str, bytes]:
        """Read a stream's snapshots by id, the newest first; empty where there is no such stream."""
        key = self._keys.stream(stream)
        fields = [field.decode() for field in await self._client.read("HKEYS", key)]
        ids = sorted((found for field in fields if (found := snapshot_id(field)) is not None), key=int, reverse=True)
        kept: dict[str, bytes] = {}
        for first in range(0, len(ids), PER_READ):
            some = ids[first : first + PER_READ]
            values = await self._client.read("HMGET", key, *map(snapshot_field, some), bulk=True)
            kept.update((name, value) for name, value in zip(some, values, strict=True) if value is not None)
        return kept

    async def snapshot(self, stream: str, snapshot: str) -> bytes | None:
        """Read a snapshot; None if there is none of that id."""
        value: bytes | None = await self._client.read("HGET", self._keys.stream(stream), snapshot_field(snapshot))
        return value

    async def keep(self, stream: str, snapshot: StreamSnapshot, *, most: int) -> str | None:
        """Keep a snapshot of a stream as it is.

        Args:
            stream: Whose.
            snapshot: Taken at the sequence that the stream is at.
            most: Snapshots that a stream may have.

        Returns:
            The snapshot's id, a whole number that rises; None if there is no such stream.

        Raises:
            Overloaded: If the stream has ``most`` already; nothing was written.
        """
        args: list[Argument] = [snapshot.sequence, most, snapshot.encode()]
        number = await self._number(scripts.KEEP_SNAPSHOT, [self._keys.stream(stream)], args)
        if number == FULL:
            raise Overloaded(f"the stream keeps {most} snapshots, as many as it may", max_snapshots=most)
        return None if number is None else str(number)

    async def restore(self, stream: str, snapshot: StreamSnapshot, *, ttl_s: float | None) -> int | None:
        """Take a stream back to a snapshot; replies to later items are forgotten, earlier ones stay.

        Args:
            stream: Which.
            snapshot: That it goes back to.
            ttl_s: Seconds without an item after which it is forgotten, counted anew; None for never.

        Returns:
            When, in microseconds since 1970; None if there is no such stream.
        """
        key, then = self._keys.stream(stream), snapshot.sequence
        parts = [field.decode() for field in await self._client.read("HKEYS", key) if is_part(field.decode())]
        kept = await self._client.read("HMGET", key, *parts, bulk=True) if parts else []
        args: list[Argument] = [then, snapshot.belief, milliseconds(ttl_s)]
        for field, part in zip(parts, kept, strict=True):
            args += (field, until(part or b"", then))
        return await self._number(scripts.RESTORE_STREAM, [key], args)

    async def drop(self, stream: str, snapshot: str) -> bool:
        """Remove a snapshot; False if there is none of that id."""
        args = [snapshot_field(snapshot)]
        return bool(await self._number(scripts.DROP_SNAPSHOT, [self._keys.stream(stream)], args))

    async def _number(self, script: scripts.Script, keys: Sequence[str], args: Sequence[Argument]) -> int | None:
        """Run a script that answers a number; None for 0."""
        return await self._run_fenced(script, keys, args) or None
