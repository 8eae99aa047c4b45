"""Models that leave memory and come back: nobody notices but by the time it takes."""

from __future__ import annotations

import asyncio
import json
from threading import Event
from typing import Any

import pytest
import redis

from model.learner import Learner
from model.spec import ModelSpec
from service import open_engines, preparing
from service.api.snapshots import drop_weights, keep_weights
from service.batcher import Answer, Observation
from service.compute import ComputeThread
from service.engines import Engines
from service.errors import (
    Draining,
    Overloaded,
    ServiceError,
    StoreUnavailable,
    UnknownModel,
    UnknownSnapshot,
    WeightsLost,
)
from service.metrics import Metrics
from service.recovery import REDONE_AT_ONCE
from service.settings import Settings
from service.store import Store
from service.store.keys import PartitionKeys
from service.views import summary
from tests.service.conftest import SPEC
from tests.service.faults import FaultyStore
from tests.stored import stored_weights

MODELS = [f"m{i}" for i in range(6)]


class Clock:
    """Time that stands still until it is told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which models are idle."""
    clock = Clock()
    monkeypatch.setattr("service.open_engines.monotonic", clock)
    monkeypatch.setattr("service.residents.monotonic", clock)
    return clock


async def engines_of(store: Store, compute: ComputeThread, *models: str, **given: Any) -> tuple[Engines, Metrics]:
    """Engines with these models, and what they report to."""
    metrics = Metrics()
    engines = Engines(store, compute, compute, Settings(**given), metrics)
    for model in models:
        await engines.create(model, ModelSpec.from_dict(SPEC))
    return engines, metrics


async def send(engines: Engines, model: str, *numbers: int) -> list[Answer]:
    """Send the numbered items of the model's one stream in one frame."""
    items = [Observation("s", {"load": float(n * n % 7)}, n) for n in numbers]
    async with engines.use(model) as engine:
        return await engine.submit(items)


def in_memory(engines: Engines) -> set[str]:
    """Models that are open."""
    return {model for model in MODELS if engines.weights_version(model) is not None}


async def run_of(store: Store, compute: ComputeThread, n_items: int, **given: Any) -> tuple[dict[str, Any], Metrics]:
    """All models fed at once, each a frame per item, all frames sent before the first answer; answers and weights."""
    engines, metrics = await engines_of(store, compute, *MODELS, **given)
    sending = {m: [asyncio.create_task(send(engines, m, n)) for n in range(1, n_items + 1)] for m in MODELS}
    answers = {m: await asyncio.gather(*tasks) for m, tasks in sending.items()}
    await engines.drain()
    weights = {m: await stored_weights(store.partition(m)) for m in MODELS}
    return {"answers": answers, "weights": weights}, metrics


async def test_models_that_come_and_go_answer_as_if_they_stayed(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two of six that are used at once, replies and weights are to the bit those of a run with room."""
    monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 60.0)
    there, _ = await run_of(store, compute, 30)
    for model in MODELS:
        await store.delete_model(model)
    came_and_went, _ = await run_of(store, compute, 30, max_open_models=2)
    assert came_and_went["answers"] == there["answers"]
    assert came_and_went["weights"] == there["weights"]


async def test_frames_one_after_the_other_over_more_models_than_fit(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model is opened again and again, and each goes on where it was; never are more open than may be."""
    monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 60.0)
    engines, metrics = await engines_of(store, compute, *MODELS, max_open_models=2)

    async def feed(model: str) -> list[Any]:
        sequences = []
        for n in range(1, 13):
            (answer,) = await send(engines, model, n)
            assert isinstance(answer, bytes), answer
            sequences.append(json.loads(answer)["sequence"])
            assert len(in_memory(engines)) <= 2
        return sequences

    assert await asyncio.gather(*map(feed, MODELS)) == [list(range(1, 13))] * len(MODELS)
    assert metrics.registry.get_sample_value("stepahead_models") == 2
    await engines.drain()


async def test_an_idle_model_leaves_memory(store: FaultyStore, compute: ComputeThread, clock: Clock) -> None:
    """Past its time without use it is closed with all its metrics, the others stay, and its next item opens it."""
    engines, metrics = await engines_of(store, compute, "m0", "m1", model_idle_s=60)
    for model in ("m0", "m1"):
        await send(engines, model, 1)
    clock.now_s += 40
    await send(engines, "m1", 2)
    await engines.close_idle()
    assert in_memory(engines) == {"m0", "m1"}
    clock.now_s += 40
    await engines.close_idle()
    assert in_memory(engines) == {"m1"}
    text = metrics.render().decode()
    assert 'model="m1"' in text
    assert 'model="m0"' not in text
    assert [json.loads(a)["sequence"] for a in await send(engines, "m0", 2) if isinstance(a, bytes)] == [2]
    await engines.drain()


