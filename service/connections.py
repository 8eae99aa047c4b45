"""TCP connections: how many there may be, and how long and how large a request's head may be."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.middleware import CROWDED

if sys.platform != "win32":
    import resource

log = logging.getLogger("stepahead")

OTHER_FILES = 256
"""Files that the process may have open beside its connections: those to the store, libraries, logs."""

SPARE = 4
"""Beyond the bound a quarter more are kept, to be told so and for health checks; further ones are cut off."""

MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's head past which its connection is cut off."""


class BoundedConnection(HttpToolsProtocol):
    """One connection of a bounded number; the bounds are a subclass's.

    One beyond the bound is marked for as long as it lasts: the application refuses its requests.
    """

    max_connections: ClassVar[int]
    head_timeout_s: ClassVar[float]

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._in_body = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None  # of the next head; None while a request is answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, unless there are far too many."""
        super().connection_made(transport)
        over = len(self.connections) - self.max_connections
        if over > max(1, self.max_connections // SPARE):
            transport.abort()
        elif over > 0:
            self.app_state = {**self.app_state, CROWDED: True}
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrives, up to the bound while it is a head."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_body and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._end_wait()
        self._in_body, self._head_bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is whole."""
        self._in_body = False
        super().on_message_complete()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.abort)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bounded(max_connections: int, head_timeout_s: float) -> type[BoundedConnection]:
    """What uvicorn makes connections of.

    Args:
        max_connections: The bound on their number.
        head_timeout_s: Seconds from the connection, or what first comes after an answer, to the end of a request's
            head.
    """
    bounds = {"max_connections": max_connections, "head_timeout_s": head_timeout_s}
    return type("Connection", (BoundedConnection,), bounds)


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
