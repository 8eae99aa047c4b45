"""The protocols under lasting connections, each on a real socket with an application that answers more than is read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service import connections
from service.api.connection import LASTING
from service.connections import BoundedConnection
from service.sockets import BoundedSocket

WAIT_S = 30.0
SOON_S = 0.05
MUCH = "x" * 2**22
"""More than the socket holds."""

OPENINGS = {
    "websocket": (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ),
    "ndjson": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
}
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


@asynccontextmanager
async def connected(kind: str) -> AsyncIterator[tuple[socket.socket, ServerState]]:
    """A client that has been sent more than it reads, and the server's state."""
    wrote = asyncio.Event()

    async def answers_much(scope: Any, receive: Any, send: Any) -> None:
        """Answer at length, and go on until the client is gone."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": MUCH})
        else:
            scope["state"][LASTING] = True
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": MUCH.encode(), "more_body": True})
        wrote.set()
        while not (await receive())["type"].endswith("disconnect"):
            pass

    config, state = uvicorn.Config(answers_much, ws=BoundedSocket, log_config=None), ServerState()
    config.load()
    bounded = partial(BoundedConnection, max_connections=9, max_head_bytes=4096, head_timeout_s=WAIT_S)
    ours, client = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: bounded(config, state, {}), ours)
    transport.set_write_buffer_limits(high=2 * len(MUCH))  # so that reading goes on
    client.setblocking(False)
    with client:
        await asyncio.get_running_loop().sock_sendall(client, OPENINGS[kind])
        async with asyncio.timeout(WAIT_S):
            await wrote.wait()
        yield client, state
        transport.abort()


@pytest.mark.parametrize(("kind", "last"), [("websocket", CLOSE), ("websocket", b""), ("ndjson", b"")])
async def test_who_leaves_without_reading_is_let_go(kind: str, last: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that closes, or sends no more, and leaves what was written unread does not keep its connection."""
    monkeypatch.setattr(connections, "LAST_S", SOON_S)
    async with connected(kind) as (client, state):
        for connection in state.connections:
            if isinstance(connection, BoundedSocket):
                connection.close_timeout = SOON_S
        await asyncio.get_running_loop().sock_sendall(client, last)
        if not last:
            client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(WAIT_S):
            while state.connections or state.tasks:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(SOON_S)


async def answered(method: bytes, headers: list[tuple[bytes, bytes]], *bodies: bytes) -> list[bytes]:
    """What an application's answer is written as, a part for each time that something was."""
    go_on = asyncio.Event()

    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for left, body in enumerate(reversed(bodies)):
            await go_on.wait()
            await send({"type": "http.response.body", "body": body, "more_body": left < len(bodies) - 1})

    config, state = uvicorn.Config(answer, log_config=None), ServerState()
    config.load()
    bounded = partial(BoundedConnection, max_connections=9, max_head_bytes=4096, head_timeout_s=WAIT_S)
    ours, client = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(lambda: bounded(config, state, {}), ours)
    client.setblocking(False)
    written = []
    with client:
        await loop.sock_sendall(client, method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        loop.call_later(SOON_S, go_on.set)
        async with asyncio.timeout(WAIT_S):
            while not written or state.tasks:
                written.append(await loop.sock_recv(client, 2**16))
        transport.abort()
    return written


@pytest.mark.parametrize(
    ("method", "headers", "bodies", "expected"),
    [
        (b"GET", [(b"content-length", b"4")], [b"body"], [b"content-length: 4\r\n\r\nbody"]),
        (b"HEAD", [(b"content-length", b"4")], [b"body"], [b"content-length: 4\r\n\r\n"]),
        (b"GET", [(b"content-length", b"0")], [b""], [b"content-length: 0\r\n\r\n"]),
        (b"GET", [], [b"body"], [b"transfer-encoding: chunked\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"]),
        (b"GET", [(b"content-length", b"4")], [], [b"content-length: 4\r\n\r\n"]),
    ],
)
async def test_a_head_leaves_with_its_body(
    method: bytes, headers: list[tuple[bytes, bytes]], bodies: list[bytes], expected: list[bytes]
) -> None:
    """Where it says how long that is; else at once, as nobody knows when the first of it comes."""
    written = await answered(method, headers, *bodies)
    assert b"".join(written).endswith(b"".join(expected))
    assert len([part for part in written if part]) == len(expected)
