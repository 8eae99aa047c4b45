"""A window: how many items may be taken in before their answers are written."""

from __future__ import annotations

import asyncio


class Window:
    """Counts what was taken in of one connection and is not answered yet. One waits at a time.

    Args:
        most: Items; more are taken only alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._released = asyncio.Event()

    def has_room(self, n: int) -> bool:
        """Whether ``n`` more may be taken now."""
        return not self._taken or self._taken + n <= self._most

    async def take(self, n: int) -> None:
        """Wait until ``n`` more may be taken, and count them."""
        while not self.has_room(n):
            self._released.clear()
            await self._released.wait()
        self._taken += n

    async def emptied(self) -> None:
        """Wait until all that was taken is answered."""
        while self._taken:
            self._released.clear()
            await self._released.wait()

    def release(self, n: int) -> None:
        """Let go of ``n`` that are answered."""
        self._taken -= n
        self._released.set()