async def test_idle_models_leave_by_themselves(store: FaultyStore, compute: ComputeThread) -> None:
    """Nobody has to ask for it."""
    engines, _ = await engines_of(store, compute, "m0", model_idle_s=0.01)
    await send(engines, "m0", 1)
    async with asyncio.timeout(60):
        while in_memory(engines):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert isinstance((await send(engines, "m0", 2))[0], bytes)
    await engines.drain()


async def test_a_model_in_use_stays(store: FaultyStore, compute: ComputeThread, clock: Clock) -> None:
    """Neither one with an item in progress, nor one that is held, nor one that is read is closed, however long."""
    engines, _ = await engines_of(store, compute, "m0", "m1", "m2", model_idle_s=1)
    await send(engines, "m2", 1)
    arrived, go_on = store.faults.hold("load")
    working = asyncio.create_task((await engines.get("m0")).submit([Observation("s", {"load": 1.0})]))
    await arrived.wait()
    looked, see = store.faults.hold("list_streams")
    looking = asyncio.create_task((await engines.get("m2")).reader.read_page("", 10, summary))
    await looked.wait()
    async with engines.use("m1") as engine, engines.use("m2"):
        clock.now_s += 100
        await engines.close_idle()
        assert in_memory(engines) == {"m0", "m1", "m2"}
        assert isinstance((await engine.submit([Observation("s", {"load": 1.0})]))[0], bytes)
        see.set()
        rows, _ = await looking
        assert len(rows) == 1
    go_on.set()
    assert isinstance((await working)[0], bytes)
    clock.now_s += 100
    await engines.close_idle()
    assert in_memory(engines) == set()


async def test_a_call_that_waits_for_its_turn_is_a_use(
    store: FaultyStore, compute: ComputeThread, clock: Clock
) -> None:
    """A model is not closed between the end of what a call waits for and the call, be it only about snapshots."""
    engines, _ = await engines_of(store, compute, "m0", model_idle_s=1)
    turn = (await engines.get("m0"))._loop.turn
    await turn.acquire()
    keeping = asyncio.create_task(keep_weights("m0", engines))
    dropping = asyncio.create_task(drop_weights("m0", "unknown", engines))
    await asyncio.sleep(0)
    clock.now_s += 100
    turn.release()
    await engines.close_idle()
    assert (await keeping).status_code == 201
    with pytest.raises(UnknownSnapshot):
        await dropping
    await engines.drain()


async def test_a_model_that_cannot_be_opened_is_left_to_others(
    store: FaultyStore, compute: ComputeThread, url: str
) -> None:
    """Who finds its weights unreadable gives the lease back: another version of the service may read them."""
    engines, _ = await engines_of(store, compute, "m0")
    with redis.Redis.from_url(url) as raw:
        raw.hset(PartitionKeys("m0").weights, mapping={"version": 3, "last": 3})
        raw.set(PartitionKeys("m0").snapshot, b"rubbish")
        with pytest.raises(WeightsLost):
            await engines.get("m0")
        assert not raw.exists(PartitionKeys("m0").lease)
    await engines.drain()


async def test_the_one_used_longest_ago_gives_way(store: FaultyStore, compute: ComputeThread) -> None:
    """A model that does not fit takes the place of the least recently used one."""
    engines, _ = await engines_of(store, compute, "m0", "m1", "m2", max_open_models=2)
    for model, number in (("m0", 1), ("m1", 1), ("m0", 2), ("m2", 1)):
        await send(engines, model, number)
    assert in_memory(engines) == {"m0", "m2"}
    await engines.drain()


async def test_a_model_that_there_is_not_takes_no_room(store: FaultyStore, compute: ComputeThread) -> None:
    """Whoever asks for names that nobody knows drives no model out."""
    engines, _ = await engines_of(store, compute, "m0", max_open_models=1)
    await send(engines, "m0", 1)
    with pytest.raises(UnknownModel):
        await send(engines, "unknown", 1)
    assert in_memory(engines) == {"m0"}
    await engines.drain()


