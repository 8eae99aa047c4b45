"""Connections: how many there may be, what one may cost before it has a request, how malformed bytes are answered.

A request is bounded by the middleware once its head is there. Until then nothing else would bound it: a header without
an end would be kept as long as it comes, and a head that is never finished would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from http import HTTPStatus
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.connection import CONNECTION, LASTING
from service.api.middleware import CROWDED
from service.errors import HeadTooLarge, Malformed, RequestTimeout, ServiceError

if sys.platform != "win32":
    import resource

log = logging.getLogger("stepahead")

OTHER_FILES = 256
"""Files that the process may have open beside its connections: those to the store, libraries, logs."""

SPARE = 4
"""Beyond the bound a quarter more are kept, to be told so and for health checks; further ones are cut off."""


LAST_S = 10.0
"""Seconds that a client has to read the end of an answer that was cut off, and to end a request that is answered."""


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's protocol, with bounds on a request's head and the contract's error object for what is no HTTP.

    A connection beyond the bound on their number is marked for as long as it lasts: the application refuses its
    requests.

    Args:
        max_connections: The bound on their number.
        max_head_bytes: Bytes that may come without any of them ending a head or being of a body: those of a head, of
            trailers, of a chunk's extensions. One read may go over it.
        head_timeout_s: Longest wait for the end of a head, from a connection's or the head's first moment.
    """

    def __init__(
        self, *args: Any, max_connections: int, max_head_bytes: int, head_timeout_s: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._max_connections = max_connections
        self._max_head_bytes = max_head_bytes
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._in_head = True
        # One for many heads: to make and cancel one for each takes longer.
        self._timer: asyncio.TimerHandle | None = None
        self._due_s: float | None = None  # when the head that is awaited must be there; the loop's clock
        self._n_unanswered = 0
        self._refusal: ServiceError | None = None  # of what came after the requests that are being answered
        self._has_ended = False  # the last was written

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first head, unless there are far too many connections."""
        super().connection_made(transport)
        over = len(self.connections) - self._max_connections
        if over > max(1, self._max_connections // SPARE):
            transport.abort()
            return
        if over > 0:
            self.app_state = {**self.app_state, CROWDED: True}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is refused already."""
        if self._has_ended or self._refusal is not None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._head_bytes > self._max_head_bytes:
            self._refuse(HeadTooLarge(self._max_head_bytes))
        elif self._in_head and self._due_s is None:
            self._await_head()

    def eof_received(self) -> None:
        """Close; an answer that would last for ever is given up if the client does not read it."""
        if self.cycle is not None and self.cycle.scope["state"].get(LASTING):
            self.loop.call_later(LAST_S, self.transport.abort)

    def shutdown(self) -> None:
        """Close once all is answered, and what was written last is read."""
        if not self._has_ended:
            super().shutdown()

    def end(self, last: bytes) -> None:
        """Write what is the last; if the client does not read it soon, break off.

        What still comes is passed over: closing on it would reset the connection, and with it go what is not read yet.
        """
        self._has_ended = True
        self.transport.write(last)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LAST_S, self.transport.abort)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """End a head."""
        self._head_bytes, self._in_head = 0, False
        self._due_s = None
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self._n_unanswered += 1
            answer = _Answer(self, self.cycle)
            self.cycle.transport = cast("asyncio.Transport", answer)
            self.cycle.scope["state"][CONNECTION] = answer

    def on_body(self, body: bytes) -> None:
        """Take in a piece of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; what follows is the next one's head, but for a WebSocket."""
        self._head_bytes, self._in_head = 0, not self._should_upgrade()
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        """Whether a request opens a WebSocket; one behind others that are not answered yet is taken as plain HTTP."""
        return not self._n_unanswered and super()._should_upgrade()

    def on_response_complete(self) -> None:
        """Go on to the next request, or to what came after the last one and was none."""
        super().on_response_complete()
        self._n_unanswered -= 1
        if self.cycle.response_complete and not self._in_head:  # and it is not the next one's
            self.loop.call_later(LAST_S, self._close_unfinished, self.cycle)
        if self._refusal is not None and not self._n_unanswered:
            self._answer(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(Malformed(msg))

    def _await_head(self) -> None:
        self._due_s = self.loop.time() + self._head_timeout_s
        if self._timer is None:
            self._timer = self.loop.call_at(self._due_s, self._give_up)

    def _give_up(self) -> None:
        """Close a connection whose head does not end; while an answer is due nothing need be read."""
        self._timer = None
        if self._due_s is None:
            return
        if self.loop.time() < self._due_s:
            self._timer = self.loop.call_at(self._due_s, self._give_up)
            return
        self._due_s = None
        if self.transport.is_closing() or self._n_unanswered:
            return
        if self._head_bytes:
            self._refuse(RequestTimeout("headers", self._head_timeout_s))
        else:
            self.transport.close()

    def _close_unfinished(self, cycle: RequestResponseCycle) -> None:
        """Close a connection whose request goes on long after its answer has ended."""
        if self.cycle is cycle and not self._in_head:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answer the error and close, once the requests before it are answered; the one that it broke is not."""
        if self._n_unanswered and self.cycle.more_body:
            if self._n_unanswered == 1 and self.cycle.response_started:
                self.transport.close()
                return
            self._n_unanswered -= 1
            if self._n_unanswered:
                self.pipeline.popleft()  # the newest
        if self._n_unanswered:
            self._refusal = error
        else:
            self._answer(error)

    def _answer(self, error: ServiceError) -> None:
        if self.transport.is_closing():
            return
        request_id = uuid.uuid4().hex
        content = orjson.dumps(error.to_dict(request_id))
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()


class _Answer:
    """The answer to one request on its connection: a transport that sends its head and its body's beginning together.

    Only where the head says how long the body is: then it is there, and each write would be a packet of its own.
    """

    def __init__(self, connection: BoundedConnection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._cycle = cycle
        self._head = b""  # until the body begins
        self._has_begun = False

    def write(self, data: bytes) -> None:
        """Write a part of it, or of what comes before it; nothing if the connection is closed."""
        cycle = self._cycle
        if cycle.response_started and not self._has_begun:
            self._has_begun = True
            if not cycle.chunked_encoding and cycle.expected_content_length and cycle.scope["method"] != "HEAD":
                self._head = data
                return
        if self._head:
            data, self._head = self._head + data, b""
        self._write(data)

    def close(self) -> None:
        """Close the connection once all is written."""
        head, self._head = self._head, b""
        self._write(head)
        self._transport.close()

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():  # uvloop's raises once it is closed
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()

    def unsent_bytes(self) -> int:
        """How much of what was written has not left yet."""
        return self._transport.get_write_buffer_size()

    def body_bytes(self) -> int | None:
        """How long the request's body is, once all of it is here."""
        return None if self._cycle.more_body else len(self._cycle.body)

    def messages(self, most: int) -> list[bytes]:  # noqa: ARG002 - of WebSockets
        """None: what comes is a body."""
        return []

    def cut_off(self, code: int, reason: str, last: bytes) -> None:  # noqa: ARG002 - of WebSockets
        """End an answer that has begun; if the client does not read it to the end soon, break off."""
        if self._cycle.response_complete or self._transport.is_closing():
            return
        self._cycle.response_complete = True
        self._connection.end(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))


def allow_files(max_connections: int) -> None:
    """Let the process open as many files as its connections take, as far as the system lets it; say so if not."""
    if sys.platform == "win32":
        return
    wanted = max_connections + max_connections // SPARE + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning(
            "%d connections may take %d files, and the system allows %d: set max_connections lower or the limit of "
            "open files higher",
            max_connections,
            wanted,
            most,
        )
