"""The engine when things go wrong: nobody is left waiting, nothing is learned twice, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from threading import Event
from typing import Any

import pytest
import redis

from model.belief import Beliefs, belief_dtype
from model.items import Items, parse_item
from model.learner import Learner
from model.spec import ModelSpec
from service.batcher import Answer, Entry, Frame, Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import (
    Draining,
    LeaseLost,
    Overloaded,
    ServiceError,
    StoreFull,
    StoreUnavailable,
    TakenOver,
    UnknownModel,
)
from service.metrics import Metrics
from service.rounds import Attempt
from service.settings import Settings
from service.settle import applied
from service.store import Kept, Store
from service.store.keys import PartitionKeys
from service.views import summary
from tests.service.conftest import SPEC
from tests.service.faults import FaultyStore
from tests.stored import stored_weights


@pytest.fixture
async def engines(store: FaultyStore, compute: ComputeThread) -> AsyncIterator[Engines]:
    """Engines on the faulty store; there is a model ``m``."""
    engines = engines_on(store, compute)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    yield engines
    await engines.drain()


def engines_on(store: Store, compute: ComputeThread, **given: Any) -> Engines:
    """A process of its own, as far as the store can tell."""
    return Engines(store, compute, compute, Settings(**given), Metrics())


async def send(engine: Engine, *loads: float, stream: str = "s", first: int | None = None) -> list[Answer]:
    """Send items of one stream in one frame, numbered from ``first``."""
    return await engine.submit(
        [Observation(stream, {"load": load}, None if first is None else first + i) for i, load in enumerate(loads)]
    )


def codes(answers: list[Answer]) -> list[Any]:
    """The sequence of each reply, and the code of each error."""
    return [a.code if isinstance(a, ServiceError) else json.loads(a)["sequence"] for a in answers]


async def uninterrupted(store: Store, compute: ComputeThread, loads: list[float]) -> list[Answer]:
    """What a run without faults answers, by a model of the same spec."""
    engines = engines_on(store, compute)
    await engines.create("undisturbed", ModelSpec.from_dict(SPEC))
    engine = await engines.get("undisturbed")
    answers = [(await send(engine, load))[0] for load in loads]
    await engines.drain()
    return answers


async def test_the_setting_says_where_a_model_computes(store: FaultyStore, compute: ComputeThread) -> None:
    """A fresh model and one that is recovered compute there, and the weights keep their bits."""
    settings = Settings(snapshot_every_updates=20).model_copy(update={"device": "cpu:0"})  # torch, without a GPU
    weights = []
    for first in (1, 13, 25):
        engines = Engines(store, compute, compute, settings, Metrics())
        if first == 1:
            await engines.create("m", ModelSpec.from_dict(SPEC))
        engine = await engines.get("m")
        async with engine.between_batches() as turn:
            assert turn.learner.device == "cpu:0"
            assert not weights or turn.learner.encode_weights() == weights[-1]
        for n in range(first, first + 12):
            assert codes(await send(engine, float(n % 5), first=n)) == [n]
        async with engine.between_batches() as turn:
            weights.append(turn.learner.encode_weights())
        await engines.drain()
    assert len(set(weights)) == 3


@pytest.mark.parametrize(("call", "times"), [("load", 1), ("load_replies", 1), ("commit", 2)])
async def test_a_store_that_stays_away_answers_the_caller(
    store: FaultyStore, compute: ComputeThread, call: str, times: int
) -> None:
    """A read has waited for it by itself, a commit is tried twice; then the caller hears of it, and may send again."""
    engines = engines_on(store, compute, belief_cache_bytes=0)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    assert codes(await send(engine, 1.0, first=1)) == [1]
    store.faults.refuse(call, times=times)
    sent = 1 if call == "load_replies" else 2
    assert codes(await send(engine, float(sent), first=sent)) == ["store_unavailable"]
    assert codes(await send(engine, float(sent), first=sent)) == [sent]
    await engines.drain()


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
async def test_a_commit_in_doubt_is_settled_by_reading(
    engines: Engines, store: FaultyStore, compute: ComputeThread, applied: bool, numbered: bool
) -> None:
    """When a commit's answer is lost the caller gets the reply of an undisturbed run, whatever came of the commit."""
    loads = [1.0, 3.0, 2.0, 5.0, 4.0]
    expected = await uninterrupted(store, compute, loads)
    engine = await engines.get("m")
    answers = []
    for n, load in enumerate(loads, 1):
        if applied:
            store.faults.lose_answer("commit")
        else:
            store.faults.refuse("commit")
        answers += await send(engine, load, first=n if numbered else None)
    assert answers == expected


