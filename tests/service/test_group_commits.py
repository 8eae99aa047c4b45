"""Groups of rounds on a real store: one commit leaves what a commit of each round would, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import redis

from model.spec import ModelSpec
from service import stream_copies
from service.batcher import Answer, Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import LeaseLost, StoreFull
from service.metrics import Metrics
from service.settings import Settings
from service.store.keys import PartitionKeys
from service.views import summary
from tests.service.conftest import SPEC
from tests.service.faults import FaultyStore
from tests.service.test_engine import codes
from tests.stored import stored_weights

RING = 8  # of the store fixture


class Host:
    """A process with its metrics."""

    def __init__(self, store: FaultyStore, compute: ComputeThread, **given: Any) -> None:
        self.metrics = Metrics()
        self.engines = Engines(store, compute, compute, Settings(**given), self.metrics)

    async def engine(self, model: str = "m", **spec: Any) -> Engine:
        """The engine of a model, which is made if need be."""
        await self.engines.create(model, ModelSpec.from_dict({**SPEC, **spec}))
        return await self.engines.get(model)

    def count(self, name: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"stepahead_{name}") or 0.0


@pytest.fixture
async def make(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Host]]:
    """Makes processes, which end with the test; a group has all the time that it needs."""
    monkeypatch.setattr("service.rounds.GROUP_S", 600.0)
    hosts: list[Host] = []

    def host(**given: Any) -> Host:
        hosts.append(Host(store, compute, **given))
        return hosts[-1]

    yield host
    for one in hosts:
        await one.engines.drain()


def items(*named: str | tuple[str, int]) -> list[Observation]:
    """An item for each stream, with a sequence where one is given; values by place."""
    split = [name if isinstance(name, tuple) else (name, None) for name in named]
    return [
        Observation(stream, {"load": float(n * 7 % 5), "state": ("idle", "busy")[n % 2]}, sequence)
        for n, (stream, sequence) in enumerate(split)
    ]


async def one_by_one(engine: Engine, observations: Sequence[Observation]) -> list[Answer]:
    """Send items of one stream, each once the one before is answered: each is a commit of its own."""
    return [answer for observation in observations for answer in await engine.submit([observation])]


def stored(raw: redis.Redis, model: str) -> dict[str, Any]:
    """All that is stored of a model's streams but the times."""
    keys = PartitionKeys(model)
    streams = {name.decode(): raw.hgetall(keys.stream(name.decode())) for name in raw.zrange(keys.streams, 0, -1)}
    return {name: {k: v for k, v in row.items() if k not in (b"created", b"updated")} for name, row in streams.items()}


def as_first_sent(answers: Sequence[Answer]) -> list[Any]:
    """Replies without the mark of a resend."""
    return [a.replace(b'"duplicate":true', b'"duplicate":false') if isinstance(a, bytes) else a for a in answers]


async def test_a_group_leaves_what_its_rounds_would(make: Callable[..., Host], store: FaultyStore, raw: Any) -> None:
    """Replies, beliefs, what is kept, weights and redo records are those of one commit after the other."""
    sent = items(*"aaaaaaaaaaaaaaaaaaaa")
    host = make()
    engine, other = await host.engine(), await host.engine("other")
    assert await engine.submit(sent) == await one_by_one(other, sent)
    assert host.count("group_batches_count") == 2 + len(sent)  # a first group is not that long
    assert host.count("batch_items_count") == 2 * len(sent)
    assert stored(raw, "m") == stored(raw, "other")
    assert await stored_weights(store.partition("m")) == await stored_weights(store.partition("other"))
    rows = [await one.reader.read("a", summary) for one in (engine, other)]
    assert [row["sequence"] for row in rows] == [20, 20]


