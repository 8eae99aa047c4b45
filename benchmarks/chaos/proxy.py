"""A connection between two processes on which faults are forced, one at a time."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

CHUNK = 2**20
QUIET_S = 0.05
"""After so long without another byte a request is taken to be whole."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]


class NetFault(StrEnum):
    """What can happen to a connection."""

    RESET = "connection reset"
    LOST_ANSWER = "answer lost"
    HALF_REQUEST = "half-sent request"
    DELAY = "delay"
    LATE = "request delivered after its connection broke"
    BLACK_HOLE = "black hole"


class Proxy:
    """Forwards connections; an armed fault meets the next request of its kind.

    Args:
        dial: Connects to what is behind it.
        request: Bytes that the beginning of a request has which a fault may meet.
        source: Of where a request is cut in half, and of which connections are cut.
    """

    def __init__(self, dial: Dial, request: bytes, source: random.Random) -> None:
        self._dial = dial
        self._request = request
        self._source = source
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._armed: _Armed | None = None
        self.passing = asyncio.Event()
        self.passing.set()

    async def start(self) -> int:
        """Listen on a port of this machine, and return it."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        self.cut()

    @property
    def n_open(self) -> int:
        """Connections that are forwarded."""
        return len(self._open)

    def cut(self, share: float = 1.0) -> None:
        """Reset every connection, or a share of them."""
        for connection in self._source.sample(list(self._open), round(share * len(self._open))):
            connection.cut()

    async def force(self, fault: NetFault, seconds: float) -> None:
        """Let a fault meet the next request, and return when it is over.

        Args:
            fault: What happens.
            seconds: How long it holds something up, if it does.
        """
        if fault is NetFault.BLACK_HOLE:
            self.passing.clear()
            await asyncio.sleep(seconds)
            self.cut()  # what it swallowed never arrives
            self.passing.set()
            return
        self._armed = armed = _Armed(fault, seconds, asyncio.Event())
        try:
            await armed.over.wait()
        finally:
            self._armed = None

    def meet(self, data: bytes) -> _Armed | None:
        """The fault that meets a request which begins with ``data``; None for none."""
        if self._armed is None or self._request not in data:
            return None
        armed, self._armed = self._armed, None
        return armed

    def half_of(self, data: bytes) -> bytes:
        """The beginning of a request, at least a byte and never all of it."""
        return data[: self._source.randrange(1, max(2, len(data)))]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            behind = await self._dial()
        except OSError:
            _reset(writer)
            return
        connection = _Connection(self, (reader, writer), behind)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)


@dataclass(frozen=True, slots=True)
class _Armed:
    """A fault that waits for a request, or that a connection meets."""

    fault: NetFault
    seconds: float
    over: asyncio.Event


class _Connection:
    def __init__(self, proxy: Proxy, front: Streams, behind: Streams) -> None:
        self._proxy = proxy
        self._front, self._behind = front, behind
        self._loses_answer = False
        self._met: list[_Armed] = []
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Forward both ways until either side ends."""
        requests, answers = asyncio.create_task(self._requests()), asyncio.create_task(self._answers())
        try:
            await asyncio.wait([requests, answers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in (requests, answers):
                way.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)
            self.cut()
            for armed in self._met:
                armed.over.set()

    def cut(self) -> None:
        """Reset both ends."""
        for _, writer in (self._front, self._behind):
            _reset(writer)

    async def _requests(self) -> None:
        reader, writer = self._front[0], self._behind[1]
        while data := await reader.read(CHUNK):
            await self._proxy.passing.wait()
            armed = self._proxy.meet(data)
            if armed is not None:
                self._met.append(armed)
                forwarded = await self._meet(armed, data)
                if forwarded is None:
                    return
                data = forwarded
            writer.write(data)
            await writer.drain()
            if armed is not None and armed.fault is NetFault.LATE:
                await self._ended.wait()  # nobody is left to send more, and the answer is still to come

    async def _meet(self, armed: _Armed, data: bytes) -> bytes | None:
        """Let a fault happen to a request; what of it is then to be forwarded, None if the connection is to end."""
        match armed.fault:
            case NetFault.RESET:
                return None
            case NetFault.HALF_REQUEST:
                self._behind[1].write(self._proxy.half_of(data))
                await asyncio.sleep(QUIET_S)  # a reset would take back what was not read yet
                return None
            case NetFault.LATE:
                data += await self._rest()
                self._loses_answer = True
                _reset(self._front[1])
                await asyncio.sleep(armed.seconds)
            case NetFault.LOST_ANSWER:
                self._loses_answer = True
            case NetFault.DELAY:
                await asyncio.sleep(armed.seconds)
                armed.over.set()
        return data

    async def _answers(self) -> None:
        reader, writer = self._behind[0], self._front[1]
        while (data := await reader.read(CHUNK)) and not self._loses_answer:
            await self._proxy.passing.wait()
            writer.write(data)
            await writer.drain()
        self._ended.set()

    async def _rest(self) -> bytes:
        """What of a request is still to come."""
        rest = b""
        with suppress(TimeoutError):
            while data := await asyncio.wait_for(self._front[0].read(CHUNK), QUIET_S):
                rest += data
        return rest


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side meets a reset, not an orderly end."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
