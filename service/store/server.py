"""One server, and the bounded pool of connections to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.store.link import MAX_CONNECTIONS, Command


class Server:
    """Sends commands to one server; a call past the bound on connections waits for one.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        connect_timeout_s: Longest wait for a new connection.

    Raises:
        ValueError: If ``url`` is malformed.
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=None,  # the deadline of the call holds for all its parts
                socket_timeout=None,
                socket_connect_timeout=connect_timeout_s,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
            )
        )

    async def send(self, command: Command) -> Any:
        """Send a command and return its answer."""
        return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip and return their answers."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

    async def survey(self, command: Command) -> list[Any]:
        """Send a command and return its answer, the only one."""
        return [await self.send(command)]

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
