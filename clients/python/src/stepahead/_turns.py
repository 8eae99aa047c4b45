"""Who may number a stream's items: one call of a client at a time.

A call of one item waits for its turn, holding no other, unless it takes several in the one order of :class:`Locks`. A
feed never waits for one: it asks for the turn of a stream when it is about to send an item of it, goes on with other
streams when it does not get it, and gives it back once nothing of the stream is on its way. So no two callers can wait
for each other, whatever streams they share and in whatever order.

A feed whose caller is busy between two replies still has items on their way. Whoever waits for such a stream then
drives the feed himself until they are answered: a caller may observe a stream in the very loop that feeds it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Protocol

POLL_S = 0.01
"""How often it is looked whether a turn has become free."""


class Holder(Protocol):
    """Whoever holds turns without waiting for any."""

    def let_go(self, turn: object) -> None:
        """Go on until the turn is given back, unless somebody sees to it already."""


class _Asked:
    """What both kinds of turns share: the feeds."""

    def __init__(self) -> None:
        self.wanted = 0
        """Calls of one item that wait."""
        self.asked: Holder | None = None
        """The feed that was refused last."""
        self.holder: Holder | None = None

    def wanted_by_others(self, holder: Holder) -> bool:
        """Whether somebody else waits for what a feed holds."""
        return self.wanted > 0 or self.asked not in {None, holder}

    def _may_take(self, holder: Holder) -> bool:
        """Whether it is a feed's turn; one that has just had it lets another go first, once."""
        if self.wanted or self.asked not in {None, holder}:
            if not self.wanted:
                self.asked = None
            return False
        return True


class Turn(_Asked):
    """A stream's turn among threads; a context manager for calls of one item."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._guard = threading.Lock()

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        with self._guard:
            self.wanted += 1
        try:
            while True:
                holder = self.holder
                if holder is not None:
                    holder.let_go(self)
                if self._lock.acquire(timeout=POLL_S):
                    return
        finally:
            with self._guard:
                self.wanted -= 1

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def take(self, holder: Holder) -> bool:
        """Take the turn for a feed if it is free and nobody waits for it."""
        with self._guard:
            if self._may_take(holder) and self._lock.acquire(blocking=False):
                self.holder, self.asked = holder, None
                return True
            if self.holder is not None:
                self.asked = holder
            return False

    def give(self) -> None:
        """Give back what :meth:`take` took."""
        self.holder = None
        self._lock.release()


class AsyncTurn(_Asked):
    """A stream's turn among the tasks of an event loop; an asynchronous context manager for calls of one item."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if not self._taken and not self._waiters:
            self._taken = True
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self.wanted += 1
        try:
            await waiter  # the turn is then this one's: nobody else can take it in between
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._pass_on()
            raise
        finally:
            self.wanted -= 1
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def take(self, holder: Holder) -> bool:
        """See :meth:`Turn.take`."""
        if self._may_take(holder) and not self._taken:
            self._taken, self.holder, self.asked = True, holder, None
            return True
        if self.holder is not None:
            self.asked = holder
        return False

    def give(self) -> None:
        """See :meth:`Turn.give`."""
        self.holder = None
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._taken = False
