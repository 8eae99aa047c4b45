"""The service with the store that it starts itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks.chaos.processes import POLL_S, START_S, ChaosFailed, rewrite_log
from benchmarks.chaos.setup import KEPT_REPLIES, Setup
from service.store import Store
from service.store.embedded import EmbeddedServer
from service.store.leftover import listening_pid
from service.store.socket_path import noted_socket_path

BULK_S = 30.0


class Embedded(Setup):
    """A service whose store is its child: whoever kills that has the service start it again."""

    name = "embedded"

    async def kill_store(self, away_s: float) -> None:  # noqa: ARG002 - the service decides
        """Kill the child, and wait for the next one."""
        pid = self.store_pid
        os.kill(pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(START_S):
                while self._listening() in {0, pid}:  # noqa: ASYNC110 - not our child: no event
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise ChaosFailed(f"the service did not start its store again; {self.service_log}") from None

    async def kill_both(self) -> None:
        """Kill the child and its parent, and start the parent."""
        os.kill(self.store_pid, signal.SIGKILL)
        await self.kill_service()
        await self.start_service()

    async def rewrite_log(self) -> None:
        """Have the child begin to write its log anew."""
        if (path := self._socket()) is not None:
            await rewrite_log(path)

    @property
    def store_pid(self) -> int:
        """The child's process.

        Raises:
            ChaosFailed: If none listens.
        """
        pid = self._listening()
        if not pid:
            raise ChaosFailed(f"the store does not run; {self.service_log}")
        return pid

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[Store]:
        """Start the store on what the killed service left."""
        async with EmbeddedServer(self._dir / "data") as url:
            store = await Store.connect(url, timeout_s=BULK_S, kept_replies=KEPT_REPLIES)
            try:
                yield store
            finally:
                await store.close()

    @property
    def _flags(self) -> tuple[str, ...]:
        return ("--data-dir", str(self._dir / "data"))

    async def _start_store(self) -> None:
        """The service does."""

    async def _end_store(self) -> None:
        if pid := self._listening():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _listening(self) -> int:
        """The store's process; 0 if none listens."""
        path = self._socket()
        return 0 if path is None else listening_pid(path) or 0

    def _socket(self) -> Path | None:
        """Where the store listens, or did; None if it was never started."""
        try:
            return noted_socket_path((self._dir / "data" / "store").resolve())
        except FileNotFoundError:
            return None
