"""Forks and snapshots on a real server: all or nothing, and nothing by an owner that was replaced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from model.spec import MAX_TTL_S
from service.errors import LeaseLost, Overloaded, StoreUnavailable
from service.store import NewStream, Partition, Store, StreamSnapshot, stream_copies
from service.store.ring import Kept
from tests.conftest import KEPT_REPLIES
from tests.store.test_partition import change, contents, observe, owner

__all__ = ["owner"]  # a fixture

STREAM = "site-7"
SNAPSHOT = StreamSnapshot("before", 1, 1_700_000_000_000_000, bytes(range(256)))

WRITES: dict[str, Callable[[Partition], Awaitable[Any]]] = {
    "create": lambda p: p.copies.create([NewStream("new", 5, b"belief")], ttl_s=60),
    "keep": lambda p: p.copies.keep(STREAM, SNAPSHOT, most=5),
    "restore": lambda p: p.copies.restore(STREAM, SNAPSHOT, ttl_s=60),
    "drop": lambda p: p.copies.drop(STREAM, "1"),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_replaced_owner_writes_nothing(store: Store, owner: Partition, raw: redis.Redis, write: str) -> None:
    """Once another owner has the lease nothing of these is done."""
    await observe(owner, change())
    await owner.copies.keep(STREAM, SNAPSHOT, most=5)
    await store.partition("boiler").acquire()
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await WRITES[write](owner)
    assert contents(raw) == before


@pytest.mark.parametrize("write", WRITES)
async def test_a_full_store_takes_nothing(owner: Partition, raw: redis.Redis, write: str) -> None:
    """A store out of memory refuses what adds data, whole; deleting a snapshot is how to make room."""
    await observe(owner, change())
    await owner.copies.keep(STREAM, SNAPSHOT, most=5)
    before = contents(raw)
    raw.config_set("maxmemory", 1, target_nodes=redis.RedisCluster.ALL_NODES)
    try:
        if write == "drop":
            assert await WRITES[write](owner)
            return
        with pytest.raises(StoreUnavailable, match="full"):
            await WRITES[write](owner)
        assert contents(raw) == before
    finally:
        raw.config_set("maxmemory", 0, target_nodes=redis.RedisCluster.ALL_NODES)


async def test_streams_are_created_together_or_not(owner: Partition, raw: redis.Redis) -> None:
    """Where one exists none is created; else each has its belief, its sequence and one time."""
    await observe(owner, change("b"))
    before = contents(raw)
    new = [NewStream(name, 7, f"belief {name}".encode()) for name in ("a", "b", "c")]
    assert await owner.copies.create(new, ttl_s=None) is None
    assert contents(raw) == before
    created_us = await owner.copies.create([new[0], new[2]], ttl_s=None)
    found = await owner.load(["a", "c"])
    assert [(s.belief, s.created_us, s.updated_us) for s in found if s] == [
        (b"belief a", created_us, created_us),
        (b"belief c", created_us, created_us),
    ]
    assert await owner.list_streams("", 10) == ["a", "b", "c"]
    await observe(owner, change("a", 8))
    with pytest.raises(LeaseLost):
        await observe(owner, change("c", 7))


@pytest.mark.parametrize("then", [1, 255, 256, 2**32 - 1, 2**53 + 1, 2**62])
async def test_only_later_replies_are_forgotten(owner: Partition, raw: redis.Redis, then: int) -> None:
    """Replies up to the snapshot's sequence stay, to the bit of a 64-bit number; later ones go from any ring."""
    await observe(owner, change())
    key = f"{{boiler:0}}:stream:{STREAM}"
    sequences = [max(then - 1, 1), then, then + 1, then + 200, then + 2**32]
    encoded = [Kept(sequence, b"reply").encode() for sequence in sequences]
    for i, value in enumerate(encoded):
        raw.hset(key, f"k{1000 + i}", b"\0" + value)
    raw.hset(key, "k7", b"".join(encoded))
    assert await owner.copies.restore(STREAM, replace(SNAPSHOT, sequence=then), ttl_s=None)
    for i, value in enumerate(encoded):
        assert raw.hget(key, f"k{1000 + i}") == b"\0" + (value if i < 2 else b"\0")
    assert raw.hget(key, "k7") == b"".join(encoded[:2]) + b"\0" * 3
    assert raw.hget(key, "seq") == str(then).encode()


