"""The faults that the proxy of ``make chaos`` forces are what they are called."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.chaos.proxy import NetFault, Proxy, Streams

REQUEST = b"ask " + bytes(range(97, 123)) * 4_000  # more than one read brings
WAIT_S = 20.0


class Server:
    """Answers each connection's bytes with ``ok`` once a whole request is there, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[bytearray] = []
        self.ended = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def dial(self) -> Streams:
        """Connect to it."""
        assert self._server is not None
        return await asyncio.open_connection(*self._server.sockets[0].getsockname())

    def close(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = bytearray()
        self.got.append(got)
        try:
            while data := await reader.read(2**16):
                got += data
                if got.endswith(REQUEST):
                    writer.write(b"ok")
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.ended.set()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Server, Proxy, int]]:
    """A server, a proxy before it, and the proxy's port."""
    server = Server()
    await server.start()
    proxy = Proxy(server.dial, b"ask", random.Random(0))
    port = await proxy.start()
    try:
        yield server, proxy, port
    finally:
        await proxy.close()
        server.close()


async def ask(port: int) -> bytes:
    """Send a request; the answer, empty if the connection broke instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST)
        return await asyncio.wait_for(reader.read(100), WAIT_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def met(proxy: Proxy, port: int, fault: NetFault, seconds: float = 0.0) -> bytes:
    """What a request that meets a fault is answered with, once the fault is over."""
    forced = asyncio.create_task(proxy.force(fault, seconds))
    await asyncio.sleep(0)  # it is armed
    answer = await ask(port)
    await asyncio.wait_for(forced, WAIT_S)
    return answer


async def test_without_a_fault_all_is_forwarded() -> None:
    """Request and answer arrive whole, also after a fault on another connection."""
    async with proxied() as (server, proxy, port):
        assert await ask(port) == b"ok"
        assert await met(proxy, port, NetFault.RESET) == b""
        assert await ask(port) == b"ok"
        assert bytes(server.got[0]) == bytes(server.got[-1]) == REQUEST


@pytest.mark.parametrize(
    ("fault", "answer", "arrived"),
    [
        (NetFault.RESET, b"", "nothing"),
        (NetFault.HALF_REQUEST, b"", "a part"),
        (NetFault.LOST_ANSWER, b"", "all"),
        (NetFault.LATE, b"", "all"),
        (NetFault.DELAY, b"ok", "all"),
    ],
)
async def test_a_fault_does_what_it_is_called(fault: NetFault, answer: bytes, arrived: str) -> None:
    """Who asked is answered or not, and the request arrived wholly, partly or not at all."""
    async with proxied() as (server, proxy, port):
        assert await met(proxy, port, fault, 0.01) == answer
        if arrived != "all":
            await asyncio.wait_for(server.ended.wait(), WAIT_S)
        (got,) = server.got
        assert {"nothing": not got, "a part": 0 < len(got) < len(REQUEST), "all": bytes(got) == REQUEST}[arrived]


async def test_a_late_request_arrives_after_its_sender_gave_up() -> None:
    """The connection is broken while the server has heard of nothing."""
    async with proxied() as (server, proxy, port):
        forced = asyncio.create_task(proxy.force(NetFault.LATE, WAIT_S))
        await asyncio.sleep(0)
        assert await ask(port) == b""
        assert not any(server.got)
        forced.cancel()


async def test_a_black_hole_swallows() -> None:
    """What is sent into it never arrives, and what comes after it does."""
    async with proxied() as (server, proxy, port):
        forced = asyncio.create_task(proxy.force(NetFault.BLACK_HOLE, 1.0))
        await asyncio.sleep(0)
        assert await ask(port) == b""
        await forced
        assert not any(server.got)
        assert await ask(port) == b"ok"
