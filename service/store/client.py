"""The way to the store: bounded connections, a deadline on every call, and a named error for every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool

from service.errors import StoreFull, StoreUnavailable
from service.store.cluster import Cluster
from service.store.link import Argument, Command, Link
from service.store.scripts import Script
from service.store.server import Server

__all__ = ["Argument", "StoreClient", "check_url"]

BULK_FACTOR = 10  # weights and redo records can be hundreds of megabytes: so much more time than for any other call

FIRST_PAUSE_S, MAX_PAUSE_S = 0.02, 0.5
"""Waits before a call that may be made again while the store is away is made again; each is twice the last."""

_CLOSED = "handler is closed"  # of what uvloop says

T = TypeVar("T")


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

    Whether there is one server or a cluster is asked with the first call, as the store may be away when this is made.

    Writes are sent once: whether one that failed was done is then unknown, and the caller must be told so. Reads
    are sent again while the store is away, up to their deadline: callers wait out a short absence. A command that a
    cluster's server did not take, and so did not do, is sent to where it says.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; of a cluster any of its servers, or a name that stands for all.
        timeout_s: Deadline of a call, from waiting for a connection to the last byte of the answer.

    Raises:
        ValueError: If ``url`` is none of these.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._server = Server(url, timeout_s)
        self._link: Link | None = self._server if url.startswith("unix:") else None
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()
        if self._link is not None:
            await self._link.close()

    async def read(self, *command: Argument, bulk: bool = False, patient: bool = True) -> Any:
        """Send a command that changes nothing.

        Args:
            command: Its words.
            bulk: Whether the answer may be large.
            patient: Whether to ask again while the store is away, until the deadline.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused.
        """
        return await self._call(lambda link: link.send(command), bulk=bulk, patient=patient)

    async def read_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that change nothing and are of one partition, in one round trip.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused one of them.
        """
        return await self._call(lambda link: link.send_all(commands), patient=True)

    async def write(self, *command: Argument) -> Any:
        """Send a command, once.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused; it may have been done nevertheless.
        """
        return await self._call(lambda link: link.send(command))

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument] = (),
        *,
        bulk: bool = False,
        patient: bool = False,
    ) -> Any:
        """Run a script, once.

        Args:
            script: The script.
            keys: All keys it uses, of one partition.
            args: Its arguments.
            bulk: Whether they, or the answer, may be large.
            patient: Whether to run it again while the store is away, until the deadline: only for what may be run
                several times.

        Raises:
            StoreUnavailable: If the store did not answer in time, or refused; it may have been run nevertheless.
        """

        async def run(link: Link) -> Any:
            try:
                return await link.send(("EVALSHA", script.sha, len(keys), *keys, *args))
            except exceptions.NoScriptError:  # it was not run: the server has not met it since its start
                return await link.send(("EVAL", script.source, len(keys), *keys, *args))

        return await self._call(run, bulk=bulk, patient=patient)

    async def info(self) -> list[dict[str, Any]]:
        """Ask each server of the store about itself; in a cluster those that are away are left out, all but one.

        Raises:
            StoreUnavailable: If none answered in time, or it refused.
        """
        return await self._call(lambda link: link.survey(("INFO",)))

    async def _call(self, call: Callable[[Link], Awaitable[T]], *, bulk: bool = False, patient: bool = False) -> T:
        """Make a call within its time; a patient one again and again while the store is away."""
        limit_s = self._timeout_s * (BULK_FACTOR if bulk else 1)
        give_up_s = monotonic() + self._timeout_s
        pause_s = FIRST_PAUSE_S
        async with self._named_errors(limit_s):
            while True:
                try:
                    with _named_closed():
                        return await call(await self._reach())
                except exceptions.AuthenticationError:
                    raise
                except (exceptions.ConnectionError, OSError):  # also while it still loads its data
                    if not patient or monotonic() + pause_s > give_up_s:
                        raise
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _reach(self) -> Link:
        """Find out, once, whether there is one server or a cluster."""
        if self._link is None:
            async with self._asking:
                if self._link is None:
                    about = await self._server.send(("INFO", "cluster"))
                    self._link = Cluster(self._url, self._timeout_s) if about.get("cluster_enabled") else self._server
        return self._link

    @asynccontextmanager
    async def _named_errors(self, limit_s: float) -> AsyncIterator[None]:
        """Bound the time of what runs inside; the messages reach callers of the service, so they name no address."""
        try:
            async with asyncio.timeout(limit_s):
                yield
        except (TimeoutError, exceptions.TimeoutError) as error:
            raise StoreUnavailable("the store did not answer in time") from error
        except exceptions.BusyLoadingError as error:
            raise StoreUnavailable("the store is still loading its data") from error
        except exceptions.OutOfMemoryError as error:
            raise StoreFull from error
        except exceptions.ClusterDownError as error:
            raise StoreUnavailable("the store's cluster is down") from error
        except exceptions.ResponseError as error:
            raise StoreUnavailable("the store refused") from error
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnavailable("the store is out of reach") from error


@contextmanager
def _named_closed() -> Iterator[None]:
    """Name what uvloop raises on a write to a connection that was closed: asyncio would ignore the write."""
    try:
        yield
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise exceptions.ConnectionError("the connection was closed") from error