async def test_without_room_a_model_waits_for_a_while(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all models in memory are in use another one is ``overloaded``; it is served once one is released."""
    engines, _ = await engines_of(store, compute, "m0", "m1", max_open_models=1)
    async with engines.use("m0"):
        monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 0.02)
        with pytest.raises(Overloaded) as refused:
            await send(engines, "m1", 1)
        assert refused.value.data["max_open_models"] == 1
        monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 60.0)
        waiting = asyncio.create_task(send(engines, "m1", 1))
        await asyncio.sleep(0)
        await send(engines, "m0", 1)
        assert not waiting.done()
    assert isinstance((await waiting)[0], bytes)
    await engines.drain()


async def test_a_call_that_meets_a_closing_model_gets_a_new_one(store: FaultyStore, compute: ComputeThread) -> None:
    """It waits until the old one has closed, and is answered by the next."""
    engines, _ = await engines_of(store, compute, "m0", "m1", max_open_models=1)
    await send(engines, "m0", *range(1, REDONE_AT_ONCE + 3))
    arrived, go_on = store.faults.hold("save_weights")
    other = asyncio.create_task(send(engines, "m1", 1))
    await arrived.wait()
    meeting = asyncio.create_task(send(engines, "m0", REDONE_AT_ONCE + 3))
    await asyncio.sleep(0)
    assert not meeting.done()
    go_on.set()
    for sent in (other, meeting):
        assert isinstance((await sent)[0], bytes)
    await engines.drain()


async def test_closing_snapshots_where_redoing_is_long(store: FaultyStore, compute: ComputeThread) -> None:
    """A few redo records are left as they are, many are replaced by a snapshot."""
    engines, _ = await engines_of(store, compute, "m0", "m1", "m2", max_open_models=1)
    await send(engines, "m0", 1, 2, 3)
    await send(engines, "m1", *range(1, REDONE_AT_ONCE + 3))
    await send(engines, "m2", 1)
    _, snapshot, records = await stored_weights(store.partition("m0"))
    assert (snapshot, len(records)) == (None, 2)
    version, snapshot, records = await stored_weights(store.partition("m1"))
    assert snapshot is not None
    assert (version, records) == (REDONE_AT_ONCE + 1, [])
    await engines.drain()


async def test_a_snapshot_that_fails_loses_nothing(store: FaultyStore, compute: ComputeThread, url: str) -> None:
    """The model is closed without one, is anybody's to have, and comes back from the redo log."""
    engines, _ = await engines_of(store, compute, "m0", "m1", max_open_models=1)
    n = REDONE_AT_ONCE + 2
    await send(engines, "m0", *range(1, n + 1))
    store.faults.refuse("save_weights", StoreUnavailable("refused by the test"))
    await send(engines, "m1", 1)
    assert in_memory(engines) == {"m1"}
    with redis.Redis.from_url(url) as raw:
        assert not raw.exists(PartitionKeys("m0").lease)
    (answer,) = await send(engines, "m0", n + 1)
    assert isinstance(answer, bytes)
    assert json.loads(answer)["sequence"] == n + 1
    await engines.drain()


async def test_who_waits_for_a_model_to_open_is_not_overtaken(store: FaultyStore, compute: ComputeThread) -> None:
    """Calls that came while it opened go before one that finds it open."""
    engines, _ = await engines_of(store, compute, "m0")
    arrived, go_on = store.faults.hold("load_versions")

    async def first() -> list[Answer]:
        async with engines.use("m0") as engine:
            late = asyncio.create_task(send(engines, "m0", 4))
            return await engine.submit([Observation("s", {"load": 1.0}, 1)]) + await late

    opening = asyncio.create_task(first())
    await arrived.wait()
    waiting = [asyncio.create_task(send(engines, "m0", n)) for n in (2, 3)]
    await asyncio.sleep(0)
    go_on.set()
    for answers in await asyncio.gather(opening, *waiting):
        assert all(isinstance(answer, bytes) for answer in answers), answers
    await engines.drain()


async def test_opening_a_model_keeps_no_other_waiting(store: FaultyStore, compute: ComputeThread) -> None:
    """While the weights of one are on their way others are opened and learn."""
    engines, _ = await engines_of(store, compute, "m0", "m1")
    arrived, go_on = store.faults.hold("load_versions")
    opening = asyncio.create_task(send(engines, "m0", 1))
    await arrived.wait()
    assert isinstance((await send(engines, "m1", 1))[0], bytes)
    go_on.set()
    assert isinstance((await opening)[0], bytes)
    await engines.drain()


async def test_redoing_a_long_log_keeps_no_other_waiting(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others learn between two parts of a long log that is redone."""
    monkeypatch.setattr(preparing, "INLINE_S", 0.0)  # what is short would not even go to the thread
    engines, _ = await engines_of(store, compute, "m0", "m1")
    await send(engines, "m0", *range(1, 4 * REDONE_AT_ONCE))
    await send(engines, "m1", 1)
    await engines.abort()
    again, _ = await engines_of(store, compute)
    await send(again, "m1", 2)
    order: list[str] = []
    began, go_on = Event(), Event()
    redo, step = Learner.redo, Learner.step

    def noted_redo(learner: Learner, record: bytes) -> None:
        order.append("redo")
        began.set()
        assert go_on.wait(60)
        redo(learner, record)

    def noted_step(learner: Learner, *args: Any) -> Any:
        order.append("learned")
        return step(learner, *args)

    def started(call: Any, *args: Any) -> Any:
        if began.is_set():
            go_on.set()  # once a call of the other model stands behind the records that are redone now
        return run(call, *args)

    run = compute.run
    opening = asyncio.create_task(send(again, "m0", 4 * REDONE_AT_ONCE))
    monkeypatch.setattr(Learner, "redo", noted_redo)
    monkeypatch.setattr(Learner, "step", noted_step)
    assert await asyncio.to_thread(began.wait, 60)
    monkeypatch.setattr(compute, "run", started)
    await asyncio.gather(opening, send(again, "m1", 3))
    assert order.count("redo") == 4 * REDONE_AT_ONCE - 2
    assert REDONE_AT_ONCE <= order.index("learned") < order.count("redo")
    await again.drain()


async def test_models_over_the_bytes_leave(store: FaultyStore, compute: ComputeThread) -> None:
    """Of models that take too much memory together those used longest ago leave; one alone may take what it needs."""
    large = ModelSpec.from_dict({**SPEC, "hidden": 128})
    engines, _ = await engines_of(store, compute, max_models_bytes=2**20)
    for model in MODELS[:2]:
        await engines.create(model, large)
    await send(engines, "m0", 1)
    assert in_memory(engines) == {"m0"}
    await send(engines, "m1", 1)
    assert in_memory(engines) == {"m1"}
    await engines.close_idle()
    assert in_memory(engines) == {"m1"}
    await engines.drain()


async def test_a_caller_that_goes_away_leaves_no_trace(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it waited for room, or for its model to open, the next call is served as if it had not been."""
    monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 60.0)
    engines, _ = await engines_of(store, compute, "m0", "m1", max_open_models=1)
    async with engines.use("m0"):
        gone = asyncio.create_task(send(engines, "m1", 1))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
    arrived, go_on = store.faults.hold("load_versions")
    gone = asyncio.create_task(send(engines, "m1", 1))
    await arrived.wait()
    gone.cancel()
    await asyncio.wait([gone])
    go_on.set()
    for model in ("m1", "m0"):
        assert isinstance((await send(engines, model, 1))[0], bytes)
    await engines.drain()


async def test_who_waits_for_room_hears_that_the_service_ends(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for room when the service begins to drain is ``draining``."""
    monkeypatch.setattr(open_engines, "ROOM_WAIT_S", 60.0)
    engines, _ = await engines_of(store, compute, "m0", "m1", max_open_models=1)
    async with engines.use("m0"):
        waiting = asyncio.create_task(send(engines, "m1", 1))
        await asyncio.sleep(0)
        await engines.drain()
        with pytest.raises(Draining):
            await waiting


async def test_reads_are_bounded(store: FaultyStore, compute: ComputeThread) -> None:
    """One read more than may be in progress is ``overloaded``, over all models; afterwards there is room."""
    engines, _ = await engines_of(store, compute, "m0", "m1", max_reads=1)
    await send(engines, "m0", 1)
    await send(engines, "m1", 1)
    arrived, go_on = store.faults.hold("load")
    async with engines.use("m0") as one, engines.use("m1") as other:
        first = asyncio.create_task(one.reader.read("s", summary))
        await arrived.wait()
        for look in (other.reader.read("s", summary), other.reader.read_page("", 1, summary)):
            with pytest.raises(Overloaded) as refused:
                await look
            assert refused.value.data == {"max_reads": 1}
        go_on.set()
        assert (await first)["sequence"] == 1
        assert (await other.reader.read("s", summary))["sequence"] == 1
    await engines.drain()


async def test_an_estimated_wait_refuses_a_frame(store: FaultyStore, compute: ComputeThread) -> None:
    """What waits in the queue of an engine whose batches take long keeps further frames out, until it is done."""
    engines, _ = await engines_of(store, compute, "m0", max_wait_s=0.001)
    arrived, go_on = store.faults.hold("load")
    async with engines.use("m0") as engine:
        first = asyncio.create_task(engine.submit([Observation("s", {"load": 1.0})]))
        await arrived.wait()
        engine._batcher.pace.count(100.0, 1)  # as if an earlier batch had taken so long
        second = asyncio.create_task(engine.submit([Observation("s", {"load": 1.0})]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await engine.submit([Observation("s", {"load": 1.0})])
        assert refused.value.retry_after_s is not None
        assert refused.value.retry_after_s >= 20
        go_on.set()
        for sent in (first, second):
            assert not any(isinstance(answer, ServiceError) for answer in await sent)
        assert isinstance((await engine.submit([Observation("s", {"load": 1.0})]))[0], bytes)
    await engines.drain()
