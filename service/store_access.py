"""The way to the store for as long as the service runs: one of its own, or one that somebody else runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TypedDict

from service.errors import StoreUnavailable
from service.settings import Settings
from service.store import Store
from service.store.client import StoreClient
from service.store.embedded import EmbeddedServer, EmbeddedServerError

log = logging.getLogger("stepahead")

EMBEDDED_INSTANCE = "embedded"
"""Name of the one service that an embedded store has at a time."""

RESTART_S = 1.0
"""Wait before an embedded store that could not be started again is tried once more."""


class StoreOptions(TypedDict):
    """What a :class:`Store` is made with beside its connections."""

    kept_replies: int
    instance: str | None
    lease_s: float


class StoreAccess:
    """Opens the store that the settings name, and keeps it up if it is the service's own.

    Args:
        settings: With no ``redis_url`` a server is started under ``data_dir``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: EmbeddedServer | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._url = ""
        self._store: Store | None = None
        self._checked = False  # whether the server was seen to be one that can be used

    async def open(self) -> Store:
        """Start or reach the store. An external one may be away: it is used as soon as it is there.

        Raises:
            EmbeddedServerError: If the service's own store cannot run.
            StoreUnavailable: If the service's own store does not answer.
            ValueError: If the URL is malformed.
        """
        settings = self._settings
        if settings.redis_url is None:
            self._server = EmbeddedServer(settings.data_dir, settings.appendfsync)
            self._url = await self._server.start()
            self._keepers.append(asyncio.create_task(self._keep_up(self._server), name="embedded store"))
        else:
            self._url = settings.redis_url.get_secret_value()
        try:
            self._store = await self._connect()
            self._checked = True
        except StoreUnavailable as error:
            if self._server is not None:
                await self.close()
                raise
            log.warning("the store cannot be used yet: %s", error)
            self._store = Store(StoreClient(self._url, settings.store_timeout_s), **self._options)
        except BaseException:
            await self.close()
            raise
        self._keepers.append(asyncio.create_task(self._store.instance.keep_renewing(), name="sign of life"))
        return self._store

    async def check(self) -> None:
        """Return if the store answers, and can be used.

        Raises:
            StoreUnavailable: If it does not, or cannot.
        """
        if self._store is None:
            raise StoreUnavailable("the store is not open")
        if self._checked:
            await self._store.ping()
        else:
            await (await self._connect()).close()
            self._checked = True

    async def close(self) -> None:
        """Close the connections, and end the service's own store."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._store is not None:
            with suppress(StoreUnavailable):
                await self._store.instance.end()
            await self._store.close()
        if self._server is not None:
            await self._server.stop()

    async def _connect(self) -> Store:
        return await Store.connect(self._url, timeout_s=self._settings.store_timeout_s, **self._options)

    @property
    def _options(self) -> StoreOptions:
        settings = self._settings
        return {
            "kept_replies": settings.kept_replies,
            "instance": EMBEDDED_INSTANCE if self._server is not None else settings.instance,
            "lease_s": settings.lease_s,
        }

    async def _keep_up(self, server: EmbeddedServer) -> None:
        """Start the embedded store again whenever it ends."""
        while True:
            log.error("the embedded store ended with status %d; starting it again", await server.wait())
            while True:
                try:
                    await server.restart()
                    break
                except EmbeddedServerError as error:
                    log.error("%s", error)
                    await asyncio.sleep(RESTART_S)