@pytest.mark.parametrize("numbered", [True, False])
async def test_a_group_that_breaks_after_its_commit_is_not_learned_twice(
    make: Callable[..., Host], store: FaultyStore, numbered: bool
) -> None:
    """Whatever breaks: where nobody knows whether it holds, all of it is answered so, and none is taken again."""
    engine = await make().engine()
    named = [("a", n) if numbered else "a" for n in range(1, 5)]
    store.faults.lose_answer("commit", MemoryError())
    async with engine.between_batches():  # so that they are one group
        frames = [asyncio.create_task(engine.submit(items(name))) for name in named]
        await asyncio.sleep(0)
    assert [codes(await frame) for frame in frames] == [["internal"]] * 4
    assert await engine.sequences(["a"]) == [4]


async def test_an_idle_engine_commits_each_item(make: Callable[..., Host]) -> None:
    """Nothing is waited for."""
    host = make()
    engine = await host.engine()
    await one_by_one(engine, items(*"aaa"))
    assert (host.count("group_batches_count"), host.count("group_batches_sum")) == (3, 3)


async def test_a_frame_of_one_stream_is_one_commit(make: Callable[..., Host]) -> None:
    """What waits is learned together."""
    host = make()
    engine = await host.engine()
    assert codes(await engine.submit(items(*"aaaaaaaa"))) == list(range(1, 9))
    assert (host.count("group_batches_count"), host.count("group_batches_sum")) == (1, 8)


async def test_items_of_a_group_may_come_again(make: Callable[..., Host]) -> None:
    """In one group: a resend has its item's reply, a gap is named by what is awaited then, what follows is learned."""
    engine = await make().engine()
    assert codes(await engine.submit(items(("a", 1), ("a", 2)))) == [1, 2]
    sent = items(("a", 3), ("a", 3), ("a", 6), ("a", 4), ("a", 1), ("b", 2), ("a", 5), "a", ("a", 4))
    answers = await engine.submit(sent)
    assert codes(answers) == [3, 3, "sequence_gap", 4, 1, "sequence_gap", 5, 6, 4]
    assert [json.loads(a)["duplicate"] for a in answers if isinstance(a, bytes)] == [
        *(False, True, False, True, False, False, True)
    ]
    assert as_first_sent(answers)[1] == answers[0]
    assert as_first_sent(answers)[8] == answers[3]
    gap = answers[2]
    assert not isinstance(gap, bytes)
    assert (gap.data["expected"], gap.data["received"]) == (4, 6)


async def test_items_behind_a_damaged_belief_cost_no_other_stream(make: Callable[..., Host], raw: Any) -> None:
    """Resends and gaps behind an item that cannot be learned are answered as it is; others as if they were alone."""
    host = make(belief_cache_bytes=0)
    engine = await host.engine()
    await engine.submit(items("a", "b"))
    raw.hset(PartitionKeys("m").stream("a"), "belief", b"rubbish")
    behind_a = items("b", ("a", 2), ("b", 2), ("a", 2), "b", ("a", 9), ("b", 2), ("b", 9))
    answers = await engine.submit(behind_a)
    assert codes(answers) == [2, "internal", 2, "internal", 3, "internal", 2, "sequence_gap"]
    assert all("damaged" in str(answers[at]) for at in (1, 3, 5))
    assert host.count("group_batches_count") == 2


async def test_a_resend_of_what_gave_way_is_stale(make: Callable[..., Host]) -> None:
    """What a group's own items have taken the place of by then is not told, and what they take it of later is."""
    engine, other = [await make().engine(model) for model in ("m", "other")]
    numbers = [*range(1, RING + 3), 3, 2, RING + 3, 3, 2 * RING, RING + 4, RING + 4]
    sent = items(*(("a", n) for n in numbers))
    together, apart = await engine.submit(sent), await one_by_one(other, sent)
    assert codes(together) == codes(apart)
    assert codes(apart).count("sequence_stale") == 2
    assert [a for a in together if isinstance(a, bytes)] == [a for a in apart if isinstance(a, bytes)]


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
async def test_a_group_in_doubt_is_settled_by_reading(
    make: Callable[..., Host], store: FaultyStore, raw: Any, applied: bool, numbered: bool
) -> None:
    """All of it was written, or none: the replies, and what is stored, are those of an undisturbed run."""
    named = [(s, n) if numbered else s for n in range(1, 16) for s in "ab"]
    engine, other = await make().engine(), await make().engine("other")
    expected = await other.submit(items(*named))
    if applied:
        store.faults.lose_answer("commit")
    else:
        store.faults.refuse("commit")
    assert await engine.submit(items(*named)) == expected
    assert stored(raw, "m") == stored(raw, "other")
    assert await stored_weights(store.partition("m")) == await stored_weights(store.partition("other"))


