"""Redis Cluster: redis-py finds the server of each slot, and follows a slot where it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.store.link import MAX_CONNECTIONS, Command

T = TypeVar("T")

SURVEY_S = 1.0
"""Longest wait for the slowest server, where all are asked the same."""

PAUSE_S = 0.1
"""Wait before a command that a cluster in motion did not take is sent again."""

ATTEMPTS = 10
"""How often such a command is sent; the call's own deadline may be nearer."""

NOT_DONE = (exceptions.ClusterError, exceptions.AskError, exceptions.TryAgainError)
"""Answers that say that nothing was done: the slot is elsewhere, on its way or out of service."""

UNKNOWN_SERVER = (KeyError, AttributeError, exceptions.SlotNotCoveredError)
"""What redis-py raises where it knows no server for a slot, or not the one that it is told to ask, and so sent nothing.

It does not look again by itself. A server that has just joined is found with its first slot, not before.
"""


class Cluster:
    """Sends commands to the servers of a cluster.

    What was certainly not done is sent again for a while. All else is sent once, as redis-py's own attempts are
    switched off.

    Args:
        url: Of any of the servers, or a name that stands for all; its credentials and options are those of every one.
        connect_timeout_s: Longest wait for a new connection.
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        self._redis = RedisCluster.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            socket_timeout=None,  # the deadline of the call holds for all its parts
            socket_connect_timeout=connect_timeout_s,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            require_full_coverage=False,  # partitions whose servers are there go on
        )
        # Of each server redis-py refuses a connection too many; here it is waited for.
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    async def send(self, command: Command) -> Any:
        """Send a command and return its answer; one without keys may be answered by any server."""
        return await self._taken(lambda: self._redis.execute_command(*command))

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands on keys of one slot in one round trip and return their answers."""

        async def send() -> list[Any]:
            pipeline = self._redis.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

        return await self._taken(send)

    async def survey(self, command: Command) -> list[Any]:
        """Send a command to all primaries and return the answers of those that answer soon, at least one."""
        async with _named():
            await self._redis.initialize()

        async def ask(node: ClusterNode) -> Any:
            async with asyncio.timeout(SURVEY_S):
                return await self._redis.execute_command(*command, target_nodes=node)

        answers = await asyncio.gather(*map(ask, self._redis.get_primaries()), return_exceptions=True)
        good = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not good:
            raise exceptions.ConnectionError("no server answered")
        return good

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _taken(self, send: Callable[[], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._once(send)
            except NOT_DONE:
                await asyncio.sleep(PAUSE_S)
        return await self._once(send)

    async def _once(self, send: Callable[[], Awaitable[T]]) -> T:
        async with self._room, _named():
            try:
                return await send()
            except UNKNOWN_SERVER as error:
                await self._redis.nodes_manager.initialize()
                raise exceptions.ConnectionError("no server of the slot is known") from error


@asynccontextmanager
async def _named() -> AsyncIterator[None]:
    """Name what redis-py raises where it finds no server as that of a store out of reach; it is no ``RedisError``."""
    try:
        yield
    except exceptions.RedisClusterException as error:
        raise exceptions.ConnectionError(str(error)) from error
