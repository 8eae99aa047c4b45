"""The thread that computes: in order, one at a time, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from service.compute import ComputeThread


@pytest.fixture
def thread() -> Iterator[ComputeThread]:
    """One that is closed at the end."""
    thread = ComputeThread("computing", threads=1)
    yield thread
    thread.close()


async def test_a_call_gives_its_result_or_raises(thread: ComputeThread) -> None:
    """In another thread than the event loop's, always the same."""
    assert await thread.run(divmod, 7, 2) == (3, 1)
    assert await thread.run(int, "11", base=2) == 3
    with pytest.raises(ZeroDivisionError):
        await thread.run(divmod, 1, 0)
    names = {(await thread.run(threading.current_thread)).name for _ in range(3)}
    assert names == {"computing"}


async def test_calls_are_made_in_order(thread: ComputeThread) -> None:
    """However many wait."""
    made: list[int] = []
    await asyncio.gather(*(thread.run(made.append, i) for i in range(100)))
    assert made == list(range(100))


async def test_a_call_whose_wait_was_cancelled_is_not_begun(thread: ComputeThread) -> None:
    """One that has begun goes on, and harms nobody."""
    begun, go_on, made = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        go_on.wait()
        made.append("first")

    waits = [asyncio.create_task(thread.run(first)), asyncio.create_task(thread.run(made.append, "second"))]
    await asyncio.to_thread(begun.wait)
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    go_on.set()
    await thread.run(made.append, "third")
    assert made == ["first", "third"]


async def test_closing_waits_for_the_call_in_progress_only() -> None:
    """What waits behind it is cancelled, and nothing more is taken."""
    thread = ComputeThread("computing", threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go_on.wait()
        return "done"

    waits = [asyncio.create_task(thread.run(first)), asyncio.create_task(thread.run(divmod, 1, 1))]
    await asyncio.to_thread(begun.wait)
    closing = asyncio.create_task(asyncio.to_thread(thread.close))
    while not thread._is_closed:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    go_on.set()
    await closing
    assert await waits[0] == "done"
    await asyncio.wait(waits)
    assert waits[1].cancelled()
    with pytest.raises(RuntimeError):
        await thread.run(divmod, 1, 1)


async def test_nothing_of_a_call_is_kept(thread: ComputeThread) -> None:
    """Not what it was given, though no other call comes."""

    class Large:
        """Stands for a batch of beliefs."""

    given = Large()
    told = weakref.ref(given)
    await thread.run(id, given)
    del given
    while told() is not None:  # the thread lets go right after it told the loop
        gc.collect()
        await asyncio.sleep(0)
