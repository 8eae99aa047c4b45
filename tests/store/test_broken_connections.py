"""What becomes of calls whose connection breaks half-way: a proxy before the real server breaks it where it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from service.errors import LeaseLost, StoreUnavailable
from service.store import BeliefChange, Partition, Store
from tests.stored import stored_weights

CHANGE = BeliefChange("site-7", 1, b"belief", b"reply")


class Proxy:
    """Passes bytes on to the server at ``target``, but for as many requests and replies as it is told to lose."""

    def __init__(self, target: str) -> None:
        self.lose_request = 0
        self.lose_reply = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection until it breaks or ends."""
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
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
async def proxy(server: str, raw: redis.Redis, tmp_path: Path) -> AsyncIterator[Proxy]:  # noqa: ARG001  emptied first
    """A proxy before the emptied server."""
    proxy = Proxy(server.removeprefix("unix://"))
    async with await asyncio.start_unix_server(proxy.serve, tmp_path / "proxy") as listener:
        yield proxy
        listener.close()


@pytest.fixture
async def owner(proxy: Proxy, tmp_path: Path) -> AsyncIterator[Partition]:  # noqa: ARG001  has to run
    """An acquired partition behind the proxy, on a server that knows the scripts."""
    store = await Store.connect(f"unix://{tmp_path}/proxy", timeout_s=5.0, kept_replies=4)
    owner = store.partition("boiler")
    await owner.acquire()
    await owner.commit([], version=0, redo=None, ttl_s=None)
    yield owner
    await store.close()


async def commit(owner: Partition) -> None:
    """Commit the one item."""
    await owner.commit([CHANGE], version=1, redo=b"redo", ttl_s=None)


@pytest.mark.parametrize("lost", ["lose_request", "lose_reply"])
async def test_a_read_is_sent_again_once(proxy: Proxy, owner: Partition, lost: str) -> None:
    """One broken connection does not fail a read; a second one does."""
    await commit(owner)
    setattr(proxy, lost, 1)
    assert await owner.load_reply("site-7", 1) == b"reply"
    setattr(proxy, lost, 1)
    assert [stream.belief for stream in await owner.load(["site-7"]) if stream] == [b"belief"]
    setattr(proxy, lost, 2)
    with pytest.raises(StoreUnavailable, match="out of reach"):
        await owner.load(["site-7"])


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
