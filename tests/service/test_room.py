"""Frames that wait for room in a queue: in order, not for ever, and without a trace of those that went away."""

from __future__ import annotations

import asyncio
import json

import pytest

from model.spec import ModelSpec
from service.batcher import Answer, Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import Draining, Overloaded, ServiceError
from service.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import SPEC
from tests.service.faults import FaultyStore

LONG_S = 60.0
"""Far more than any frame here has to wait."""


def items(*names: str) -> list[Observation | ServiceError]:
    """An item of each stream."""
    return [Observation(name, {"load": 1.0}) for name in names]


def told(answers: list[Answer]) -> list[object]:
    """The sequence of each reply, the code of each error."""
    return [a.code if isinstance(a, ServiceError) else json.loads(a)["sequence"] for a in answers]


async def full(store: FaultyStore, compute: ComputeThread, **given: int) -> tuple[Engines, Engine, asyncio.Event]:
    """An engine that works on a batch until it is told to go on, and whose queue of two has no room."""
    settings = Settings(**{"max_queue": 2, "max_items_per_request": 2, **given})
    engines = Engines(store, compute, compute, settings, Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    arrived, go_on = store.faults.hold("commit")
    await engine.accept(items("first"), wait_s=0)
    await arrived.wait()
    await engine.accept(items("a", "b"), wait_s=0)
    return engines, engine, go_on


async def test_frames_wait_in_order(store: FaultyStore, compute: ComputeThread) -> None:
    """Each is taken whole; one that went away meanwhile leaves nothing, and one that must not wait is refused."""
    engines, engine, go_on = await full(store, compute)
    waiting = [asyncio.create_task(engine.accept(items("a", "c"), wait_s=LONG_S)) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    with pytest.raises(Overloaded):
        await engine.accept(items("a"), wait_s=0)
    with pytest.raises(Overloaded):
        await engine.submit(items("a"))
    assert not any(task.done() for task in (waiting[0], waiting[2], waiting[3]))
    go_on.set()
    answers = [told(await (await waiting[i])) for i in (0, 2, 3)]
    assert answers == [[2, 1], [3, 2], [4, 3]]
    assert waiting[1].cancelled()
    await engines.drain()


async def test_an_end_wakes_who_waits(store: FaultyStore, compute: ComputeThread) -> None:
    """While the service drains a frame that waits for room is refused, and what was taken is answered."""
    engines, engine, go_on = await full(store, compute)
    taken = asyncio.create_task(engine.accept(items("c"), wait_s=LONG_S))
    await asyncio.sleep(0)
    draining = asyncio.create_task(engines.drain())
    with pytest.raises(Draining):
        await taken
    go_on.set()
    await draining


async def test_a_stream_that_is_full_is_waited_for(store: FaultyStore, compute: ComputeThread) -> None:
    """Where a stream's own bound has no room a frame waits; over REST its item is refused."""
    engines, engine, go_on = await full(store, compute, max_queue=10, max_queue_per_stream=1)
    waiting = asyncio.create_task(engine.accept(items("a"), wait_s=LONG_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert told(await engine.submit(items("a"))) == ["overloaded"], "over REST it is refused in its place"
    go_on.set()
    assert told(await (await waiting)) == [2]
    await engines.drain()


async def test_sequences_are_those_of_the_store(store: FaultyStore, compute: ComputeThread) -> None:
    """They are read in one round trip, without beliefs, and after a commit whose outcome was unknown."""
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    await engine.submit(items("a", "a", "b"))
    store.faults.lose_answer("commit")
    await engine.submit(items("b"))
    store.faults.refuse("load")
    assert await engine.sequences(["b", "a", "none"]) == [2, 2, 0]
    assert await engine.sequences([]) == []
    store.faults.clear()
    await engines.drain()
