"""Rows of a source that may be silent for long, as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from threading import Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")

ROOM = 1024
"""Rows that are read ahead."""


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


async def arriving(rows: Iterator[T]) -> AsyncIterator[T]:
    """Give rows that are read in a thread of their own, which nobody waits for at the end.

    Raises:
        Exception: What reading them raises, after all rows before it.
    """
    loop, room = asyncio.get_running_loop(), Semaphore(ROOM)
    queue: asyncio.Queue[T | _End] = asyncio.Queue()

    def read() -> None:
        end = _End()
        try:
            for row in rows:
                room.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, row)
        except BaseException as error:  # the boundary: raised again where the rows are used
            end = _End(error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, end)

    Thread(target=read, name="rows", daemon=True).start()
    while True:
        row = await queue.get()
        if isinstance(row, _End):
            if row.error is not None:
                raise row.error
            return
        room.release()
        yield row
