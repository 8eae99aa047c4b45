"""Readers of a model's events: every reply as it is made, whoever sent the item.

Both are iterators, which go on over lost connections. Only once a reader is open can nothing be missed unsaid: an
iterator opens with its first item, a ``with`` block before its first line.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from stepahead._adriver import AsyncDriver
from stepahead._driver import Driver
from stepahead._events import Follower, Given, Opened


class Events:
    """A model's events as they are made; for one thread.

    >>> with model.events() as events:  # doctest: +SKIP
    ...     for event in events:
    ...         if isinstance(event, Missed):
    ...             print("missed", event.count)
    ...         else:
    ...             print(event.stream, event.item, event.score)
    """

    def __init__(self, driver: Driver, program: Follower) -> None:
        self._given = driver._follow(program)
        self._is_open = False

    def __enter__(self) -> Events:
        """Wait until the service follows for this reader.

        Raises:
            StepaheadError: If it does not.
        """
        while not self._is_open:
            self._is_open = isinstance(next(self._given), Opened)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Given:
        """Wait for the next event.

        Raises:
            StepaheadError: What ended the events for good, as ``UnknownModel`` once the model is deleted.
        """
        while isinstance(given := next(self._given), Opened):
            self._is_open = True
        return given

    def close(self) -> None:
        """Read no more."""
        self._given.close()


class AsyncEvents:
    """See :class:`stepahead.Events`; for one task.

    Whoever waits for an event may be cancelled, as by ``asyncio.wait_for``: the next one who does gets it.
    """

    def __init__(self, driver: AsyncDriver, program: Follower) -> None:
        if not driver._streams:
            raise ValueError("httpx.ASGITransport gives no answer before its end; events need a connection")
        self._given = driver._follow(program)
        self._waiting: asyncio.Task[Given | Opened] | None = None
        self._is_open = False

    async def __aenter__(self) -> AsyncEvents:
        """See :meth:`stepahead.Events.__enter__`."""
        while not self._is_open:
            self._is_open = isinstance(await self._next(), Opened)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Given:
        """See :meth:`stepahead.Events.__next__`."""
        while isinstance(given := await self._next(), Opened):
            self._is_open = True
        return given

    async def aclose(self) -> None:
        """Read no more."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None
        await self._given.aclose()

    async def _next(self) -> Given | Opened:
        """A task of its own waits: a cancelled one would break the connection off."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(anext(self._given))
        try:
            return await asyncio.shield(self._waiting)
        finally:
            if self._waiting.done():
                self._waiting = None