async def test_a_commit_in_doubt_is_settled_for_each_stream(engines: Engines, store: FaultyStore) -> None:
    """What was answered before the commit keeps its answer: each item is learned, refused or repeated."""
    engine = await engines.get("m")
    await engine.submit([Observation(s, {"load": 1.0}) for s in "abc"])
    store.faults.lose_answer("commit")
    rows = [
        Observation("a", {"load": 2.0}),
        Observation("b", {"load": 1.0}, 1),
        Observation("c", {"load": 5.0}, 5),
        Observation("d", {"load": 1.0}),
    ]
    assert codes(await engine.submit(rows)) == [2, 1, "sequence_gap", 1]
    assert [row["sequence"] for row in (await engine.reader.read_page("", 9, summary))[0]] == [2, 1, 1, 1]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_doubt_that_stays_is_settled_by_the_resend(
    engines: Engines, store: FaultyStore, compute: ComputeThread, applied: bool
) -> None:
    """While the store stays away callers hear of it; the resend has the reply of an undisturbed run."""
    loads = [1.0, 3.0, 2.0, 5.0, 4.0]
    expected = await uninterrupted(store, compute, loads)
    engine = await engines.get("m")
    answers = [(await send(engine, load))[0] for load in loads[:2]]
    if applied:
        store.faults.lose_answer("commit")
    else:
        store.faults.refuse("commit")
    store.faults.refuse("acquire")
    assert codes(await send(engine, loads[2], first=3)) == ["store_unavailable"]
    (again,) = await send(engine, loads[2], first=3)
    assert isinstance(again, bytes)
    assert json.loads(again)["duplicate"] is applied
    answers.append(again.replace(b'"duplicate":true', b'"duplicate":false'))
    answers += [(await send(engine, load))[0] for load in loads[3:]]
    assert answers == expected


async def test_a_write_that_is_cancelled_is_in_doubt(engines: Engines, store: FaultyStore, url: str) -> None:
    """It may still be under way, so the lease is taken again before the next item: a late one is then refused."""
    engine = await engines.get("m")
    await send(engine, 1.0, 2.0)
    arrived, _ = store.faults.hold("delete_stream")
    deleting = asyncio.create_task(engine.delete_stream("s"))
    await arrived.wait()
    with redis.Redis.from_url(url) as raw:
        lease = raw.get(PartitionKeys("m").lease)
        deleting.cancel()
        assert codes(await send(engine, 3.0)) == [3]
        assert raw.get(PartitionKeys("m").lease) != lease


async def test_an_outcome_that_can_no_longer_be_told_is_told_so(engines: Engines, store: FaultyStore) -> None:
    """Where another owner wrote more than is kept, or the stream expired, nothing is learned a second time."""
    engine = await engines.get("m")
    await send(engine, *([1.0] * 20))
    items = Items.of(engine.spec, [parse_item(engine.spec, {"load": 1.0})] * 3)
    frame = Frame(items, asyncio.get_running_loop().create_future())
    lost = b"a reply that is not kept"
    attempts = [
        Attempt(Entry("s", None, frame, 0), Kept(2, lost), b""),
        Attempt(Entry("s", 3, frame, 1), Kept(3, lost), b""),
        Attempt(Entry("expired", None, frame, 2), Kept(7, lost), b""),
    ]
    assert await applied([[attempt] for attempt in attempts], store.partition("m")) == []
    assert [attempt.entry.is_answered for attempt in attempts] == [True, False, True]


