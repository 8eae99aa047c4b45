"""The service with a store that somebody else runs, reached through a proxy."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.chaos.processes import ExternalStore, rewrite_log
from benchmarks.chaos.proxy import CHUNK, Proxy, Streams
from benchmarks.chaos.setup import KEPT_REPLIES, Setup
from service.store import Store
from service.store.scripts import COMMIT

BULK_S = 30.0
LEASE_S = 2.0
"""Short, so that being replaced takes little time."""
NEW_NAMES = 0.25
"""Share of starts at which the service goes by another name than before."""


class External(Setup):
    """A service and a store that know of each other by a URL only.

    Attributes:
        back: Between the two; its faults meet commits.
    """

    name = "external"

    def __init__(self, directory: Path, source: random.Random) -> None:
        super().__init__(directory, source)
        self._store = ExternalStore(directory / "store")
        self.back: Proxy = Proxy(self._dial_store, COMMIT.sha.encode(), source)
        self._port = 0
        self._n_names = 0

    async def kill_store(self, away_s: float) -> None:
        """Kill it, and start it after a while."""
        await self._store.kill()
        await asyncio.sleep(away_s)
        await self._store.start()

    async def kill_both(self) -> None:
        """Kill both, and start both: the service may be there first."""
        await asyncio.gather(self._store.kill(), self.kill_service())
        await asyncio.gather(self._store.start(), self.start_service())

    async def spawn_service(self) -> None:
        """Start the service; sometimes by a new name, so that it waits for the lease of the one before to run out."""
        self._n_names += self._source.random() < NEW_NAMES
        await super().spawn_service()

    async def take_over(self, go_on: Callable[[], Awaitable[None]], rivals_s: float) -> None:
        """Pause the service as if its machine hung, start another one, and let the first wake up as if all were well.

        The other one goes by another name, so it waits until the lease has run out; after a kill the next one goes by
        the same name, and does not wait.

        Args:
            go_on: Returns once the other one has done something.
            rivals_s: How long both run before the first is killed.
        """
        old = self._service
        os.kill(old.pid, signal.SIGSTOP)
        self._n_names += 1
        try:
            await self.start_service()
            self.front.cut(0.5)  # these callers come back to the other one; the rest wait for the first
            await go_on()
            os.kill(old.pid, signal.SIGCONT)
            await asyncio.sleep(rivals_s)
        finally:
            await old.kill()

    async def rewrite_log(self) -> None:
        """Have it begin to write its log anew."""
        await rewrite_log(self._store.socket)

    @property
    def store_pid(self) -> int:
        """Its process."""
        return self._store.pid

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[Store]:
        """Kill it, and start it on what it left."""
        await self.kill_store(0)
        store = await Store.connect(f"unix://{self._store.socket}", timeout_s=BULK_S, kept_replies=KEPT_REPLIES)
        try:
            yield store
        finally:
            await store.close()

    async def stop(self) -> None:
        """End everything without a word, as far as it runs."""
        await super().stop()
        await self.back.close()

    @property
    def _flags(self) -> tuple[str, ...]:
        url, name = f"redis://127.0.0.1:{self._port}", f"chaos-{self._n_names}"
        return ("--redis-url", url, "--instance", name, "--lease-s", str(LEASE_S))

    async def _start_store(self) -> None:
        await self._store.start()
        self._port = await self.back.start()

    async def _end_store(self) -> None:
        await self._store.kill()

    async def _dial_store(self) -> Streams:
        return await asyncio.open_unix_connection(self._store.socket, limit=CHUNK)