async def test_a_restored_stream_takes_its_next_item(owner: Partition) -> None:
    """Belief and sequence are the snapshot's, the ring holds what came before it, and the next commit follows it."""
    for sequence in range(1, KEPT_REPLIES + 1):
        await observe(owner, change(sequence=sequence))
    snapshot = replace(SNAPSHOT, sequence=2)
    (before,) = await owner.load([STREAM])
    restored_us = await owner.copies.restore(STREAM, snapshot, ttl_s=None)
    (stored,) = await owner.load([STREAM])
    assert stored is not None
    assert before is not None
    assert (stored.belief, stored.created_us, stored.updated_us) == (snapshot.belief, before.created_us, restored_us)
    kept = await owner.load_replies([(STREAM, n) for n in range(1, KEPT_REPLIES + 1)])
    assert [k.reply is None for k in kept] == [False, False, True, True]
    await observe(owner, change(sequence=3))


async def test_a_snapshot_comes_back_as_it_was_kept(owner: Partition) -> None:
    """More than one read returns come back, the newest first, each by its id; an id is used once."""
    await observe(owner, change())
    ids = [await owner.copies.keep(STREAM, replace(SNAPSHOT, name=f"{i}"), most=20) for i in range(12)]
    found = await owner.copies.snapshots(STREAM)
    assert list(found) == ids[::-1]
    assert [StreamSnapshot.decode(data).name for data in found.values()] == [f"{i}" for i in reversed(range(12))]
    data = await owner.copies.snapshot(STREAM, "3")
    assert data is not None
    assert StreamSnapshot.decode(data) == replace(SNAPSHOT, name="2")
    assert await owner.copies.drop(STREAM, "12")
    assert not await owner.copies.drop(STREAM, "12")
    assert await owner.copies.snapshot(STREAM, "12") is None
    assert await owner.copies.keep(STREAM, SNAPSHOT, most=20) == "13"
    await observe(owner, change(sequence=2))
    assert len(await owner.copies.snapshots(STREAM)) == 12


async def test_no_more_snapshots_than_asked_for(owner: Partition, raw: redis.Redis) -> None:
    """The bound is checked where they are written."""
    await observe(owner, change())
    await owner.copies.keep(STREAM, SNAPSHOT, most=1)
    before = contents(raw)
    with pytest.raises(Overloaded):
        await owner.copies.keep(STREAM, SNAPSHOT, most=1)
    assert contents(raw) == before


async def test_a_snapshot_is_of_the_stream_as_it_is(owner: Partition, raw: redis.Redis) -> None:
    """One taken at another sequence is refused: the store is not where this owner left it."""
    await observe(owner, change())
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await owner.copies.keep(STREAM, replace(SNAPSHOT, sequence=2), most=5)
    assert contents(raw) == before


async def test_a_stream_that_is_gone_has_no_snapshots(owner: Partition) -> None:
    """What expired meanwhile is told from what failed, and is not brought back by halves."""
    assert await owner.copies.keep(STREAM, SNAPSHOT, most=5) is None
    assert await owner.copies.restore(STREAM, SNAPSHOT, ttl_s=None) is None
    assert await owner.copies.snapshots(STREAM) == {}
    assert not await owner.copies.drop(STREAM, "1")
    assert await owner.load([STREAM]) == [None]


async def test_the_time_to_live_is_set_anew(owner: Partition, raw: redis.Redis) -> None:
    """A new or a restored stream has all of it; a snapshot changes nothing."""
    key = f"{{boiler:0}}:stream:{STREAM}"
    await owner.copies.create([NewStream(STREAM, 1, b"belief")], ttl_s=60)
    assert 50_000 < raw.pttl(key) <= 60_000
    raw.pexpire(key, 5_000)
    await owner.copies.keep(STREAM, SNAPSHOT, most=5)
    assert raw.pttl(key) <= 5_000
    await owner.copies.restore(STREAM, SNAPSHOT, ttl_s=60)
    assert 50_000 < raw.pttl(key) <= 60_000
    await owner.copies.restore(STREAM, SNAPSHOT, ttl_s=None)
    assert raw.pttl(key) == -1


@pytest.mark.parametrize("ttl_s", [-1.0, MAX_TTL_S + 1.0])
async def test_a_time_to_live_out_of_bounds_writes_nothing(
    owner: Partition, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, ttl_s: float
) -> None:
    """It is refused before it is sent, and by the scripts before their first write."""
    await observe(owner, change())
    before = contents(raw)
    writes = (
        lambda: owner.copies.create([NewStream("new", 1, b"belief")], ttl_s=ttl_s),
        lambda: owner.copies.restore(STREAM, SNAPSHOT, ttl_s=ttl_s),
    )
    for write in writes:
        with pytest.raises(ValueError, match="ttl_s"):
            await write()
    monkeypatch.setattr(stream_copies, "milliseconds", lambda ttl_s: round(ttl_s * 1000))
    for write in writes:
        with pytest.raises(StoreUnavailable, match="refused"):
            await write()
    assert contents(raw) == before
