"""Waiting for room in a queue, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from service.batcher import Batcher, Entry
from service.errors import Overloaded

LOOK_AGAIN_S = 0.05
"""Between two looks for room, where other models fill the queue; a batch of the own model is seen at once."""


class Room:
    """Who waits until a batcher has room for a frame.

    Args:
        batcher: Whose queue it is.
        is_over: Whether nothing is queued any more, so that nobody need wait.
    """

    def __init__(self, batcher: Batcher, is_over: Callable[[], bool]) -> None:
        self._batcher = batcher
        self._is_over = is_over
        self._line = asyncio.Lock()
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Say that there may be room."""
        self._changed.set()

    async def wait(self, entries: Sequence[Entry], within_s: float) -> None:
        """Return once there is room for a frame's entries, nothing is queued any more, or the time is over."""
        if not self._line.locked() and self._is_settled(entries):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._line:
                while not self._is_settled(entries):
                    self._changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), LOOK_AGAIN_S)

    def _is_settled(self, entries: Sequence[Entry]) -> bool:
        try:
            self._batcher.refuse_if_full(entries)
        except Overloaded:
            return self._is_over()
        return True
