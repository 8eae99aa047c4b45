"""Keeping a model's weights and going back to them, while items come and calls fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from model.codec import Kind
from model.learner import Learner
from model.spec import ModelSpec
from service.batcher import Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import (
    DamagedSnapshot,
    ServiceError,
    StoreUnavailable,
    UnknownSnapshot,
    UnreadableFormat,
    WeightsLost,
)
from service.metrics import Metrics
from service.settings import Settings
from service.store.keys import PartitionKeys
from service.views import belief_inspected
from service.weights_log import WeightsLog
from tests.service.conftest import SPEC
from tests.service.damage import flipped, learned, newer, put_redo, put_snapshot
from tests.service.faults import FaultyStore

OPEN = {"fields": [{"name": "letter", "kind": "category", "capacity": 6}], "hidden": 4}
KEYS = PartitionKeys("m")


@pytest.fixture
async def engines(store: FaultyStore, compute: ComputeThread) -> AsyncIterator[Engines]:
    """Engines on the faulty store; there is a model ``m`` of a load and a state, and ``o`` of an open vocabulary."""
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    await engines.create("o", ModelSpec.from_dict(OPEN))
    yield engines
    await engines.drain()


async def observe(engine: Engine, item: dict[str, Any], stream: str = "s") -> dict[str, Any]:
    """Learn one item; return the reply."""
    (answer,) = await engine.submit([Observation(stream, item)])
    if isinstance(answer, ServiceError):
        raise answer
    reply: dict[str, Any] = json.loads(answer)
    return reply


async def send(engine: Engine, *loads: float, stream: str = "s") -> list[dict[str, Any]]:
    """Send loads of one stream, one after the other; return the replies."""
    return [await observe(engine, {"load": load}, stream) for load in loads]


async def spell(engine: Engine, word: str) -> None:
    """Send the letters of a word, one after the other."""
    for letter in word:
        await observe(engine, {"letter": letter})


async def stored(engine: Engine, store: FaultyStore, compute: ComputeThread, model: str = "m") -> Learner:
    """What the store's weights and log lead to, as long as nothing of them is damaged."""
    return await WeightsLog(store.partition(model), compute, 1, Metrics().damaged_records).recover(engine.spec)


async def test_restored_weights_are_those_that_were_kept(engines: Engines, store: FaultyStore) -> None:
    """Weights, optimiser and counts are again as they were, under a new version; beliefs and sequences stay."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0, 2.0)
    kept = await engine.snapshots.keep(None)
    then = learned(engine._owner.learner)
    await send(engine, 5.0, 4.0)
    version, beliefs = engine.weights_version, await store.partition("m").load(["s"])
    await engines.restore_weights("m", kept.id)
    assert learned(engine._owner.learner) == then
    assert kept.weights_version < version == engine.weights_version - 1
    assert await store.partition("m").load(["s"]) == beliefs
    (reply,) = await send(engine, 6.0)
    assert (reply["sequence"], reply["prediction"]["weights_version"]) == (6, version + 2)
    await engine.snapshots.restore(kept.id)  # it was kept, and is still
    assert learned(engine._owner.learner) == then


@pytest.mark.parametrize("current", [None, b"rubbish"])
async def test_a_kill_right_after_leaves_restored_weights(
    engines: Engines, store: FaultyStore, compute: ComputeThread, raw: redis.Redis, current: bytes | None
) -> None:
    """Who recovers next has the restored weights, even by falling back: nothing they took the place of is left."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0, 2.0)
    kept = await engine.snapshots.keep(None)
    then = learned(engine._owner.learner)
    await send(engine, *[4.0] * 5)
    await engine.snapshots.restore(kept.id)
    if current is not None:
        put_snapshot(raw, current)
    after = Engines(store, compute, compute, Settings(), Metrics())
    recovered = await after.get("m")
    assert learned(recovered._owner.learner) == then
    assert recovered.weights_version == engine.weights_version
    await after.drain()


