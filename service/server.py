"""The service as a process: sockets, signals, and an end that leaves nobody waiting."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from service import __version__
from service.app import create_app
from service.connections import BoundedConnection, allow_files
from service.engines import Engines
from service.errors import StoreUnavailable
from service.settings import Settings
from service.sockets import BoundedSocket
from service.store.embedded import EmbeddedServerError

log = logging.getLogger("stepahead")

BACKLOG = 2048
FORCED = 1  # exit status after a second signal
YOUNG_OBJECTS = 10_000
"""New objects after which the garbage collector looks through them."""

SWITCH_S = 0.0005
"""Longest that the event loop and the threads that compute keep each other waiting, where both run Python."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class StartError(Exception):
    """The service cannot start; the message is one line for the person who starts it."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop that the service runs in: uvloop's where there is one; a request takes it half of asyncio's time."""
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def run(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it; a second one ends the process at once, with status ``FORCED``.

    Args:
        settings: The service's.
        tell: Gets what a person wants to know at the start.

    Raises:
        StartError: If the address or the store cannot be had.
    """
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    allow_files(settings.max_connections)
    listener = _listen(settings.host, settings.port)
    app = create_app(settings)
    lifespan = app.router.lifespan_context(app)
    try:
        await lifespan.__aenter__()
    except (EmbeddedServerError, StoreUnavailable, ValueError) as error:
        listener.close()
        raise StartError(" ".join(str(error).split())) from error
    _tune_interpreter()
    try:
        bounded = partial(
            BoundedConnection,
            max_connections=settings.max_connections,
            max_head_bytes=settings.max_head_bytes,
            head_timeout_s=settings.head_timeout_s,
        )
        config = uvicorn.Config(
            app,
            ws=BoundedSocket,
            ws_max_size=settings.max_frame_bytes,
            ws_ping_interval=settings.heartbeat_s,
            ws_ping_timeout=settings.slow_reader_s,
            ws_per_message_deflate=False,
            http=cast("type[asyncio.Protocol]", bounded),  # Uvicorn only calls it
            proxy_headers=False,  # nothing here asks who called, or how
            lifespan="off",  # entered here, where what it raises can be told in one line
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
        )
        server = _Server(config, app, _welcome(settings, listener), tell)
        await server.serve([listener])
    finally:
        await lifespan.__aexit__(None, None, None)
    if server.force_exit:
        # A thread cannot be stopped, and a step or a forecast may take long: nothing durable depends on its end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(FORCED)


def _tune_interpreter() -> None:
    """Set Python up for a process that serves, and computes beside it.

    Some hundred thousand objects of libraries are there as long as the process; the garbage collector, which would stop
    it for some tenths of a second, whoever waits, passes them over.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    sys.setswitchinterval(SWITCH_S)


class _Server(uvicorn.Server):
    """Drains at the first signal, while it still answers; at a second one answers whoever waits, and ends."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, welcome: str, tell: Callable[[str], None]) -> None:
        super().__init__(config)
        self._engines: Engines = app.state.engines
        self._welcome = welcome
        self._tell = tell
        self._ending: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._tell(self._welcome)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take a signal; the one of uvicorn would end the process by it again, with another exit status than 0."""
        self._loop.call_soon_threadsafe(self._end, signal.Signals(sig).name)

    def _end(self, name: str) -> None:
        if not self._ending:
            log.info("%s: finishing what was accepted", name)
            self._ending.append(asyncio.create_task(self._drain()))
        elif not self.force_exit:
            log.warning("%s again: ending now", name)
            self.force_exit = True
            self._ending.append(asyncio.create_task(self._abort()))

    async def _drain(self) -> None:
        try:
            await self._engines.leave()
        finally:
            self.should_exit = True

    async def _abort(self) -> None:
        try:
            await self._engines.abort()
        finally:
            self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise StartError(f"cannot listen on {host} port {port}: {why}") from error
    listener.setblocking(False)
    # Accepted sockets inherit it. Without it a reply's end waits some 40 ms until its beginning is acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _welcome(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}"
    local = f"http://127.0.0.1:{port}" if settings.host in {"0.0.0.0", "::"} else url  # noqa: S104 - compared only
    key = " -H 'Authorization: Bearer KEY'" if settings.keys else ""
    return "\n".join(
        (
            f"stepahead {__version__} listens on {url}",
            f"  data  {settings.store_place}",
            f"  docs  {local}/docs",
            "  next  create a model, then send it a first item:",
            f"        curl -X PUT {local}/v1/models/demo{key} -H 'Content-Type: application/json' \\",
            """             -d '{"fields": [{"name": "load", "kind": "real"}]}'""",
            f"        curl {local}/v1/models/demo/streams/s1/observations{key} -H 'Content-Type: application/json' \\",
            """             -d '{"item": {"load": 3.2}}'""",
        )
    )
