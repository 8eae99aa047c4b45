"""The store on a cluster whose slots move and whose servers come and go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from redis.crc import key_slot

from service.errors import LeaseLost, StoreUnavailable
from service.store import BeliefChange, Partition, Store
from service.store.client import StoreClient
from service.store.keys import PartitionKeys
from tests.builders import reply_of
from tests.conftest import server_binary
from tests.local_cluster import ClusterServer, LocalCluster, eventually
from tests.stored import stored_weights

PATIENCE_S = 30.0
SHORT_S = 0.5  # the deadline of calls that are meant to fail by it


@asynccontextmanager
async def connected(url: str, timeout_s: float = 5.0) -> AsyncIterator[Store]:
    """The store at ``url``."""
    store = await Store.connect(url, timeout_s=timeout_s, kept_replies=4)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(cluster: LocalCluster) -> AsyncIterator[Store]:
    """The store on the emptied cluster."""
    async with connected(cluster.url) as store:
        yield store


def names(cluster: LocalCluster) -> list[str]:
    """One model for each server, that has its partition there."""
    candidates = [f"boiler-{i}" for i in range(100)]
    return [
        next(name for name in candidates if cluster.owner(PartitionKeys(name).lease) is server)
        for server in cluster.servers[:3]
    ]


def next_to(cluster: LocalCluster, server: ClusterServer) -> ClusterServer:
    """Another server."""
    return cluster.servers[(cluster.servers.index(server) + 1) % 3]


async def commit(owner: Partition, sequence: int, stream: str = "site-7") -> None:
    """Commit an item, the redo record of which is as many as its sequence."""
    change = BeliefChange(stream, sequence, b"belief %d" % sequence, b"reply %d" % sequence)
    await owner.commit([change], version=sequence, redo=[b"redo %d" % sequence], ttl_s=None)


async def acquired(store: Store, model: str) -> Partition:
    """A partition that holds one item."""
    owner = store.partition(model)
    await owner.acquire()
    await commit(owner, 1)
    return owner


async def works_again(call: Callable[[], Awaitable[None]]) -> None:
    """Wait until a call is answered."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def test_partitions_are_on_all_servers(cluster: LocalCluster, store: Store) -> None:
    """Each partition is written on the server of its slot and read back."""
    for model in names(cluster):
        owner = await acquired(store, model)
        assert await stored_weights(owner) == (0, None, [(1, b"redo 1")])
    assert [server.admin.dbsize() for server in cluster.servers] == [5, 5, 5]


async def test_a_partition_on_its_way_is_served(cluster: LocalCluster, store: Store) -> None:
    """While its slot moves, and its keys are already there, a partition is read and written where they are."""
    model = names(cluster)[0]
    owner = await acquired(store, model)
    key = PartitionKeys(model).lease
    target = next_to(cluster, cluster.owner(key))
    await asyncio.gather(*(store.models() for _ in range(6)))  # so that no connection is the only one
    cluster.begin_to_move(key, target)
    await commit(owner, 2)
    for _ in range(4):
        found = await owner.load(["site-7", "missing"])
        assert [None if stream is None else stream.belief for stream in found] == [b"belief 2", None]
        assert await reply_of(owner, "site-7", 2) == b"reply 2"
    cluster.end_move(key, target)
    await commit(owner, 3)
    assert len((await stored_weights(owner))[2]) == 3


async def test_a_new_stream_waits_for_the_end_of_a_move(cluster: LocalCluster, store: Store) -> None:
    """A commit that a cluster does not take while the slot moves is taken, once, when it has moved."""
    model = names(cluster)[0]
    owner = await acquired(store, model)
    key = PartitionKeys(model).lease
    target = next_to(cluster, cluster.owner(key))
    target.admin.config_resetstat()
    cluster.begin_to_move(key, target)

    def was_put_off() -> bool:
        return "errorstat_TRYAGAIN" in target.admin.info("errorstats")

    async with asyncio.TaskGroup() as tasks:
        committing = tasks.create_task(commit(owner, 2, "new"))
        await asyncio.to_thread(eventually, was_put_off)
        assert not committing.done()
        cluster.end_move(key, target)
    assert await stored_weights(owner) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])


async def test_a_slot_that_moved_is_followed(cluster: LocalCluster, store: Store) -> None:
    """Who last looked before a slot moved is told once where it is now, and nothing fails."""
    model = names(cluster)[0]
    async with connected(cluster.url) as unaware:
        owner = await acquired(unaware, model)
        key = PartitionKeys(model).lease
        source = cluster.owner(key)
        target = next_to(cluster, source)
        cluster.begin_to_move(key, target)
        cluster.end_move(key, target)
        source.admin.config_resetstat()
        await commit(owner, 2)
        assert source.admin.info("errorstats")["errorstat_MOVED"]["count"] == 1
        assert await stored_weights(owner) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])
    assert await reply_of(store.partition(model), "site-7", 2) == b"reply 2"


