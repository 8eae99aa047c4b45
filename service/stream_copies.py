"""Forking a stream, and its snapshots: each is done between two batches, so that no item is half-way through."""

from __future__ import annotations

import time
from typing import Any

from model.codec import DamagedRecord
from service import views
from service.engine import Engine
from service.errors import ServiceError, StreamExists, UnknownSnapshot, UnknownStream
from service.store import NewStream, StoredStream, StreamSnapshot
from service.turn import Turn


async def fork(engine: Engine, stream: str, to: str) -> dict[str, Any]:
    """Create a stream that goes on from where another one is; return its summary.

    It is a stream of its own: the other one's kept replies name that one, and its snapshots are of that one, so neither
    is carried over.

    Raises:
        UnknownStream: If there is no such stream.
        StreamExists: If there is one named ``to``.
        Overloaded: If the model holds as many streams as it may.
        ServiceError: If the belief is damaged.
        StoreUnavailable: If the store did not answer; whether there is a fork is then unknown.
    """
    async with engine.between_batches() as turn:
        source = await _load(engine, turn, stream)
        return await create(engine, turn, to, source.belief)


async def create(engine: Engine, turn: Turn, stream: str, belief: bytes) -> dict[str, Any]:
    """Create a stream that begins with this belief; return its summary.

    Args:
        engine: The model's.
        turn: Held now.
        stream: Its name.
        belief: As the store keeps it.

    Raises:
        StreamExists: If there is one of that name.
        Overloaded: If the model holds as many streams as it may.
        ServiceError: If the belief is damaged.
        StoreUnavailable: If the store did not answer; whether it was created is then unknown.
    """
    spec = turn.learner.spec
    if await turn.partition.load([stream]) != [None]:
        raise StreamExists(engine.model, stream)
    await turn.population.require_room(spec)
    summary = await _summarise(engine, turn, stream, StoredStream(belief, 0, 0, 0))
    new = NewStream(stream, summary["sequence"], belief)
    created_us = await turn.partition.copies.create([new], ttl_s=spec.ttl_s)
    if created_us is None:
        raise StreamExists(engine.model, stream)
    at = views.iso_time(created_us)
    return {**summary, "created_at": at, "updated_at": at}


async def keep_snapshot(engine: Engine, stream: str, name: str | None, *, most: int) -> dict[str, Any]:
    """Keep what a stream is now; describe the snapshot.

    Args:
        engine: The model's.
        stream: Which.
        name: For people; ``None`` for none.
        most: Snapshots that a stream may have.

    Raises:
        UnknownStream: If there is no such stream.
        Overloaded: If it has ``most`` snapshots already.
        ServiceError: If the belief is damaged.
        StoreUnavailable: If the store did not answer; whether there is a snapshot is then unknown.
    """
    async with engine.between_batches() as turn:
        stored = await _load(engine, turn, stream)
        summary = await _summarise(engine, turn, stream, stored)
        snapshot = StreamSnapshot(name, summary["sequence"], time.time_ns() // 1000, stored.belief)
        kept = await turn.partition.copies.keep(stream, snapshot, most=most)
        if kept is None:  # it expired since it was read
            raise UnknownStream(engine.model, stream)
    return describe(kept, snapshot.encode())


async def list_snapshots(engine: Engine, stream: str) -> list[dict[str, Any]]:
    """Describe a stream's snapshots, the newest first.

    Raises:
        UnknownStream: If there is no such stream.
        StoreUnavailable: If the store did not answer.
    """
    async with engine.between_batches() as turn:
        await _load(engine, turn, stream)
    kept = await turn.partition.copies.snapshots(stream)  # they do not change with items
    return [describe(snapshot, data) for snapshot, data in kept.items()]


async def restore_snapshot(engine: Engine, stream: str, snapshot: str) -> dict[str, Any]:
    """Take a stream back to a snapshot, its sequence too; return its summary.

    The stream's next item is the one after the snapshot's. The weights stay as they are: the model has learned from
    what came since, whatever became of this stream.

    Raises:
        UnknownStream: If there is no such stream.
        UnknownSnapshot: If the stream has no such snapshot.
        ServiceError: If the snapshot is damaged, or the stream's belief; nothing was changed.
        StoreUnavailable: If the store did not answer; whether it went back is then unknown.
    """
    async with engine.between_batches() as turn:
        stored = await _load(engine, turn, stream)
        data = await turn.partition.copies.snapshot(stream, snapshot)
        if data is None:
            raise UnknownSnapshot(snapshot)
        try:
            kept = StreamSnapshot.decode(data)
            summary = await _summarise(
                engine, turn, stream, StoredStream(kept.belief, stored.created_us, 0, kept.sequence)
            )
        except (DamagedRecord, ServiceError) as error:
            raise ServiceError(f"the snapshot is damaged: {error}", stream=stream, snapshot=snapshot) from error
        restored_us = await turn.partition.copies.restore(stream, kept, ttl_s=turn.learner.spec.ttl_s)
        if restored_us is None:
            raise UnknownStream(engine.model, stream)
    return {**summary, "updated_at": views.iso_time(restored_us)}


async def drop_snapshot(engine: Engine, stream: str, snapshot: str) -> None:
    """Forget a snapshot.

    Raises:
        UnknownStream: If there is no such stream.
        UnknownSnapshot: If the stream has no such snapshot.
        StoreUnavailable: If the store did not answer; whether it is gone is then unknown.
    """
    async with engine.between_batches() as turn:
        await _load(engine, turn, stream)
        if not await turn.partition.copies.drop(stream, snapshot):
            raise UnknownSnapshot(snapshot)


def describe(snapshot: str, data: bytes) -> dict[str, Any]:
    """A snapshot as callers see it; what a damaged one holds is ``None``, so that it can be found and deleted."""
    try:
        kept = StreamSnapshot.decode(data)
    except DamagedRecord:
        return {"id": snapshot, "name": None, "sequence": None, "created_at": None, "bytes": len(data)}
    created_at = views.iso_time(kept.created_us)
    return {"id": snapshot, "name": kept.name, "sequence": kept.sequence, "created_at": created_at, "bytes": len(data)}


async def _load(engine: Engine, turn: Turn, stream: str) -> StoredStream:
    (stored,) = await turn.partition.load([stream])
    if stored is None:
        raise UnknownStream(engine.model, stream)
    return stored


async def _summarise(engine: Engine, turn: Turn, stream: str, stored: StoredStream) -> dict[str, Any]:
    """What a stream with this belief would be shown as; a damaged one is refused."""
    (summary,) = await engine.reader.compute.run(views.look_at, views.summary, turn.learner, [(stream, stored)])
    return summary