async def test_items_under_a_restore_are_learned_once(
    engines: Engines, store: FaultyStore, compute: ComputeThread
) -> None:
    """While many streams send and weights are restored over and over, each item gets the next sequence."""
    engine = await engines.get("m")
    await send(engine, 1.0, 2.0)
    kept = await engine.snapshots.keep(None)
    n, names = 12, [f"s{i}" for i in range(8)]

    async def restore() -> list[dict[str, Any]]:
        for _ in range(10):
            await engine.snapshots.restore(kept.id)
        return []

    got = await asyncio.gather(*(send(engine, *range(n), stream=name) for name in names), restore())
    assert [[reply["sequence"] for reply in stream] for stream in got[:-1]] == [list(range(1, n + 1))] * len(names)
    assert not any(reply["duplicate"] for stream in got for reply in stream)
    versions = [reply["prediction"]["weights_version"] for stream in got[:-1] for reply in stream]
    assert max(versions) <= engine.weights_version
    assert (await stored(engine, store, compute)).encode_weights() == engine._owner.learner.encode_weights()


@pytest.mark.parametrize("applied", [True, False])
async def test_a_restore_in_doubt_is_looked_up(
    engines: Engines, store: FaultyStore, compute: ComputeThread, applied: bool
) -> None:
    """Whatever came of a restore whose answer was lost, the next item goes on from what the store has."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0, 2.0)
    kept = await engine.snapshots.keep(None)
    await send(engine, 5.0)
    version = engine.weights_version
    if applied:
        store.faults.lose_answer("begin_anew")
    else:
        store.faults.refuse("begin_anew")
    with pytest.raises(StoreUnavailable):
        await engine.snapshots.restore(kept.id)
    (reply,) = await send(engine, 4.0)
    assert (reply["sequence"], reply["prediction"]["weights_version"]) == (5, version + 1 + applied)
    assert (await stored(engine, store, compute)).encode_weights() == engine._owner.learner.encode_weights()


async def test_a_cancelled_restore_is_looked_up(engines: Engines, store: FaultyStore, compute: ComputeThread) -> None:
    """A caller that goes away when the weights are stored already leaves nothing that the next item trips over."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0, 2.0)
    kept = await engine.snapshots.keep(None)
    store.faults.lose_answer("begin_anew", asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await engine.snapshots.restore(kept.id)
    assert [reply["sequence"] for reply in await send(engine, 4.0, 5.0)] == [4, 5]
    assert (await stored(engine, store, compute)).encode_weights() == engine._owner.learner.encode_weights()


async def test_values_met_since_keep_their_slots(engines: Engines) -> None:
    """After a restore beliefs name the same values as before, those that the snapshot does not know included."""
    engine = await engines.get("o")
    await spell(engine, "abab")
    kept = await engine.snapshots.keep(None)
    await spell(engine, "cdc")
    await engine.snapshots.restore(kept.id)
    assert engine._owner.learner.vocabulary.met == [["a", "b", "c", "d"]]
    decoded = (await engine.reader.read("s", belief_inspected))["after"]["letter"]
    assert set(decoded["probabilities"]) == set("abcd")
    reply = await observe(engine, {"letter": "d"})
    assert set(reply["prediction"]["fields"]["letter"]["probabilities"]) == set("abcd")


async def test_a_snapshot_that_cannot_be_read_changes_nothing(engines: Engines, raw: redis.Redis) -> None:
    """It is refused by its id: damaged, or of another version of the service."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0)
    kept = await engine.snapshots.keep(None)
    content: bytes = raw.hget(KEYS.kept_weights, kept.id)  # type: ignore[assignment]
    before = engine._owner.learner.encode_weights()
    for changed, error in (
        (flipped(content), DamagedSnapshot),
        (newer(Kind.WEIGHTS, content), UnreadableFormat),
    ):
        raw.hset(KEYS.kept_weights, kept.id, changed)
        with pytest.raises(error, match=kept.id):
            await engine.snapshots.restore(kept.id)
    assert engine._owner.learner.encode_weights() == before
    assert (await send(engine, 2.0))[0]["prediction"]["weights_version"] == engine.weights_version


async def test_a_snapshot_mends_lost_weights(
    engines: Engines, store: FaultyStore, compute: ComputeThread, raw: redis.Redis
) -> None:
    """A model that cannot be opened any more goes on from what was kept, above all versions it ever had."""
    engine = await engines.get("o")
    await spell(engine, "ab")
    kept = await engine.snapshots.keep("before")
    then = learned(engine._owner.learner)
    await spell(engine, "cadb")
    version = engine.weights_version
    await engines.drain()
    raw.delete(PartitionKeys("o").snapshot)
    put_redo(raw, {1: None, version - 1: flipped(b"damaged")}, model="o")

    after = Engines(store, compute, compute, Settings(), Metrics())
    for _ in range(2):
        with pytest.raises(WeightsLost):
            await after.get("o")
    assert await after.catalogue.kept_weights("o") == [kept]
    with pytest.raises(UnknownSnapshot):
        await after.restore_weights("o", "other")
    await after.restore_weights("o", kept.id)
    mended = await after.get("o")
    assert learned(mended._owner.learner) == then
    assert mended.weights_version == version + 1
    assert mended._owner.learner.vocabulary.met[0][:3] == ["a", "b", "c"]
    assert len(mended._owner.learner.vocabulary.met[0]) == 4
    assert (await observe(mended, {"letter": "a"}))["sequence"] == 7
    await after.drain()


async def test_lost_weights_that_are_newer_are_not_mended(engines: Engines, raw: redis.Redis) -> None:
    """Where the log was written by a newer service nothing takes its place."""
    engine = await engines.get("m")
    kept = await engine.snapshots.keep(None)
    await send(engine, 1.0, 3.0)
    record: bytes = raw.xrange(KEYS.redo)[-1][1][b"record"]  # type: ignore[index]
    await engine.close(ServiceError("the test ends it"))
    raw.set(KEYS.snapshot, b"rubbish")
    put_redo(raw, {1: None, engine.weights_version: newer(Kind.REDO, record)})
    before = {key: raw.dump(key) for key in raw.scan_iter() if key != KEYS.lease.encode()}
    with pytest.raises(UnreadableFormat, match="redo record"):
        await engines.restore_weights("m", kept.id)
    assert {key: raw.dump(key) for key in raw.scan_iter() if key != KEYS.lease.encode()} == before


async def test_an_open_model_whose_weights_are_lost_is_mended(
    engines: Engines, store: FaultyStore, raw: redis.Redis
) -> None:
    """Callers get the error until a snapshot is restored; then the same engine goes on."""
    engine = await engines.get("m")
    await send(engine, 1.0, 3.0)
    kept = await engine.snapshots.keep(None)
    await send(engine, 2.0)
    raw.set(KEYS.snapshot, b"rubbish")
    put_redo(raw, {1: None})
    store.faults.lose_answer("commit")  # so that it recovers
    for error in (WeightsLost, WeightsLost):
        with pytest.raises(error):
            await send(engine, 5.0)
    await engines.restore_weights("m", kept.id)
    assert (await send(engine, 4.0))[0]["sequence"] == 5


async def test_a_model_goes_on_after_updates_were_lost(
    engines: Engines, store: FaultyStore, compute: ComputeThread, raw: redis.Redis
) -> None:
    """Its streams keep their places, a resend gets its reply, and predictions name weights that never were before."""
    engine = await engines.get("m")
    replies = await send(engine, 1.0, 3.0, 2.0, 4.0)
    version = engine.weights_version
    put_redo(raw, {version - 1: b"rubbish"})
    metrics = Metrics()
    after = Engines(store, compute, compute, Settings(), metrics)
    recovered = await after.get("m")
    (answer,) = await recovered.submit([Observation("s", {"load": 4.0}, 4)])
    assert isinstance(answer, bytes)
    assert json.loads(answer) == {**replies[-1], "duplicate": True}
    (reply,) = await send(recovered, 5.0)
    assert (reply["sequence"], reply["prediction"]["weights_version"]) == (5, version + 2)
    assert metrics.registry.get_sample_value("stepahead_damaged_records_total", {"kind": "redo"}) == 1
    await after.drain()
