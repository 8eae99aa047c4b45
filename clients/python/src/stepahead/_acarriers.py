"""The ways of an asynchronous feed to the server; see :mod:`stepahead._carriers`."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import cast

from stepahead._carriers import CLOSE_S, answered, request_of, unopened, unreached
from stepahead._core import Answer, Request
from stepahead._frame import Frame
from stepahead._http import lost
from stepahead._link import Link, NoSuchWay, Target
from stepahead.errors import NoAnswer, StepaheadError


def _nobody() -> None:
    """Nobody waits for a change."""


class AsyncSocketCarrier:
    """Frames over a socket, several on their way; see :class:`stepahead._carriers.SocketCarrier`."""

    def __init__(self, target: Target, make_link: Callable[[Target], Link], connect_s: float | None) -> None:
        self._target, self._make_link, self._connect_s = target, make_link, connect_s
        self._connection: _Connection | None = None
        self.is_up = False
        self.changed: Callable[[], None] = _nobody

    @property
    def has_room(self) -> bool:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        return self._connection is not None and self._connection.has_room

    @property
    def heard_s(self) -> float:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        return self._connection.heard_s if self._connection is not None else 0.0

    async def connect(self) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        target, loop = self._target, asyncio.get_running_loop()
        context = ssl.create_default_context() if target.is_secure else None
        connection = self._connection = _Connection(target, self._make_link(target), self.changed)

        async def opening() -> None:
            await loop.create_connection(lambda: connection, target.host, target.port, ssl=context)
            await connection.opened

        try:
            await asyncio.wait_for(opening(), self._connect_s)
            if connection.end is not None:
                raise connection.end
        except (OSError, asyncio.TimeoutError) as error:
            raise unreached(target, error) from error
        except StepaheadError as error:
            raise unopened(error) from error.__cause__
        finally:
            if not connection.is_open:
                await self.close()
        self.is_up = True

    async def send(self, frame: Frame) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        if self._connection is None:
            raise NoAnswer("the connection is closed")
        self._connection.send(frame)

    def poll(self) -> list[bytes | StepaheadError]:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        if self._connection is None:
            raise NoAnswer("the connection is closed")
        answers = self._connection.answers()
        if self._connection.end is not None:
            if not answers:
                raise self._connection.end
            self.changed()
        return answers

    async def close(self) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        connection, self._connection, self.is_up = self._connection, None, False
        if connection is not None:
            await connection.close()


class _Connection(asyncio.Protocol):
    """One connection from its opening to its end."""

    def __init__(self, target: Target, link: Link, changed: Callable[[], None]) -> None:
        self._target, self._link, self._changed = target, link, changed
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self.end: StepaheadError | NoSuchWay | None = None
        self.has_room = True
        self.heard_s = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether hands were shaken."""
        return self._link.is_open and self.end is None

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        if self._transport is None or self.end is not None:
            raise self.end or NoAnswer("the connection is closed")
        self._link.send(frame.content)
        self._transport.write(self._link.to_send())

    def answers(self) -> list[bytes | StepaheadError]:
        """What has arrived, in order."""
        answers: list[bytes | StepaheadError] = list(self._link.answers())
        self._link.answers().clear()
        return answers

    async def close(self) -> None:
        """Say goodbye, and end the connection."""
        transport = self._transport
        if transport is None:
            return
        if self.is_open:
            self._link.finish()
            transport.write(self._link.to_send())
        transport.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._closed), CLOSE_S)
        transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: shake hands."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._link.to_send())

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.heard_s = time.monotonic()
        self._receive(data)

    def eof_received(self) -> None:
        """The server sends no more."""
        self._receive(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if self.end is None:
            self.end = lost(self._target.url, exc or ConnectionError("the connection is closed"))
        self._tell()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The server takes no more for now."""
        self.has_room = False

    def resume_writing(self) -> None:
        """The server takes more again."""
        self.has_room = True
        self._changed()

    def _receive(self, data: bytes) -> None:
        if self.end is not None:
            return
        try:
            self._link.receive(data)
            self.end = self._link.end
        except NoSuchWay as error:
            self.end = error
        out = self._link.to_send()
        if out and self._transport is not None:
            self._transport.write(out)
        if self._link.is_open or self.end is not None:
            self._tell()

    def _tell(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        self._changed()


class AsyncRequestCarrier:
    """Each frame as a request, one after the other; see :class:`stepahead._carriers.RequestCarrier`."""

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Answer | NoAnswer]],
        model: str,
        params: Mapping[str, str | int],
    ) -> None:
        self._send, self._model, self._params = send, model, params
        self._answers: list[bytes | StepaheadError] = []
        self.is_up = True
        self.has_room = True
        self.heard_s = 0.0
        self.changed: Callable[[], None] = _nobody

    async def connect(self) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        self.is_up = True

    async def send(self, frame: Frame) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`; returns once the answer is here."""
        self._answers.append(answered(await self._send(request_of(frame, self._model, self._params))))
        self.changed()

    def poll(self) -> list[bytes | StepaheadError]:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        answers, self._answers = self._answers, []
        return answers

    async def close(self) -> None:
        """See :class:`stepahead._afeed.AsyncCarrier`."""
        self._answers.clear()
        self.is_up = False