async def test_resends_in_a_group_in_doubt_are_answered(make: Callable[..., Host], store: FaultyStore) -> None:
    """They have the reply of their item, whether it was kept for them or has given way since."""
    engine = await make().engine()
    store.faults.lose_answer("commit")
    numbers = [1, 1, *range(2, 3 * RING), 3 * RING - 1, 99]
    answers = await engine.submit(items(*(("a", n) for n in numbers)))
    assert codes(answers) == [*numbers[:-1], "sequence_gap"]


async def test_what_is_left_of_a_group_in_doubt_is_learned(
    make: Callable[..., Host], store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds that the group had no time for are learned after it."""
    monkeypatch.setattr("service.rounds.GROUP_S", 0.0)
    engine = await make().engine()
    store.faults.lose_answer("commit")
    assert codes(await engine.submit(items(*"aaaaa"))) == [1, 2, 3, 4, 5]


async def test_a_full_store_takes_nothing_of_a_group(make: Callable[..., Host], store: FaultyStore, raw: Any) -> None:
    """The draft is thrown away with all that its rounds counted; sent again, all goes as if nothing had been."""
    engine, other = await make().engine(), await make().engine("other")
    first, second = items(*"aaaaaa"), items(*"aabbaabb")
    expected = [await other.submit(first), await other.submit(second)]
    assert await engine.submit(first) == expected[0]
    before = stored(raw, "m")
    store.faults.refuse("commit", StoreFull())
    refused = await engine.submit(second)
    assert [type(answer) for answer in refused] == [StoreFull] * len(second)
    assert stored(raw, "m") == before
    assert await engine.submit(second) == expected[1]
    assert await stored_weights(store.partition("m")) == await stored_weights(store.partition("other"))


async def test_a_killed_owner_leaves_a_group_whole(make: Callable[..., Host], store: FaultyStore, raw: Any) -> None:
    """Killed before or after the commit of a group, the next owner goes on to the bit, and resends are answered."""
    numbered = items(*((s, n) for n in range(1, 10) for s in "ab"))
    expected = await (await make().engine("other")).submit(numbered)
    for half in (numbered[:8], numbered):
        killed = Host(store, make().engines._compute)
        engine = await killed.engine()
        arrived, _ = store.faults.hold("commit")
        lost = asyncio.create_task(engine.submit(half))
        await arrived.wait()  # nothing of it is written, and nobody ends this process
        answers = await (await make().engine()).submit(half)
        assert as_first_sent(answers) == expected[: len(half)]
        lost.cancel()
        await killed.engines.abort()
    assert stored(raw, "m") == stored(raw, "other")


async def test_a_lost_lease_ends_a_group(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it was written; it is told so, and the next group begins with what the other owner left."""
    monkeypatch.setattr("service.lease.FIRST_WAIT_S", 0.0)
    ours = await make().engine()
    await ours.submit(items(*"aaa"))
    theirs = await make().engine()
    assert codes(await theirs.submit(items(*"aab"))) == [4, 5, 1]
    answers = await ours.submit(items(*"aabb"))
    assert [type(answer) for answer in answers] == [LeaseLost] * 4
    assert codes(await ours.submit(items(*"aabb"))) == [6, 7, 2, 3]


async def test_others_are_served_between_the_items_of_a_busy_stream(
    make: Callable[..., Host], store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item of another stream waits for the group in progress, not for the frame."""
    monkeypatch.setattr("service.rounds.GROUP_S", 0.0)
    engine = await make().engine()
    order: list[str] = []
    arrived, go_on = store.faults.hold("commit")
    busy = asyncio.create_task(engine.submit(items(*"a" * 50)))
    busy.add_done_callback(lambda _: order.append("busy"))
    await arrived.wait()
    quick = asyncio.create_task(engine.submit(items("b")))
    quick.add_done_callback(lambda _: order.append("quick"))
    await asyncio.sleep(0)
    go_on.set()
    assert codes(await busy) == list(range(1, 51))
    assert codes(await quick) == [1]
    assert order == ["quick", "busy"]


async def test_models_learn_side_by_side(make: Callable[..., Host], store: FaultyStore) -> None:
    """Groups of several models in one thread: each has the replies and weights that it has alone."""
    host, frames = make(), [items(*"aabaab"), items(*"bbbba"), items(*"cccab")]
    engines = [await host.engine(name) for name in ("m", "n", "o")]
    together = await asyncio.gather(*(engine.submit(frame) for frame in frames for engine in engines))
    assert together[0::3] == together[1::3] == together[2::3]
    found = [await stored_weights(store.partition(name)) for name in ("m", "n", "o")]
    assert found[0] == found[1] == found[2]


async def test_new_streams_of_a_group_are_bounded(make: Callable[..., Host]) -> None:
    """As many as there is room for are created; the others stay outside with all their items."""
    engine = await make().engine(max_streams=2)
    answers = codes(await engine.submit(items("b", "a", "c", "a", "c", ("c", 2), "b")))
    assert answers == [1, 1, "overloaded", 2, "overloaded", "sequence_gap", 2]


async def test_a_belief_in_memory_is_not_read(make: Callable[..., Host], store: FaultyStore) -> None:
    """A stream that goes on needs no read, and the service says how often that was so."""
    host = make()
    engine = await host.engine()
    await engine.submit(items(*"ab"))
    store.faults.refuse("load", times=9)
    assert codes(await engine.submit(items(*"abab"))) == [2, 2, 3, 3]
    assert (host.count("belief_cache_hits_total"), host.count("belief_cache_misses_total")) == (2, 2)
    assert host.count("belief_cache_bytes") > 0
    store.faults.clear()
    await host.engines.delete("m")
    assert host.count("belief_cache_bytes") == 0


async def test_without_a_cache_every_belief_is_read(make: Callable[..., Host]) -> None:
    """``belief_cache_bytes`` of 0 switches it off, and nothing else changes."""
    off, on = make(belief_cache_bytes=0), make()
    ours, theirs = await off.engine(), await on.engine("other")
    for frame in (items(*"aba"), items(*"ab"), items(*"bba")):
        assert await ours.submit(frame) == await theirs.submit(frame)
    assert (off.count("belief_cache_hits_total"), off.count("belief_cache_bytes")) == (0, 0)


async def test_memory_stays_within_its_bound(make: Callable[..., Host]) -> None:
    """However many streams are created."""
    bound = 20_000
    host = make(belief_cache_bytes=bound)
    engine = await host.engine()
    for first in range(0, 100, 10):
        await engine.submit(items(*(f"s{first + n}" for n in range(10))))
        assert 0 < host.count("belief_cache_bytes") <= bound
    assert codes(await engine.submit(items("s0", "s99", "s99"))) == [2, 2, 3]


async def test_a_stream_that_went_away_begins_anew(make: Callable[..., Host], raw: Any) -> None:
    """Expired or deleted behind the owner's back, alone or among others of a group: nothing of it is built upon."""
    engine = await make().engine()
    assert codes(await engine.submit(items(*"aabb"))) == [1, 2, 1, 2]
    raw.delete(PartitionKeys("m").stream("a"))  # as expiry does
    assert codes(await engine.submit(items("a", "b", "a", ("a", 3), ("b", 3)))) == [1, 3, 2, 3, 3]
    raw.delete(PartitionKeys("m").stream("b"))
    assert codes(await engine.submit(items(("b", 4), "a"))) == ["sequence_gap", 4]


async def test_an_answer_without_a_commit_is_the_stores(make: Callable[..., Host], raw: Any) -> None:
    """What memory would refuse or call a resend is compared with the store first."""
    engine = await make().engine()
    await engine.submit(items(*"aaabbb"))
    for stream in "ab":
        raw.delete(PartitionKeys("m").stream(stream))
    assert codes(await engine.submit(items(("a", 1), ("b", 9)))) == [1, "sequence_gap"]
    (gap,) = await engine.submit(items(("b", 9)))
    assert not isinstance(gap, bytes)
    assert gap.data["expected"] == 1


async def test_what_is_written_beside_commits_is_seen(make: Callable[..., Host]) -> None:
    """A stream that was deleted, taken back, or forked onto another's name goes on from what it is now."""
    engine = await make().engine()
    assert codes(await engine.submit(items(*"aaabb"))) == [1, 2, 3, 1, 2]
    kept = await stream_copies.keep_snapshot(engine, "a", None, most=9)
    undisturbed = await stream_copies.fork(engine, "a", "c")
    assert undisturbed["sequence"] == 3
    expected = await engine.submit(items(*"cc"))
    assert codes(await engine.submit(items(*"aa"))) == [4, 5]
    await stream_copies.restore_snapshot(engine, "a", kept["id"])
    assert codes(await engine.submit(items(*"aa"))) == [4, 5]
    await engine.delete_stream("b")
    await stream_copies.fork(engine, "a", "b")
    assert codes(await engine.submit(items(*"bb"))) == [6, 7]
    await engine.delete_stream("b")
    assert codes(await engine.submit(items(*"bb"))) == [1, 2]
    assert codes(expected) == [4, 5]


async def test_a_stream_expires_in_memory_too(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its time it is read, and so found to be gone, before anything is computed."""
    now_s = 100.0
    for module in ("belief_cache", "owner"):
        monkeypatch.setattr(f"service.{module}.monotonic", lambda: now_s)
    host = make()
    engine = await host.engine(ttl_s=3600)
    await engine.submit(items("a"))
    now_s += 3599
    await engine.submit(items("a"))
    assert host.count("belief_cache_hits_total") == 1
    now_s += 3601
    await engine.submit(items("a"))
    assert (host.count("belief_cache_hits_total"), host.count("belief_cache_misses_total")) == (1, 2)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rounds make a group."""
    monkeypatch.setattr("service.groups.MAX_ROUNDS", 4)


@pytest.mark.usefixtures("small_groups")
async def test_the_next_group_is_computed_meanwhile(make: Callable[..., Host], store: FaultyStore) -> None:
    """While the store takes one group the next one is computed, and nothing of either is answered."""
    host = make()
    engine = await host.engine()
    arrived, go_on = store.faults.hold("commit")
    sent = asyncio.create_task(engine.submit(items(*"a" * 12)))
    await arrived.wait()
    async with asyncio.timeout(60):
        while host.count("step_seconds_count") < 8:  # noqa: ASYNC110 - a metric is no event
            await asyncio.sleep(0)
    assert (host.count("items_total"), await store.partition("m").load_sequences(["a"])) == (0, [0])
    go_on.set()
    assert codes(await sent) == list(range(1, 13))
    assert (host.count("group_batches_count"), host.count("step_seconds_count")) == (3, 12)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("fault", ["lost", "refused", "full"])
async def test_what_was_computed_ahead_is_thrown_away(
    make: Callable[..., Host], store: FaultyStore, raw: Any, fault: str, numbered: bool
) -> None:
    """Where the commit before it fails, or may have, nothing of it holds: all ends as in an undisturbed run."""
    named = [(s, n) if numbered else s for n in range(1, 10) for s in "ab"]
    engine, other = await make().engine(), await make().engine("other")
    expected = await other.submit(items(*named))
    if fault == "lost":
        store.faults.lose_answer("commit")
    else:
        store.faults.refuse("commit", StoreFull() if fault == "full" else None)
    answers = await engine.submit(items(*named))
    if fault == "full":
        assert [type(answer) for answer in answers] == [StoreFull] * len(named)
        answers = await engine.submit(items(*named))
    assert answers == expected
    assert stored(raw, "m") == stored(raw, "other")
    assert await stored_weights(store.partition("m")) == await stored_weights(store.partition("other"))


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("n_before", [0, 1, 2])
async def test_a_stream_that_goes_while_groups_follow_begins_anew(
    make: Callable[..., Host], store: FaultyStore, raw: Any, n_before: int
) -> None:
    """What was computed on a belief of memory, or of the group before, is checked by the commit."""
    engine = await make().engine()
    await engine.submit(items(*"ab"))
    arrived, go_on = store.faults.hold("commit")
    sent = asyncio.create_task(engine.submit(items(*"ab" * 16)))
    for _ in range(n_before):
        await arrived.wait()
        held = go_on
        arrived, go_on = store.faults.hold("commit")
        held.set()
    await arrived.wait()
    assert raw.delete(PartitionKeys("m").stream("a"))
    go_on.set()
    gone = 4 * n_before
    expected = [*range(2, 2 + gone), *range(1, 17 - gone)]
    assert codes(await sent) == [n for pair in zip(expected, range(2, 18), strict=True) for n in pair]


@pytest.mark.usefixtures("small_groups")
async def test_who_waits_for_the_turn_is_not_kept_waiting(make: Callable[..., Host], store: FaultyStore) -> None:
    """Groups that follow each other let a reader or a change in between."""
    engine = await make().engine()
    arrived, go_on = store.faults.hold("commit")
    sent = asyncio.create_task(engine.submit(items(*"a" * 40)))
    await arrived.wait()
    asked = asyncio.create_task(engine.sequences(["a"]))
    await asyncio.sleep(0)
    go_on.set()
    assert (await asked)[0] <= 8
    assert codes(await sent) == list(range(1, 41))


@pytest.mark.usefixtures("small_groups")
async def test_groups_that_are_no_plain_matter_follow_in_order(make: Callable[..., Host]) -> None:
    """Resends, gaps and streams over the bound are answered as if nothing had been computed ahead."""
    engine, other = await make().engine(max_streams=2), await make().engine("other", max_streams=2)
    numbers = [1, 2, 3, 4, 5, 2, 6, 5, 99, 7, 8, 9, 9, 10, 3]
    sent = items(*(("a", n) for n in numbers), *"bcbcbb")
    assert codes(await engine.submit(sent)) == codes([(await other.submit([one]))[0] for one in sent])


@pytest.mark.usefixtures("small_groups")
async def test_what_was_computed_ahead_is_answered_at_an_abort(make: Callable[..., Host], store: FaultyStore) -> None:
    """Nobody is left waiting."""
    host = make()
    engine = await host.engine()
    arrived, _ = store.faults.hold("commit")
    stuck = asyncio.create_task(engine.submit(items(*"a" * 12)))
    await arrived.wait()
    async with asyncio.timeout(60):
        while host.count("step_seconds_count") < 8:  # noqa: ASYNC110 - a metric is no event
            await asyncio.sleep(0)
    await host.engines.abort()
    assert codes(await stuck) == ["draining"] * 12


@pytest.mark.usefixtures("small_groups")
async def test_what_was_computed_ahead_is_answered_at_an_abort_between_groups(
    make: Callable[..., Host], store: FaultyStore
) -> None:
    """Nobody is left waiting where the weights are being snapshotted, with a group that waits for its commit."""
    host = make(snapshot_every_updates=4)
    engine = await host.engine()
    arrived, _ = store.faults.hold("save_weights")
    sent = asyncio.create_task(engine.submit(items(*"a" * 12)))
    await arrived.wait()
    assert (host.count("items_total"), host.count("step_seconds_count")) == (8, 12)
    await host.engines.abort()
    async with asyncio.timeout(60):
        assert codes(await sent) == [*range(1, 9), *["draining"] * 4]