async def test_a_commit_waits_for_a_cluster_that_is_down_for_a_moment(
    cluster: LocalCluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server did not take because it holds the cluster for down is taken once it is up; else it is named."""
    model = names(cluster)[0]
    owner = await acquired(store, model)
    server, slot = cluster.servers[0], 0
    assert slot not in {key_slot(PartitionKeys(name).lease.encode()) for name in names(cluster)}
    server.admin.config_resetstat()
    server.admin.config_set("cluster-require-full-coverage", "yes")
    server.admin.execute_command("CLUSTER DELSLOTS", slot)
    try:
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(commit(owner, 2))
            await asyncio.to_thread(eventually, lambda: "errorstat_CLUSTERDOWN" in server.admin.info("errorstats"))
            assert not committing.done()
            server.admin.execute_command("CLUSTER ADDSLOTS", slot)
        server.admin.execute_command("CLUSTER DELSLOTS", slot)
        monkeypatch.setattr("service.store.cluster.ATTEMPTS", 2)
        with pytest.raises(StoreUnavailable, match="the store's cluster is down"):
            await commit(owner, 3)
    finally:
        if slot_of_nobody(server, slot):
            server.admin.execute_command("CLUSTER ADDSLOTS", slot)
        server.admin.config_set("cluster-require-full-coverage", "no")
    await asyncio.to_thread(cluster.await_peace)
    assert await stored_weights(owner) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])


async def test_a_killed_server_takes_only_its_partitions_along(cluster: LocalCluster) -> None:
    """Calls to its partitions fail with a named error, all others go on, and it is found again, with all its data."""
    async with connected(cluster.url, timeout_s=2 * SHORT_S) as store:
        await _outlive_a_kill(cluster, store)


async def _outlive_a_kill(cluster: LocalCluster, store: Store) -> None:
    owners = [await acquired(store, model) for model in names(cluster)]
    cluster.servers[1].kill()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await commit(owners[1], 2)
            with pytest.raises(StoreUnavailable):
                await owners[1].load(["site-7"])
        for owner in (owners[0], owners[2]):
            await commit(owner, 2)
        await store.ping()
        async with connected(cluster.url) as newcomer:
            assert await reply_of(newcomer.partition(names(cluster)[2]), "site-7", 2) == b"reply 2"
    finally:
        cluster.servers[1].start()
    await works_again(lambda: commit(owners[1], 2))
    assert await stored_weights(owners[1]) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])
    await asyncio.to_thread(cluster.await_peace)


async def test_a_server_that_hangs_holds_up_nobody_else(cluster: LocalCluster) -> None:
    """Its calls fail in time, what it does later is neither doubled nor missed, and others are served meanwhile."""
    async with connected(cluster.url, timeout_s=SHORT_S) as store:
        hanging, *others = [await acquired(store, model) for model in names(cluster)]
        os.kill(cluster.servers[0].process.pid, signal.SIGSTOP)
        try:
            async with asyncio.TaskGroup() as tasks:
                in_doubt = tasks.create_task(_fails(commit(hanging, 2)))
                for sequence in range(2, 12):
                    for owner in others:
                        await commit(owner, sequence)
                assert not in_doubt.done()
            for owner in others:
                await commit(owner, 12)
        finally:
            os.kill(cluster.servers[0].process.pid, signal.SIGCONT)
        await works_again(hanging.acquire)
        if len((await stored_weights(hanging))[2]) == 2:
            with pytest.raises(LeaseLost):
                await commit(hanging, 2)
        else:
            await commit(hanging, 2)
        assert await stored_weights(hanging) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])
    await asyncio.to_thread(cluster.await_peace)


def slot_of_nobody(server: ClusterServer, slot: int) -> bool:
    """Whether no server has a slot, as ``server`` sees it."""
    return all(not first <= slot <= last for first, last, *_ in server.admin.execute_command("CLUSTER SLOTS"))


async def _fails(call: Awaitable[None]) -> None:
    with pytest.raises(StoreUnavailable, match="in time"):
        await call


async def test_a_cluster_that_is_away_at_the_start(cluster: LocalCluster) -> None:
    """That it is a cluster is found out when it is there, by the same client."""
    key = PartitionKeys(names(cluster)[2]).lease
    cluster.servers[0].kill()
    client = StoreClient(cluster.url, 5.0)
    try:
        with pytest.raises(StoreUnavailable, match="out of reach"):
            await client.read("GET", key, patient=False)
        cluster.servers[0].start()

        async def write() -> None:
            await client.write("SET", key, 7)

        await works_again(write)
        assert await client.read_all([("GET", key), ("EXISTS", key)]) == [b"7", 1]
        assert cluster.servers[2].admin.get(key) == b"7"
    finally:
        await client.close()
    await asyncio.to_thread(cluster.await_peace)


async def test_a_cluster_that_goes_and_comes_back(cluster: LocalCluster) -> None:
    """While all servers are away each call says so by its name, and the same client finds them when they are back."""
    async with connected(cluster.url) as store:
        await store.ping()
        for server in cluster.servers:
            server.kill()
        for call in (store.ping, store.instance.renew, partial(store.create_model, "m", b"record"), store._client.info):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="out of reach"):
                    await call()
        for server in cluster.servers:
            server.start()
        await asyncio.to_thread(cluster.await_peace)
        await works_again(store.ping)
        assert await acquired(store, names(cluster)[0])


async def test_a_slot_that_no_server_has(cluster: LocalCluster) -> None:
    """Its keys are out of reach by name, and in reach again once a server has it."""
    key = PartitionKeys("m").lease
    owner, slot = cluster.owner(key), key_slot(key.encode())
    for server in cluster.servers:
        server.admin.execute_command("CLUSTER DELSLOTS", slot)
    client = StoreClient(cluster.url, 5.0)
    try:
        for call in (client.read("GET", key, patient=False), client.write("SET", key, 7)):
            with pytest.raises(StoreUnavailable):
                await call
        owner.admin.execute_command("CLUSTER ADDSLOTS", slot)
        await asyncio.to_thread(cluster.await_peace)

        async def read() -> None:
            assert await client.read_all([("GET", key)]) == [None]

        await works_again(read)
    finally:
        await client.close()


async def test_credentials_are_given_to_every_server(cluster: LocalCluster) -> None:
    """A password in the URL is that of all servers; without it none is reached."""
    for server in cluster.servers:
        server.admin.config_set("requirepass", "se/cret")
    try:
        with pytest.raises(StoreUnavailable):
            await Store.connect(cluster.url, timeout_s=5.0, kept_replies=4)
        async with connected(cluster.url.replace("//", "//:se%2Fcret@")) as store:
            for model in names(cluster):
                await acquired(store, model)
    finally:
        for server in cluster.servers:
            server.admin.config_set("requirepass", "")


@pytest.mark.parametrize("name", ["redis"])
async def test_a_server_that_joins_is_found(name: str) -> None:
    """Until the first slot has come to it the keys of that slot are out of reach by name, then in reach."""
    with LocalCluster(server_binary(name)) as cluster:
        key = PartitionKeys("m").lease
        client = StoreClient(cluster.url, SHORT_S)
        try:
            await client.write("SET", key, 7)
            joined = await asyncio.to_thread(cluster.add)
            await asyncio.to_thread(cluster.meet, joined)
            await asyncio.to_thread(cluster.begin_to_move, key, joined)
            for call in (client.read("GET", key), client.write("SET", key, 8), client.read_all([("GET", key)])):
                with pytest.raises(StoreUnavailable):
                    await call
            await asyncio.to_thread(cluster.end_move, key, joined)

            async def read() -> None:
                assert await client.read_all([("GET", key)]) == [b"7"]

            await works_again(read)
            assert joined.admin.get(key) == b"7"
        finally:
            await client.close()


@pytest.mark.parametrize("name", ["valkey"])
async def test_a_replica_that_took_over_is_found(name: str) -> None:
    """When a server is gone and its replica serves its slots, calls reach that one."""
    with LocalCluster(server_binary(name), repl_diskless_sync_delay="0") as cluster:
        async with connected(cluster.url) as store:
            models = names(cluster)
            owners = [await acquired(store, model) for model in models]
            replica = cluster.add()
            cluster.meet(replica)
            failing = cluster.servers[0]
            replica.admin.execute_command("CLUSTER REPLICATE", failing.id)
            await asyncio.to_thread(eventually, lambda: replica.admin.info()["master_link_status"] == "up")
            await asyncio.to_thread(eventually, lambda: replica.admin.dbsize() == failing.admin.dbsize())
            failing.kill()
            with pytest.raises(StoreUnavailable):
                await commit(owners[0], 2)
            replica.admin.execute_command("CLUSTER FAILOVER", "TAKEOVER")
            await works_again(lambda: commit(owners[0], 2))
            for owner in owners[1:]:
                await commit(owner, 2)
            assert await stored_weights(owners[0]) == (0, None, [(1, b"redo 1"), (2, b"redo 2")])
            assert replica.admin.hget(PartitionKeys(models[0]).stream("site-7"), "seq") == b"2"
