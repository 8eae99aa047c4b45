"""The threads that compute, so that the event loop never waits for a step: one learns, one reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Call:
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def make(self) -> None:
        """Call, and have the loop tell who waits."""
        if self.future.cancelled():
            return
        try:
            result, error = self.function(), None
        except BaseException as raised:
            result, error = None, raised
        self._tell(partial(self._settle, result, error))

    def cancel(self) -> None:
        """Do not call."""
        self._tell(self.future.cancel)

    def _tell(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(callback)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.future.done():  # the wait was cancelled
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class ComputeThread:
    """Runs calls one at a time, in order; shared by all partitions of the process.

    It is no executor of the standard library, as a call through one takes the event loop half as long again.

    Args:
        name: Of the thread.
        threads: CPU threads that torch may use within one call.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, args=(threads,), name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``function``; a cancelled wait does not stop a call that has begun.

        Raises:
            RuntimeError: If the thread was closed.
        """
        if self._is_closed:
            raise RuntimeError(f"the thread {self._thread.name!r} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(_Call(partial(function, *args, **kwargs), loop, future))
        return await future

    def close(self) -> None:
        """Wait for the call in progress and end the thread; calls that wait are cancelled."""
        self._is_closed = True
        self._calls.put(None)
        self._thread.join()

    def _work(self, threads: int) -> None:
        torch.set_num_threads(threads)
        while (call := self._calls.get()) is not None:
            if self._is_closed:
                call.cancel()
            else:
                call.make()
            del call  # with what it was given, and what came of it