async def test_a_full_store_answers_at_once_and_harms_nothing(
    engines: Engines, store: FaultyStore, compute: ComputeThread, url: str
) -> None:
    """Nothing is written, nothing is tried again, and once there is room all goes on as if nothing had been."""
    loads = [1.0, 3.0, 2.0, 5.0]
    expected = await uninterrupted(store, compute, loads)
    engine = await engines.get("m")
    answers = [(await send(engine, load))[0] for load in loads[:2]]
    with redis.Redis.from_url(url) as raw:
        before = raw.dump(PartitionKeys("m").stream("s"))
        lease = raw.get(PartitionKeys("m").lease)
        raw.config_set("maxmemory", "1mb")
        try:
            (refused,) = await send(engine, loads[2])
        finally:
            raw.config_set("maxmemory", "0")
        assert isinstance(refused, StoreFull)
        assert raw.dump(PartitionKeys("m").stream("s")) == before
        answers += [(await send(engine, load))[0] for load in loads[2:]]
        assert raw.get(PartitionKeys("m").lease) == lease
    assert answers == expected


@pytest.mark.parametrize("order", [1, -1])
async def test_a_batch_does_not_depend_on_who_came_first(
    store: FaultyStore, compute: ComputeThread, order: int
) -> None:
    """The same items of several streams in another order lead to the same bits."""
    for name, direction in (("m", 1), ("other", order)):
        engines = engines_on(store, compute)
        await engines.create(name, ModelSpec.from_dict(SPEC))
        engine = await engines.get(name)
        for n in range(5):
            await engine.submit([Observation(s, {"load": ord(s) * n % 7}) for s in "cabfed"[::direction]])
        await engines.drain()
    found = [await stored_weights(store.partition(name)) for name in ("m", "other")]
    assert found[0] == found[1]


