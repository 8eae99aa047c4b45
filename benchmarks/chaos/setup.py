"""A proxy, the service behind it, and its store: what the two ways to keep a store have in common."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from benchmarks.chaos.processes import Service, tail
from benchmarks.chaos.proxy import CHUNK, Proxy, Streams
from service.store import Store

KEPT_REPLIES = 64
STORE_TIMEOUT_S = 1.5
"""Short, so that many faults are met in little time."""
SNAPSHOT_EVERY = 50
"""Weight updates; few, so that kills meet snapshots too."""


class Setup(ABC):
    """A service that runs, and the ways to disturb it.

    Args:
        directory: All that is written is below it.
        source: Of what the proxies decide at random.

    Attributes:
        front: Between clients and service.
        back: Between service and store; None where the service reaches its own.
    """

    name: str
    back: Proxy | None = None

    def __init__(self, directory: Path, source: random.Random) -> None:
        self._dir = directory
        self._log = directory / "service.log"
        self._source = source
        self.front = Proxy(self._dial_service, b"/observations HTTP", source)
        self._service = Service(self._log, ())
        self._url = ""

    @property
    def url(self) -> str:
        """Where clients reach the service."""
        return self._url

    async def start(self) -> None:
        """Start everything."""
        self._dir.mkdir(parents=True)
        self._url = f"http://127.0.0.1:{await self.front.start()}"
        await self._start_store()
        await self.start_service()

    async def start_service(self) -> None:
        """Start the service, and wait until it listens."""
        await self.spawn_service()
        await self._service.listens()

    async def spawn_service(self) -> None:
        """Start the service, and do not wait."""
        flags = ("--store-timeout-s", str(STORE_TIMEOUT_S), "--snapshot-every-updates", str(SNAPSHOT_EVERY))
        self._service = Service(self._log, (*flags, "--kept-replies", str(KEPT_REPLIES), *self._flags))
        await self._service.spawn()

    async def kill_service(self) -> None:
        """End the service without a word."""
        await self._service.kill()

    async def end_service(self) -> None:
        """End the service in good order."""
        await self._service.end()

    @property
    def service_pid(self) -> int:
        """The service's process."""
        return self._service.pid

    @abstractmethod
    async def rewrite_log(self) -> None:
        """Have the store begin to write its log anew."""

    @property
    @abstractmethod
    def store_pid(self) -> int:
        """The store's process."""

    async def stop(self) -> None:
        """End everything without a word, as far as it runs."""
        await self.kill_service()
        await self._end_store()
        await self.front.close()

    @property
    def service_log(self) -> str:
        """The last lines that the service logged."""
        return tail(self._log)

    @abstractmethod
    async def kill_store(self, away_s: float) -> None:
        """End the store without a word; return once another one runs.

        Args:
            away_s: How long it is away, where that is not for the service to decide.
        """

    @abstractmethod
    async def kill_both(self) -> None:
        """End service and store at once without a word; return once both are there again."""

    @abstractmethod
    def open_store(self) -> AbstractAsyncContextManager[Store]:
        """The store as a killed service left it; to be used once no service runs."""

    @property
    @abstractmethod
    def _flags(self) -> tuple[str, ...]:
        """What the service is told of its store."""

    @abstractmethod
    async def _start_store(self) -> None:
        """Start what the service does not start itself."""

    @abstractmethod
    async def _end_store(self) -> None:
        """End without a word whatever is left of the store."""

    async def _dial_service(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self._service.port, limit=CHUNK)
