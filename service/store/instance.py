"""The sign of life of one instance of the service: its leases hold as long as this does."""

from __future__ import annotations

import asyncio
import logging
import secrets

from service.errors import StoreUnavailable
from service.store import keys, scripts
from service.store.client import StoreClient

log = logging.getLogger("stepahead")

RENEWALS = 3
"""Times that a sign of life is renewed before it would expire."""


class Instance:
    """One process that serves, by a name that its leases carry.

    One sign of life stands for all leases of a process, however many models it has. Whoever wants a partition whose
    owner shows none takes it. That is safe whatever the clocks say, as each write is fenced: an owner that was only
    slow finds its writes refused.

    Args:
        client: The way to the store.
        name: Unique among the instances that share a store. One that starts again under its old name takes its
            partitions back at once.
        lease_s: Seconds that a sign of life lasts.
    """

    def __init__(self, client: StoreClient, name: str, lease_s: float) -> None:
        self.name = name
        self.lease_s = lease_s
        self._client = client
        self._process = secrets.token_hex(8)

    async def renew(self) -> None:
        """Show that this instance lives.

        Raises:
            StoreUnavailable: If the store did not answer.
        """
        lasts_ms = round(self.lease_s * 1000)
        await self._client.run(scripts.RENEW, [keys.instance(self.name)], [self._process, lasts_ms])

    async def keep_renewing(self) -> None:
        """Renew until cancelled; while the store is away, try on."""
        while True:
            try:
                await self.renew()
            except StoreUnavailable as error:
                log.warning("the sign of life of instance %s was not renewed: %s", self.name, error)
            await asyncio.sleep(self.lease_s / RENEWALS)

    async def end(self) -> None:
        """Show no life any more, unless another process goes by the same name.

        Raises:
            StoreUnavailable: If the store did not answer; the sign of life then expires by itself.
        """
        await self._client.run(scripts.RELEASE, [keys.instance(self.name)], [self._process])

    async def left_s(self, name: str) -> float:
        """Seconds for which an instance's sign of life still lasts; 0 if it shows none.

        Raises:
            StoreUnavailable: If the store did not answer.
        """
        return max(0, int(await self._client.read("PTTL", keys.instance(name)))) / 1000
