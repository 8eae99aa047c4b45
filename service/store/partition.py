"""One partition in the store, as its owner reads and writes it."""

from __future__ import annotations

from collections.abc import Sequence

from model.spec import MAX_TTL_S
from service.store import scripts
from service.store.client import Argument, StoreClient
from service.store.kept import KeptWeights
from service.store.keys import PartitionKeys
from service.store.records import BeliefChange, StoredStream, decode_reply, encode_reply, reply_field
from service.store.weights import StoredWeights

CHUNK = 500  # streams that one script removes: a bound on how long it holds up the store


class Partition(StoredWeights, KeptWeights):
    """The beliefs, replies, weights and redo log of one partition, and the lease on it.

    Everybody may read. Only who acquired it last can write: the writes of all others are refused with ``LeaseLost``.

    Every method raises ``StoreUnavailable`` if the store did not answer in time, or refused.
    """

    def __init__(self, client: StoreClient, keys: PartitionKeys, *, kept_replies: int) -> None:
        super().__init__(client, keys)
        self._kept_replies = kept_replies

    async def acquire(self) -> None:
        """Take the lease; from now on nobody else can write, and no write of the past can still arrive.

        To be called before the first write, and again after a write whose outcome is unknown: what is read after it
        is then final.
        """
        self._epoch = (await self._client.run(scripts.ACQUIRE, [self._keys.lease])).decode()

    async def load(self, streams: Sequence[str]) -> list[StoredStream | None]:
        """Read streams in one round trip; None for one that does not exist."""
        if not streams:
            return []
        rows = await self._client.read_all(
            [("HMGET", self._keys.stream(stream), "belief", "created", "updated") for stream in streams]
        )
        return [
            None if belief is None else StoredStream(belief, int(created), int(updated))
            for belief, created, updated in rows
        ]

    async def load_reply(self, stream: str, sequence: int) -> bytes | None:
        """Read the reply that was committed for ``sequence``; None if it is not, or no longer, kept."""
        field = reply_field(sequence, self._kept_replies)
        value: bytes | None = await self._client.read("HGET", self._keys.stream(stream), field)
        return None if value is None else decode_reply(value, sequence)

    async def commit(
        self, changes: Sequence[BeliefChange], *, version: int, redo: bytes | None, ttl_s: float | None
    ) -> None:
        """Replace beliefs and keep replies and the redo record, all of them or none.

        Args:
            changes: At most one per stream. A stream that exists must be at the sequence before; one that does not
                is created.
            version: The weights version after the batch: one above the last commit's with ``redo``, else the same.
            redo: What is needed to compute this batch's weight update again; None if no weight changed.
            ttl_s: Seconds without an item after which each of these streams is forgotten; None for never.

        Raises:
            ValueError: If ``ttl_s`` is below 0 or over ``MAX_TTL_S``; nothing was written.
            LeaseLost: If another owner took the partition, or the store is not where this owner left it; nothing was
                written.
            StoreUnavailable: If the store did not answer in time, or refused; the outcome is then unknown.
        """
        if ttl_s is not None and not 0 <= ttl_s <= MAX_TTL_S:
            raise ValueError(f"ttl_s: 0 to {MAX_TTL_S} seconds, got {ttl_s:g}")
        keys = self._keys
        args: list[Argument] = [
            version,
            0 if redo is None else 1,
            redo or b"",
            0 if ttl_s is None else max(1, round(ttl_s * 1000)),
        ]
        for change in changes:
            args += (
                change.stream,
                change.sequence,
                change.belief,
                reply_field(change.sequence, self._kept_replies),
                encode_reply(change.sequence, change.reply),
            )
        hashes = [keys.stream(change.stream) for change in changes]
        await self._run_fenced(scripts.COMMIT, [keys.weights, keys.redo, keys.streams, *hashes], args)

    async def list_streams(self, after: str, limit: int) -> list[str]:
        """Name up to ``limit`` streams that come after ``after``, in the order of their code points."""
        found: list[str] = []
        while len(found) < limit and (names := await self._names(after, limit)):
            exist = await self._client.read_all([("EXISTS", self._keys.stream(name)) for name in names])
            found += (name for name, exists in zip(names, exist, strict=True) if exists)
            after = names[-1]
        return found[:limit]

    async def count_streams(self) -> int:
        """Count the streams, those included that have expired and are not yet forgotten."""
        return int(await self._client.read("ZCARD", self._keys.streams))

    async def forget_expired(self) -> int:
        """Drop the names of expired streams, a chunk at a time, and return how many there were."""
        forgotten, after = 0, ""
        while names := await self._names(after, CHUNK):
            keys = [self._keys.streams, *map(self._keys.stream, names)]
            forgotten += int(await self._client.run(scripts.FORGET_EXPIRED, keys, names))
            after = names[-1]
        return forgotten

    async def delete_stream(self, stream: str) -> bool:
        """Remove a stream; False if there was none.

        Raises:
            LeaseLost: If another owner took the partition; nothing was removed.
        """
        return await self._delete([stream]) > 0

    async def drop(self) -> None:
        """Take the lease and remove everything, a chunk of streams at a time and the weights last.

        Raises:
            LeaseLost: If another owner took the partition meanwhile; whole streams may be gone by then.
        """
        await self.acquire()
        while names := await self._names("", CHUNK):
            await self._delete(names)
        keys = self._keys
        rest = [*self._weights_keys, keys.kept, keys.kept_weights, keys.streams]
        await self._run_fenced(scripts.DROP_PARTITION, rest, [])

    async def _delete(self, names: Sequence[str]) -> int:
        keys = [self._keys.streams, *map(self._keys.stream, names)]
        return int(await self._run_fenced(scripts.DELETE_STREAMS, keys, names) or 0)

    async def _names(self, after: str, limit: int) -> list[str]:
        names = await self._client.read(
            "ZRANGE", self._keys.streams, f"({after}" if after else "-", "+", "BYLEX", "LIMIT", 0, limit
        )
        return [name.decode() for name in names]
