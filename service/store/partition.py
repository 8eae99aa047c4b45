"""One partition in the store, as its owner reads and writes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from model.codec import DamagedRecord, checksum_of
from service.errors import LeaseLost, TakenOver
from service.store import scripts
from service.store.client import Argument, StoreClient
from service.store.instance import Instance
from service.store.kept import KeptWeights
from service.store.keys import PartitionKeys
from service.store.records import (
    BeliefChange,
    KeptItems,
    KeptReply,
    StoredStream,
    milliseconds,
)
from service.store.ring import Kept, place, value_at, values
from service.store.stream_copies import StreamCopies
from service.store.weights import StoredWeights

ITEMS_PER_READ = 1000
"""Kept items that one read returns: some hundred kilobytes to a megabyte."""

CHUNK = 500  # streams that one script removes: a bound on how long it holds up the store

NOBODYS, ANYBODYS = "", "*"  # which other instance's lease an acquisition may replace


class Partition(StoredWeights, KeptWeights):
    """The beliefs, replies, weights and redo log of one partition, and the lease on it.

    Everybody may read. Only who acquired it last can write: the writes of all others are refused with ``LeaseLost``.

    Every method raises ``StoreUnavailable`` if the store did not answer in time, or refused.
    """

    def __init__(self, client: StoreClient, instance: Instance, keys: PartitionKeys, *, kept_replies: int) -> None:
        super().__init__(client, keys)
        self._instance = instance
        self.kept_replies = kept_replies
        self.copies = StreamCopies(client, keys, self._run_fenced)

    async def acquire(self, *, by_force: bool = False) -> None:
        """Take the lease; from now on nobody else can write, and no write of the past can still arrive.

        To be called before the first write, and again after a write whose outcome is unknown: what is read after it
        is then final.

        Args:
            by_force: Also from another instance that shows life.

        Raises:
            TakenOver: If another instance has the partition and shows life.
        """
        if holder := await self._try_to_acquire(ANYBODYS if by_force else NOBODYS):
            left_s = await self._instance.left_s(holder.partition(":")[2])
            if left_s > 0 or await self._try_to_acquire(holder):
                raise TakenOver(self._keys.model, math.ceil(left_s) or 1)

    async def release(self) -> None:
        """Give the lease back, so that another instance need not wait; harmless where another one has it."""
        lease, self._lease = self._lease, ""
        if lease:
            await self._client.run(scripts.RELEASE, [self._keys.lease], [lease])

    async def confirm(self) -> None:
        """Return if this is still the owner: for what is done with its weights and writes nothing to the partition.

        Raises:
            LeaseLost: If another owner took the partition.
        """
        self._require_own(await self._client.read("GET", self._keys.lease))

    async def load(self, streams: Sequence[str]) -> list[StoredStream | None]:
        """Read streams in one round trip; None for one that does not exist.

        Raises:
            LeaseLost: If this was the owner and no longer is.
        """
        if not streams:
            return []
        lease, *rows = await self._client.read_all(
            [
                ("GET", self._keys.lease),
                *(("HMGET", self._keys.stream(stream), "belief", "created", "updated", "seq") for stream in streams),
            ]
        )
        if self._lease:
            self._require_own(lease)
        return [
            None if belief is None else StoredStream(belief, int(created), int(updated), int(sequence or 0))
            for belief, created, updated, sequence in rows
        ]

    async def load_sequences(self, streams: Sequence[str]) -> list[int]:
        """Read in one round trip the last applied sequence of streams; 0 for one that does not exist."""
        if not streams:
            return []
        rows = await self._client.read_all([("HGET", self._keys.stream(stream), "seq") for stream in streams])
        return [int(applied or 0) for applied in rows]

    async def load_replies(self, items: Sequence[tuple[str, int]]) -> list[KeptReply]:
        """Read in one round trip what is kept of items, each a stream and a sequence."""
        if not items:
            return []
        places = [place(sequence, self.kept_replies) for _, sequence in items]
        rows = await self._client.read_all(
            [
                ("HMGET", self._keys.stream(stream), "seq", field)
                for (stream, _), (field, _) in zip(items, places, strict=True)
            ]
        )
        return [
            _kept(applied, part, within, sequence)
            for (applied, part), (_, within), (_, sequence) in zip(rows, places, items, strict=True)
        ]

    async def load_items(self, stream: str, n: int) -> KeptItems | None:
        """Read what is kept of a stream's last ``n`` items; None if there is no such stream.

        They are read in parts, and all anew where the stream went back or began anew meanwhile.

        Raises:
            DamagedRecord: If a part of it cannot be read.
        """
        key, ring = self._keys.stream(stream), self.kept_replies
        while True:
            applied_now, was_created, belief = await self._client.read("HMGET", key, "seq", "created", "belief")
            if applied_now is None:
                return None
            applied, items = int(applied_now), list[Kept]()
            end = applied + 1
            for first in range(max(1, end - min(n, ring)), end, ITEMS_PER_READ):
                part = range(first, min(first + ITEMS_PER_READ, end))
                fields = list(dict.fromkeys(place(sequence, ring)[0] for sequence in part))
                seq, created, *parts = await self._client.read("HMGET", key, "seq", "created", *fields, bulk=True)
                if seq is None or created != was_created or int(seq) < applied:
                    break
                items += _kept_of(part, ring, dict(zip(fields, parts, strict=True)))
            else:
                return KeptItems(applied, items, checksum_of(belief))

    async def commit(
        self, changes: Sequence[BeliefChange], *, version: int, redo: Sequence[bytes], ttl_s: float | None
    ) -> int | None:
        """Replace beliefs and keep replies and redo records, all of them or none.

        Args:
            changes: At most one per stream. A stream that exists must be at the sequence before; one that does not
                is created.
            version: The weights version after them: above the last commit's by the number of redo records.
            redo: What is needed to compute these updates of the weights again, in their order.
            ttl_s: Seconds without an item after which each of these streams is forgotten; None for never.

        Returns:
            When, in microseconds since 1970; None if a stream is not as its ``updated_us`` says, and nothing was
            written then.

        Raises:
            ValueError: If ``ttl_s`` is below 0 or over ``MAX_TTL_S``; nothing was written.
            LeaseLost: If another owner took the partition, or the store is not where this owner left it; nothing was
                written.
            StoreUnavailable: If the store did not answer in time, or refused; the outcome is then unknown.
        """
        keys = self._keys
        args: list[Argument] = [version, len(redo), milliseconds(ttl_s), *redo]
        for change in changes:
            kept = change.kept
            args += (
                change.stream,
                change.sequence - change.n_items,
                change.sequence,
                "" if change.updated_us is None else change.updated_us,
                change.belief,
                len(kept),
            )
            for one in kept:
                args += (*place(one.sequence, self.kept_replies), one.encode())
        hashes = [keys.stream(change.stream) for change in changes]
        done_us = await self._run_fenced(scripts.COMMIT, [keys.weights, keys.redo, keys.streams, *hashes], args)
        return done_us or None

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

    async def drop(self, *, by_force: bool) -> None:
        """Take the lease and remove everything, a chunk of streams at a time and the weights last.

        Args:
            by_force: Also from another instance that shows life.

        Raises:
            TakenOver: If another instance has the partition and shows life; nothing was removed.
            LeaseLost: If another owner took the partition meanwhile; whole streams may be gone by then.
        """
        await self.acquire(by_force=by_force)
        while names := await self._names("", CHUNK):
            await self._delete(names)
        keys = self._keys
        rest = [*self._weights_keys, keys.kept, keys.kept_weights, keys.streams]
        await self._run_fenced(scripts.DROP_PARTITION, rest, [])

    async def _try_to_acquire(self, replaceable: str) -> str | None:
        """Take the lease; the lease of another instance that stands against it, or None."""
        taken, lease = await self._client.run(
            scripts.ACQUIRE, [self._keys.lease], [self._instance.name, replaceable], patient=True
        )
        if not taken:
            return str(lease.decode())
        self._lease = lease.decode()
        return None

    def _require_own(self, lease: bytes | None) -> None:
        if lease != self._lease.encode():
            raise LeaseLost(self._keys.name)

    async def _delete(self, names: Sequence[str]) -> int:
        keys = [self._keys.streams, *map(self._keys.stream, names)]
        return int(await self._run_fenced(scripts.DELETE_STREAMS, keys, names) or 0)

    async def _names(self, after: str, limit: int) -> list[str]:
        names = await self._client.read(
            "ZRANGE", self._keys.streams, f"({after}" if after else "-", "+", "BYLEX", "LIMIT", 0, limit
        )
        return [name.decode() for name in names]


def _kept(applied: bytes | None, part: bytes | None, within: int, sequence: int) -> KeptReply:
    """What is kept of an item, as its part of the ring was read."""
    try:
        return KeptReply(int(applied or 0), Kept.decode(value_at(part, within), sequence))
    except DamagedRecord as error:
        return KeptReply(int(applied or 0), None, str(error))


def _kept_of(sequences: Iterable[int], ring: int, parts: Mapping[str, bytes | None]) -> Iterator[Kept]:
    """What is kept of items, in their order, as their parts of the ring were read.

    Raises:
        DamagedRecord: If a part of it cannot be read.
    """
    read = {field: list(values(part or b"")) for field, part in parts.items()}
    for sequence in sequences:
        field, within = place(sequence, ring)
        if within < len(read[field]) and (kept := Kept.decode(read[field][within], sequence)) is not None:
            yield kept
