"""The way to the server: a bounded pool, a deadline on every call, and a named error for every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.errors import StoreFull, StoreUnavailable
from service.store.scripts import Script

MAX_CONNECTIONS = 32
BULK_FACTOR = 10  # weights and redo records can be hundreds of megabytes: so much more time than for any other call

Argument = bytes | str | int


def check_url(url: str) -> None:
    """Check a store's URL without connecting.

    Raises:
        ValueError: If it has a malformed part, or an option that is not known. The message does not repeat the URL,
            which may hold a password.
    """
    try:
        pool: Any = BlockingConnectionPool.from_url(url)  # untyped in redis-py
        pool.make_connection()
    except (ValueError, TypeError) as error:
        raise ValueError("host, port, database or an option after '?' is malformed or not known") from error


class StoreClient:
    """Sends commands; shared by all partitions of a process.

    Writes are sent once: whether one that failed was done is then unknown, and the caller must be told so. Reads
    are sent a second time when the connection turns out to be broken.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_s: Deadline of a call, from waiting for a connection to the last byte of the answer.

    Raises:
        ValueError: If ``url`` is none of these.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=None,  # the deadline of the call holds for all its parts
                socket_timeout=None,
                socket_connect_timeout=timeout_s,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._send: Callable[..., Awaitable[Any]] = self._redis.execute_command  # untyped in redis-py

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def read(self, *command: Argument, bulk: bool = False) -> Any:
        """Send a command that changes nothing.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused.
        """
        async with self._named_errors(bulk):
            try:
                return await self._send(*command)
            except exceptions.ConnectionError:
                return await self._send(*command)

    async def read_all(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Send commands that change nothing, in one round trip.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused one of them.
        """
        async with self._named_errors():
            try:
                return await self._pipelined(commands)
            except exceptions.ConnectionError:
                return await self._pipelined(commands)

    async def write(self, *command: Argument) -> Any:
        """Send a command, once.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused; it may have been done nevertheless.
        """
        async with self._named_errors():
            return await self._send(*command)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = (), *, bulk: bool = False
    ) -> Any:
        """Run a script, once.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused; it may have been run nevertheless.
        """
        async with self._named_errors(bulk):
            try:
                return await self._send("EVALSHA", script.sha, len(keys), *keys, *args)
            except exceptions.NoScriptError:  # it was not run: the store has not met it since its start
                return await self._send("EVAL", script.source, len(keys), *keys, *args)

    async def _pipelined(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

    @asynccontextmanager
    async def _named_errors(self, bulk: bool = False) -> AsyncIterator[None]:
        """Bound the time of what runs inside; the messages reach callers of the service, so they name no address."""
        try:
            async with asyncio.timeout(self._timeout_s * (BULK_FACTOR if bulk else 1)):
                yield
        except (TimeoutError, exceptions.TimeoutError) as error:
            raise StoreUnavailable("the store did not answer in time") from error
        except exceptions.BusyLoadingError as error:
            raise StoreUnavailable("the store is still loading its data") from error
        except exceptions.OutOfMemoryError as error:
            raise StoreFull from error
        except exceptions.ResponseError as error:
            raise StoreUnavailable("the store refused") from error
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnavailable("the store is out of reach") from error