async def test_another_owner_takes_over_and_back(
    engines: Engines, store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that lost its lease writes nothing, says so, and goes on from what the other one left."""
    monkeypatch.setattr("service.lease.FIRST_WAIT_S", 0.0)
    loads = [1.0, 3.0, 2.0, 5.0]
    expected = await uninterrupted(store, compute, loads)
    ours = await engines.get("m")
    answers = [(await send(ours, loads[0]))[0]]
    others = engines_on(store, compute)
    theirs = await others.get("m")
    answers += [(await send(theirs, loads[1]))[0]]
    assert codes(await send(ours, 9.0, first=3)) == ["store_unavailable"]
    answers += [(await send(ours, load))[0] for load in loads[2:]]
    assert answers == expected
    assert codes(await send(theirs, 9.0, first=5)) == ["store_unavailable"]


async def test_a_lost_lease_is_not_taken_back_at_once(
    engines: Engines, store: FaultyStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``LeaseLost`` is answered, for a while all calls are ``store_unavailable``, then the next item goes through."""
    now_s = 1000.0
    monkeypatch.setattr("service.lease.monotonic", lambda: now_s)
    engine = await engines.get("m")
    store.faults.refuse("commit", LeaseLost("m:0"))
    (answer,) = await send(engine, 1.0)
    assert isinstance(answer, LeaseLost)
    with redis.Redis.from_url(url) as raw:
        lease = raw.get(PartitionKeys("m").lease)
    (meanwhile,) = await send(engine, 1.0)
    assert isinstance(meanwhile, TakenOver)
    assert meanwhile.retry_after_s == 1
    with pytest.raises(TakenOver):
        await engine.reader.read("s", summary)
    with redis.Redis.from_url(url) as raw:
        assert raw.get(PartitionKeys("m").lease) == lease
    now_s += 1.0
    assert codes(await send(engine, 1.0)) == [1]


async def test_learning_goes_on_while_a_stream_is_looked_at(store: FaultyStore, compute: ComputeThread) -> None:
    """However long a look takes, items are learned meanwhile, and it sees the weights and the belief it began with."""
    reading = ComputeThread("reader", threads=1)
    engines = Engines(store, compute, reading, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    await send(engine, 1.0, 2.0)
    began, go_on = Event(), Event()

    def look(learner: Learner, belief: Beliefs, *_: object) -> tuple[int, int]:
        began.set()
        assert go_on.wait(10)
        return learner.version, int(belief.sequence[0])

    seen = asyncio.create_task(engine.reader.read("s", look))
    assert await asyncio.to_thread(began.wait, 10)
    assert codes(await send(engine, 3.0, 4.0)) == [3, 4]
    go_on.set()
    assert await seen == (1, 2)
    assert engine.weights_version == 3
    await engines.drain()
    reading.close()


async def test_a_stream_that_goes_ends_no_page(engines: Engines, store: FaultyStore, url: str) -> None:
    """Where a stream expires between listing and reading, the page is short and the next one begins after it."""
    engine = await engines.get("m")
    await engine.submit([Observation(s, {"load": 1.0}) for s in "abcd"])
    arrived, go_on = store.faults.hold("load")
    page = asyncio.create_task(engine.reader.read_page("", 2, summary))
    await arrived.wait()
    with redis.Redis.from_url(url) as raw:
        raw.delete(PartitionKeys("m").stream("b"))
    go_on.set()
    rows, after = await page
    assert ([row["stream"] for row in rows], after) == (["a"], "b")
    rows, after = await engine.reader.read_page("b", 3, summary)
    assert ([row["stream"] for row in rows], after) == (["c", "d"], None)


async def test_large_beliefs_make_small_batches(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch, and what a page reads at once, holds no more bytes of beliefs than the bound, and at least one."""
    spec = ModelSpec.from_dict(SPEC)
    metrics = Metrics()
    engines = Engines(store, compute, compute, Settings(), metrics)
    await engines.create("m", spec)
    engine = await engines.get("m")
    for bound, batches in ((2 * belief_dtype(spec).itemsize, 2), (1, 4 + 2)):
        monkeypatch.setattr("service.engine.MAX_BATCH_BYTES", bound)
        await engine.submit([Observation(s, {"load": 1.0}) for s in "abcd"])
        assert metrics.registry.get_sample_value("stepahead_batch_items_count") == batches
        rows, _ = await engine.reader.read_page("", 4, summary)
        assert [row["stream"] for row in rows] == list("abcd")
    await engines.drain()


async def test_failing_house_keeping_ends_nothing(
    store: FaultyStore, compute: ComputeThread, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks between two batches is logged, and the next item goes through."""
    engines = engines_on(store, compute, snapshot_every_updates=1)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    store.faults.refuse("save_weights", RuntimeError("unforeseen"))
    assert codes(await send(engine, 1.0, 2.0)) == [1, 2]
    assert codes(await send(engine, 3.0)) == [3]
    assert engine.is_open
    assert "unforeseen" in caplog.text
    await engines.drain()


async def test_an_abort_answers_whoever_waits(engines: Engines, store: FaultyStore) -> None:
    """It waits for nothing, and a drain after it has nothing to do."""
    engine = await engines.get("m")
    arrived, _ = store.faults.hold("commit")
    stuck = asyncio.create_task(send(engine, 1.0, 2.0))
    await arrived.wait()
    await engines.abort()
    await engines.drain()
    assert codes(await stuck) == ["draining", "draining"]
    assert (await stored_weights(store.partition("m")))[1] is None


async def test_an_unforeseen_error_answers_the_batch(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks is ``internal``, takes the stream's later items of the frame with it, and harms nobody else."""
    engine = await engines.get("m")
    step = Learner.step

    def broken(*_: Any) -> None:
        monkeypatch.setattr(Learner, "step", step)
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Learner, "step", broken)
    together = await asyncio.gather(send(engine, 1.0, 2.0), send(engine, 3.0))
    assert codes(together[0]) == ["internal", "internal"]
    assert codes(together[1]) == [1]
    assert "secret" not in str(together[0][0])


async def test_what_follows_a_failed_item_is_not_learned(engines: Engines, store: FaultyStore) -> None:
    """Items without a sequence never overtake one that failed."""
    engine = await engines.get("m")
    store.faults.refuse("commit", times=2)
    assert codes(await send(engine, 1.0, 2.0, 3.0)) == ["store_unavailable"] * 3
    assert codes(await send(engine, 1.0, 2.0, 3.0)) == [1, 2, 3]


async def test_a_full_queue_refuses_a_frame_whole(store: FaultyStore, compute: ComputeThread) -> None:
    """While a batch is in progress the queue fills up to its bound and no further; all that was taken is answered."""
    engines = engines_on(store, compute, max_queue=2, max_items_per_request=2)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    arrived, go_on = store.faults.hold("load")
    in_progress = asyncio.create_task(send(engine, 1.0))
    await arrived.wait()
    waiting = asyncio.create_task(send(engine, 2.0, 3.0))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await send(engine, 4.0)
    go_on.set()
    assert codes(await in_progress + await waiting) == [1, 2, 3]
    await engines.drain()


async def test_draining_finishes_what_was_taken(engines: Engines, store: FaultyStore) -> None:
    """New items are ``draining``, those taken are answered, and the weights are snapshotted."""
    engine = await engines.get("m")
    await send(engine, 1.0, 2.0)
    arrived, go_on = store.faults.hold("commit")
    taken = asyncio.create_task(send(engine, 3.0, 4.0))
    await arrived.wait()
    drained = asyncio.create_task(engines.drain())
    while engine.is_open:  # noqa: ASYNC110 - the drain has begun with its next turn of the loop
        await asyncio.sleep(0)
    with pytest.raises(Draining):
        await send(engine, 5.0)
    with pytest.raises(Draining):
        await engines.get("m")
    go_on.set()
    assert codes(await taken) == [3, 4]
    await drained
    version, snapshot, records = await stored_weights(store.partition("m"))
    assert (version, snapshot is not None, records) == (3, True, [])


async def test_draining_gives_up_after_its_time(store: FaultyStore, compute: ComputeThread) -> None:
    """Past ``drain_timeout_s`` whoever still waits is answered ``draining``."""
    engines = engines_on(store, compute, drain_timeout_s=0.05)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    arrived, _ = store.faults.hold("load")
    stuck = asyncio.create_task(send(engine, 1.0, 2.0))
    await arrived.wait()
    await engines.drain()
    assert codes(await stuck) == ["draining", "draining"]


async def test_deleting_a_model_answers_what_waits(engines: Engines, store: FaultyStore) -> None:
    """The batch in progress is finished, what waits is ``unknown_model``."""
    engine = await engines.get("m")
    arrived, go_on = store.faults.hold("load")
    in_progress = asyncio.create_task(send(engine, 1.0, 2.0))
    await arrived.wait()
    waiting = asyncio.create_task(send(engine, 3.0))
    await asyncio.sleep(0)
    deleted = asyncio.create_task(engines.delete("m"))
    await asyncio.sleep(0)
    go_on.set()
    assert codes(await in_progress + await waiting) == [1, 2, "unknown_model"]
    await deleted
    with pytest.raises(UnknownModel):
        await engines.get("m")
    assert await store.partition("m").count_streams() == 0


async def test_a_change_in_doubt_is_looked_up(
    engines: Engines, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was made though its answer was lost holds from the next item on."""
    engine = await engines.get("m")
    await send(engine, 1.0, 2.0)
    replace_model = store.replace_model

    async def lose_answer(name: str, known: bytes, record: bytes) -> None:
        await replace_model(name, known, record)
        raise StoreUnavailable("the answer was lost by the test")

    monkeypatch.setattr(store, "replace_model", lose_answer)
    changed = ModelSpec.from_dict({**SPEC, "quantiles": [0.5]})
    with pytest.raises(StoreUnavailable):
        await engines.change("m", lambda _: changed)
    await send(engine, 3.0)
    assert engine.spec == changed


@pytest.mark.parametrize("every", [1, 3, 1000])
async def test_weights_are_recovered_bit_for_bit(store: FaultyStore, compute: ComputeThread, every: int) -> None:
    """However often it snapshots, an owner that ended without a word is followed by one with the same answers."""
    loads = [1.0, 3.0, 2.0, 5.0, 4.0, 1.0, 7.0]
    expected = await uninterrupted(store, compute, loads)
    first = engines_on(store, compute, snapshot_every_updates=every)
    await first.create("m", ModelSpec.from_dict(SPEC))
    answers = [(await send(await first.get("m"), load))[0] for load in loads[:5]]
    # `first` is left as a killed process would be; only its lease stands in the store.
    second = engines_on(store, compute, snapshot_every_updates=every)
    answers += [(await send(await second.get("m"), load))[0] for load in loads[5:]]
    assert answers == expected
    await (await second.get("m")).reader.read("s", summary)  # comes after what is done between two batches
    _, _, records = await stored_weights(store.partition("m"))
    assert len(records) < every
    await second.drain()


async def test_a_damaged_belief_costs_its_own_stream(store: FaultyStore, compute: ComputeThread, url: str) -> None:
    """A belief that cannot be read is ``internal`` for its stream; the others of the batch go on."""
    engines = engines_on(store, compute, belief_cache_bytes=0)
    await engines.create("m", ModelSpec.from_dict(SPEC))
    engine = await engines.get("m")
    rows = [Observation(s, {"load": 1.0}) for s in "abc"]
    await engine.submit(rows)
    with redis.Redis.from_url(url) as raw:
        raw.hset(PartitionKeys("m").stream("b"), "belief", b"rubbish")
    assert codes(await engine.submit(rows)) == [2, "internal", 2]
    await engine.delete_stream("b")
    assert codes(await engine.submit(rows)) == [3, 1, 3]
    await engines.drain()


async def test_expired_streams_make_room(
    store: FaultyStore, compute: ComputeThread, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model at its bound forgets streams that expired before it refuses a new one."""
    monkeypatch.setattr("service.population.RESWEEP_S", 0.0)
    engines = engines_on(store, compute)
    await engines.create("m", ModelSpec.from_dict({**SPEC, "max_streams": 2, "ttl_s": 3600}))
    engine = await engines.get("m")
    await engine.submit([Observation(s, {"load": 1.0}) for s in "ab"])
    with redis.Redis.from_url(url) as raw:
        assert 0 < raw.pttl(PartitionKeys("m").stream("a")) <= 3_600_000
        raw.delete(PartitionKeys("m").stream("a"))  # as expiry does
    assert codes(await engine.submit([Observation(s, {"load": 1.0}) for s in "cdb"])) == [1, "overloaded", 2]
    await engines.drain()


async def test_a_model_of_other_fields_gets_no_items_of_the_one_that_is_gone(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted and made anew elsewhere, an open model is ``unknown_model`` once, then learns by the new fields."""
    monkeypatch.setattr("service.lease.FIRST_WAIT_S", 0.0)
    before, after = (
        ModelSpec.from_dict({"fields": [{"name": n, "kind": "real"} for n in names]}) for names in ("ab", "ba")
    )
    ours, others = engines_on(store, compute), engines_on(store, compute)
    await ours.create("other", before)
    item = [Observation("s", {"a": 1.0, "b": 100.0})]
    engine = await ours.get("other")
    assert codes(await engine.submit(item)) == [1]
    await others.delete("other")
    await others.create("other", after)
    assert codes(await engine.submit(item)) == ["store_unavailable"]
    assert codes(await engine.submit(item)) == ["unknown_model"]
    assert not engine.is_open
    with pytest.raises(UnknownModel):
        await engine.submit(item)
    (answer,) = await (await ours.get("other")).submit(item)
    assert isinstance(answer, bytes)
    fields = json.loads(answer)["prediction"]["fields"]
    assert [round(fields[name]["mean"]) for name in "ab"] == [1, 100]
    await ours.drain()


async def test_a_store_that_was_emptied_is_gone_on_with(
    engines: Engines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing begins again by itself: open models are ``unknown_model`` until they are created, of whatever fields."""
    monkeypatch.setattr("service.lease.FIRST_WAIT_S", 0.0)
    engine = await engines.get("m")
    assert codes(await send(engine, 1.0, 2.0)) == [1, 2]
    with redis.Redis.from_url(url) as raw:
        raw.flushall()
        assert codes(await send(engine, 3.0)) == ["store_unavailable"]
        assert codes(await send(engine, 3.0)) == ["unknown_model"]
        assert raw.keys(f"{{{PartitionKeys('m').name}}}*") == []
        await engines.create("m", ModelSpec.from_dict(SPEC))
        engine = await engines.get("m")
        assert codes(await send(engine, 3.0)) == [1]
        raw.flushall()
    await engines.create("m", ModelSpec.from_dict({"fields": [{"name": "flow", "kind": "real"}]}))
    engine = await engines.get("m")
    assert codes(await engine.submit([Observation("s", {"flow": 3.0})])) == [1]
