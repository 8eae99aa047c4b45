"""What becomes of calls whose connection breaks half-way: a proxy before the real server breaks it where it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import redis
from redis.asyncio.cluster import RedisCluster

from service.errors import LeaseLost, StoreUnavailable
from service.store import BeliefChange, Partition, Store
from service.store.client import StoreClient
from service.store.keys import PartitionKeys
from service.store.link import Link
from tests.builders import reply_of
from tests.stored import stored_weights

CHANGE = BeliefChange("site-7", 1, b"belief", b"reply")


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Passes bytes on to a server, but for as many requests and replies as it is told to lose."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self.url = ""
        self.lose_request = 0
        self.lose_reply = 0
        self._connect = connect

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection until it breaks or ends."""
        server_reader, server_writer = await self._connect()
        replies = asyncio.create_task(self._pass_replies(server_reader, writer))
        try:
            while request := await reader.read(2**16):
                if self.lose_request:
                    self.lose_request -= 1
                    break
                server_writer.write(request)
                await server_writer.drain()
        except ConnectionError:
            pass
        finally:
            replies.cancel()
            server_writer.close()
            writer.close()

    async def _pass_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while reply := await reader.read(2**16):
            if self.lose_reply:
                self.lose_reply -= 1
                writer.close()
                return
            writer.write(reply)


@pytest.fixture
async def proxy(
    server: str, raw: redis.Redis | redis.RedisCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Proxy]:
    """A proxy before the emptied server; before that of the partition where there are several."""
    if isinstance(raw, redis.Redis):
        proxy = Proxy(partial(asyncio.open_unix_connection, server.removeprefix("unix://")))
        listener = await asyncio.start_unix_server(proxy.serve, tmp_path / "proxy")
        proxy.url = f"unix://{tmp_path}/proxy"
    else:
        port = raw.get_node_from_key(PartitionKeys("boiler").lease).port
        proxy = Proxy(partial(asyncio.open_connection, "127.0.0.1", port))
        listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        before = listener.sockets[0].getsockname()[1]
        proxy.url = server

        def remap(address: tuple[str, int]) -> tuple[str, int]:
            return (address[0], before if address[1] == port else address[1])

        from_url = partial(RedisCluster.from_url, address_remap=remap)
        monkeypatch.setattr("service.store.cluster.RedisCluster.from_url", from_url)
    async with listener:
        yield proxy
        listener.close()


@pytest.fixture
async def owner(proxy: Proxy) -> AsyncIterator[Partition]:
    """An acquired partition behind the proxy, on a server that knows the scripts."""
    store = await Store.connect(proxy.url, timeout_s=5.0, kept_replies=4)
    owner = store.partition("boiler")
    await owner.acquire()
    await owner.commit([], version=0, redo=[], ttl_s=None)
    yield owner
    await store.close()


async def commit(owner: Partition) -> None:
    """Commit the one item."""
    await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)


@pytest.mark.parametrize("lost", ["lose_request", "lose_reply"])
async def test_a_read_is_sent_again(proxy: Proxy, owner: Partition, lost: str) -> None:
    """Broken connections do not fail a read as long as its time is not over."""
    await commit(owner)
    setattr(proxy, lost, 1)
    assert await reply_of(owner, "site-7", 1) == b"reply"
    setattr(proxy, lost, 3)
    assert [stream.belief for stream in await owner.load(["site-7"]) if stream] == [b"belief"]


@pytest.mark.parametrize("lost", ["lose_request", "lose_reply"])
async def test_the_lease_is_asked_for_again(proxy: Proxy, owner: Partition, lost: str) -> None:
    """Broken connections do not fail it: whoever has it last of all this instance's attempts is the owner."""
    setattr(proxy, lost, 2)
    await owner.acquire()
    await commit(owner)


async def test_a_commit_that_did_not_arrive_is_not_sent_again(proxy: Proxy, owner: Partition) -> None:
    """The caller is told, and can commit the same once more."""
    proxy.lose_request = 1
    with pytest.raises(StoreUnavailable):
        await commit(owner)
    assert await owner.load(["site-7"]) == [None]
    await commit(owner)


async def test_a_commit_whose_answer_was_lost_is_not_sent_again(proxy: Proxy, owner: Partition) -> None:
    """The caller is told that the outcome is unknown, not that it was refused; it was done, and cannot be doubled."""
    proxy.lose_reply = 1
    with pytest.raises(StoreUnavailable) as in_doubt:
        await commit(owner)
    assert not isinstance(in_doubt.value, LeaseLost)
    await owner.acquire()
    assert await stored_weights(owner) == (0, None, [(1, b"redo")])
    with pytest.raises(LeaseLost):
        await commit(owner)


def test_a_write_to_a_closed_connection_is_a_store_out_of_reach(tmp_path: Path) -> None:
    """Where asyncio ignores such a write, the loop of the service raises what is no error of a connection."""
    uvloop = pytest.importorskip("uvloop")

    async def write() -> None:
        listener = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), tmp_path / "closing")
        async with listener:
            _, writer = await asyncio.open_unix_connection(tmp_path / "closing")
            writer.transport.abort()
            await asyncio.sleep(0)
            client = StoreClient(f"unix://{tmp_path}/closing", 1.0)

            async def send(_link: Link) -> None:
                writer.writelines([b"PING\r\n"])

            with pytest.raises(StoreUnavailable, match="out of reach"):
                await client._call(send)
            await client.close()

    uvloop.run(write())
