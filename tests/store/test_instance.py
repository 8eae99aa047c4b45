"""Leases of several instances on one store: kept while their owner shows life, and taken when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import redis

from service.errors import LeaseLost, TakenOver
from service.store import BeliefChange, Partition, Store, keys


@pytest.fixture
async def ours(server: str, raw: redis.Redis) -> AsyncIterator[Store]:  # noqa: ARG001  emptied first
    """An instance that shows life."""
    async with AsyncExitStack() as stack:
        store = await Store.connect(server, timeout_s=5.0, kept_replies=4, instance="ours", lease_s=60.0)
        stack.push_async_callback(store.close)
        await store.instance.renew()
        yield store


@pytest.fixture
async def theirs(server: str) -> AsyncIterator[Store]:
    """Another one."""
    store = await Store.connect(server, timeout_s=5.0, kept_replies=4, instance="theirs", lease_s=60.0)
    await store.instance.renew()
    yield store
    await store.close()


async def write(partition: Partition, sequence: int = 1) -> None:
    """Commit an item."""
    await partition.commit([BeliefChange("s", sequence, b"belief", b"reply")], version=0, redo=[], ttl_s=None)


def fall_silent(raw: redis.Redis, store: Store) -> None:
    """Let a sign of life expire."""
    assert raw.delete(keys.instance(store.instance.name)) == 1


async def test_a_living_owner_keeps_its_partition(ours: Store, theirs: Store) -> None:
    """Another instance is told how long to wait at most, and the owner writes on."""
    partition = ours.partition("m")
    await partition.acquire()
    with pytest.raises(TakenOver) as refused:
        await theirs.partition("m").acquire()
    assert 1 <= (refused.value.retry_after_s or 0) <= 60
    await write(partition)


async def test_a_silent_owner_loses_it(ours: Store, theirs: Store, raw: redis.Redis) -> None:
    """Its partition is taken over, and what it still writes, or reads to write on, is refused."""
    stale, newer = ours.partition("m"), theirs.partition("m")
    await stale.acquire()
    await write(stale)
    fall_silent(raw, ours)
    await newer.acquire()
    before = raw.dump(keys.PartitionKeys("m").stream("s"))
    with pytest.raises(LeaseLost):
        await write(stale, 2)
    with pytest.raises(LeaseLost):
        await stale.load(["s"])
    assert raw.dump(keys.PartitionKeys("m").stream("s")) == before
    await ours.instance.renew()
    with pytest.raises(TakenOver):
        await stale.acquire()
    await write(newer, 2)


async def test_silence_alone_costs_nothing(ours: Store, raw: redis.Redis) -> None:
    """An owner that was held up, and whom nobody replaced, goes on."""
    partition = ours.partition("m")
    await partition.acquire()
    fall_silent(raw, ours)
    await write(partition)


async def test_a_released_partition_is_free(ours: Store, theirs: Store) -> None:
    """Nobody need wait for it, and who gave it back can no longer write."""
    partition = ours.partition("m")
    await partition.acquire()
    await partition.release()
    await theirs.partition("m").acquire()
    with pytest.raises(LeaseLost):
        await write(partition)


async def test_only_the_owner_releases(ours: Store, theirs: Store, raw: redis.Redis) -> None:
    """A stale owner's release does not touch the lease of the next."""
    stale, newer = ours.partition("m"), theirs.partition("m")
    await stale.acquire()
    fall_silent(raw, ours)
    await newer.acquire()
    await stale.release()
    await write(newer)


async def test_an_instance_that_starts_again_takes_back_at_once(ours: Store, server: str) -> None:
    """Under its old name it need not wait, and what its former process still writes is refused."""
    former = ours.partition("m")
    await former.acquire()
    again = await Store.connect(server, timeout_s=5.0, kept_replies=4, instance="ours", lease_s=60.0)
    try:
        await again.partition("m").acquire()
        with pytest.raises(LeaseLost):
            await write(former)
        await again.instance.renew()
        await ours.instance.end()  # of the former process: the new one's sign of life stays
        assert await ours.instance.left_s("ours") > 0
    finally:
        await again.close()


async def test_one_of_two_takes_over(ours: Store, theirs: Store, server: str, raw: redis.Redis) -> None:
    """Where two want the partition of a silent owner at once, one has it and the other is told so."""
    await ours.partition("m").acquire()
    third = await Store.connect(server, timeout_s=5.0, kept_replies=4, instance="third", lease_s=60.0)
    try:
        await third.instance.renew()
        fall_silent(raw, ours)
        wanting = theirs.partition("m"), third.partition("m")
        outcomes = await asyncio.gather(*(p.acquire() for p in wanting), return_exceptions=True)
        assert [type(o) for o in outcomes].count(TakenOver) == 1
        winner = wanting[outcomes.index(None)]
        await write(winner)
    finally:
        await third.close()


async def test_the_sign_of_life_is_renewed_and_expires(server: str, raw: redis.Redis) -> None:
    """It lasts as long as it is renewed, and the end takes it away."""
    store = await Store.connect(server, timeout_s=5.0, kept_replies=4, instance="brief", lease_s=0.5)
    renewing = asyncio.create_task(store.instance.keep_renewing())
    try:
        for _ in range(2):  # the first, and a renewal
            while await store.instance.left_s("brief") == 0:  # noqa: ASYNC110  the server tells nobody of it
                await asyncio.sleep(0.01)
            raw.delete(keys.instance("brief"))
        renewing.cancel()
        await store.instance.end()
        assert await store.instance.left_s("brief") == 0
        await store.instance.renew()
        assert 0 < (raw.pttl(keys.instance("brief")) or 0) <= 500
    finally:
        await store.close()


async def test_a_full_store_takes_signs_of_life(ours: Store, theirs: Store, raw: redis.Redis) -> None:
    """An owner stays the owner, and a partition can be taken and given back, where nothing can be added."""
    partition = ours.partition("m")
    await partition.acquire()
    raw.config_set("maxmemory", 1, target_nodes=redis.RedisCluster.ALL_NODES)
    try:
        await ours.instance.renew()
        with pytest.raises(TakenOver):
            await theirs.partition("m").acquire()
        await partition.release()
        await theirs.partition("m").acquire()
    finally:
        raw.config_set("maxmemory", 0, target_nodes=redis.RedisCluster.ALL_NODES)


async def test_a_model_is_deleted_whoever_owns_it(ours: Store, theirs: Store) -> None:
    """A deletion takes the lease from a living owner, whose writes are refused from then on."""
    await ours.create_model("m", b"record")
    partition = ours.partition("m")
    await partition.acquire()
    await write(partition)
    assert await theirs.delete_model("m")
    with pytest.raises(LeaseLost):
        await write(partition, 2)
