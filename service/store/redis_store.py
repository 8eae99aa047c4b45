"""The store of one process: its models, and the way to their partitions."""

from __future__ import annotations

import logging
import secrets
from typing import Self

from service.errors import StoreUnavailable
from service.store import scripts
from service.store.client import StoreClient
from service.store.instance import Instance
from service.store.keys import MODELS, PartitionKeys
from service.store.partition import Partition

MIN_REDIS = 7

LEASE_S = 10.0
"""Seconds without a sign of life after which another instance may take an instance's partitions."""

log = logging.getLogger(__name__)


class Store:
    """Redis 7 or later, or Valkey, one server or a cluster; one per process, made by :meth:`connect`.

    Every method raises ``StoreUnavailable`` if the store did not answer in time, or refused.
    """

    def __init__(
        self, client: StoreClient, *, kept_replies: int, instance: str | None = None, lease_s: float = LEASE_S
    ) -> None:
        if kept_replies < 1:
            raise ValueError(f"kept_replies: at least 1, got {kept_replies}")
        self._client = client
        self._kept_replies = kept_replies
        self.instance = Instance(client, instance or secrets.token_hex(8), lease_s)

    @classmethod
    async def connect(
        cls, url: str, *, timeout_s: float, kept_replies: int, instance: str | None = None, lease_s: float = LEASE_S
    ) -> Self:
        """Connect, and check that each server can do what is asked of it.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.
            timeout_s: Deadline of each call; a call that carries weights gets ten times as long.
            kept_replies: How many replies of a stream are kept for resends, at least 1.
            instance: Name of this process among those that share the store; None for one of its own.
            lease_s: Seconds without a sign of life after which another instance may take its partitions.

        Raises:
            ValueError: If ``url`` or ``kept_replies`` is malformed.
            StoreUnavailable: If the store is out of reach, or a server of it too old.
        """
        client = StoreClient(url, timeout_s)
        store = cls(client, kept_replies=kept_replies, instance=instance, lease_s=lease_s)
        try:
            await store._check_servers()
        except BaseException:
            await client.close()
            raise
        return store

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def ping(self) -> None:
        """Return if the store answers; of a cluster, any of its servers."""
        await self._client.read("PING", patient=False)

    async def models(self) -> dict[str, bytes]:
        """Read the record of every model, by name."""
        return {name.decode(): record for name, record in (await self._client.read("HGETALL", MODELS)).items()}

    async def model(self, name: str) -> bytes | None:
        """Read a model's record; None if there is no such model."""
        record: bytes | None = await self._client.read("HGET", MODELS, name)
        return record

    async def create_model(self, name: str, record: bytes) -> bytes | None:
        """Keep a new model's record.

        Returns:
            None if it was created, else the record that was there, which stays.
        """
        while not await self._client.write("HSETNX", MODELS, name, record):
            if (there := await self.model(name)) is not None:
                return there
        return None

    async def replace_model(self, name: str, known: bytes, record: bytes) -> None:
        """Replace a model's record.

        Args:
            name: The model's.
            known: The record that is replaced, as it was read or written.
            record: The new one.

        Raises:
            StoreUnavailable: Also if another record is there by now, or none; nothing was written then.
        """
        if not await self._client.run(scripts.REPLACE_MODEL, [MODELS], [name, known, record]):
            raise StoreUnavailable("another service changed or deleted the model meanwhile")

    async def delete_model(self, name: str) -> bool:
        """Remove a model and all that is kept under it, whoever owns it; False if there was no such model.

        The lease is taken first, so that no owner writes meanwhile, and the record goes last: a deletion that broke
        off leaves a model that can be deleted again, and never weights for the next model of that name to find.

        Raises:
            LeaseLost: If an owner took the partition meanwhile; the model may have lost streams by then.
        """
        if await self.model(name) is None:
            return False
        return await self._drop(name, by_force=True)

    async def discard_model(self, name: str, record: bytes) -> None:
        """Remove a model that was left unfinished, and whatever of it there is, if this is still its record.

        Raises:
            TakenOver: If another instance that shows life is at it; nothing was removed.
        """
        if await self.model(name) == record:
            await self._drop(name, by_force=False)

    async def _drop(self, name: str, *, by_force: bool) -> bool:
        await self.partition(name).drop(by_force=by_force)
        return bool(await self._client.write("HDEL", MODELS, name))

    def partition(self, model: str, shard: int = 0) -> Partition:
        """Give access to a partition; it is read-only until it is acquired."""
        return Partition(self._client, self.instance, PartitionKeys(model, shard), kept_replies=self._kept_replies)

    async def _check_servers(self) -> None:
        servers = await self._client.info()
        for info in servers:
            version = str(info.get("redis_version", "0"))
            if int(version.partition(".")[0]) < MIN_REDIS:
                raise StoreUnavailable(
                    f"the store is Redis {version}; Redis {MIN_REDIS} or later, or Valkey, is needed"
                )
        if any(info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction" for info in servers):
            log.warning("the store may evict beliefs when it is full: set its maxmemory-policy to noeviction")
        if not all(info.get("aof_enabled") for info in servers):
            log.warning("the store does not append to a file: what it holds may be lost when it ends")
