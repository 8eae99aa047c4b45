"""The threads that compute, so that the event loop never waits for a step: one learns, one reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


class ComputeThread:
    """Runs calls one at a time, in order; shared by all partitions of the process.

    Args:
        name: Of the thread.
        threads: CPU threads that torch may use within one call.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=name, initializer=torch.set_num_threads, initargs=(threads,)
        )

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``function``; a cancelled wait does not stop a call that has begun."""
        return await asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))

    def close(self) -> None:
        """Wait for the call in progress and end the thread."""
        self._executor.shutdown(wait=True, cancel_futures=True)
