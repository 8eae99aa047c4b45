"""Recovery of weights from a store of which parts are damaged, missing, or from another version of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codec import Kind
from model.learner import Learner
from service.compute import ComputeThread
from service.errors import LeaseLost, UnreadableFormat, WeightsLost
from service.metrics import DAMAGED, Metrics
from service.store import Partition, Store, StoredVersions
from service.weights_log import WeightsLog
from tests.builders import small_spec
from tests.service.damage import Run, flipped, learned, newer, put_redo, put_snapshot
from tests.store.test_partition import contents

SPEC = small_spec(hidden=4)
RUN = Run.of(SPEC, 12)
SNAPSHOTS = 4, 8
LAST = RUN.last
PLACES = 0.0, 0.5, 1.0
TRIES = 60


@pytest.fixture
async def partition(url: str) -> AsyncIterator[Partition]:
    """The partition ``m:0``, which holds the run with both snapshots; not owned by anybody who is still there."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
    await RUN.write(store.partition("m"), *SNAPSHOTS)
    partition = store.partition("m")
    await partition.acquire()
    yield partition
    await store.close()


@pytest.fixture
def metrics() -> Metrics:
    """What the log reports to."""
    return Metrics()


@pytest.fixture
def log(partition: Partition, compute: ComputeThread, metrics: Metrics) -> WeightsLog:
    """The partition's log."""
    return WeightsLog(partition, compute, 1_000_000, metrics.damaged_records)


def damaged(metrics: Metrics) -> dict[str, float]:
    """Damage counted so far, without the kinds that there was none of."""
    counted = {
        kind: metrics.registry.get_sample_value("stepahead_damaged_records_total", {"kind": kind}) for kind in DAMAGED
    }
    return {kind: n for kind, n in counted.items() if n}


@pytest.mark.parametrize("page_bytes", [1, 4000, 2**22])
async def test_whole_weights_are_recovered_bit_for_bit(
    log: WeightsLog, metrics: Metrics, page_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages the log is read in, nothing is lost and nothing is said."""
    monkeypatch.setattr("service.store.weights.REDO_PAGE_BYTES", page_bytes)
    recovered = await log.recover(SPEC)
    assert recovered.encode_weights() == RUN.states[LAST]
    assert damaged(metrics) == {}


@pytest.mark.parametrize("at", PLACES)
async def test_a_damaged_snapshot_costs_nothing(
    log: WeightsLog, raw: redis.Redis, metrics: Metrics, caplog: pytest.LogCaptureFixture, at: float
) -> None:
    """The one before it and the log lead to the same bits; the damaged one is named, and replaced."""
    put_snapshot(raw, flipped(RUN.states[8], at))
    recovered = await log.recover(SPEC)
    assert recovered.encode_weights() == RUN.states[LAST]
    assert damaged(metrics) == {"snapshot": 1}
    assert "partition m:0: the snapshot of version 8 is damaged: the checksum does not match" in caplog.text
    assert (await log.recover(SPEC)).encode_weights() == RUN.states[LAST]
    assert damaged(metrics) == {"snapshot": 1}


@pytest.mark.parametrize("stored", [None, flipped(RUN.states[8])])
async def test_a_replaced_snapshot_has_one_before_it(
    log: WeightsLog, partition: Partition, raw: redis.Redis, stored: bytes | None
) -> None:
    """After a damaged snapshot was replaced, its successor may be damaged as well and still nothing is lost."""
    put_snapshot(raw, stored)
    await log.recover(SPEC)
    assert await partition.load_versions() == StoredVersions(LAST, 4, LAST)
    put_snapshot(raw, flipped(RUN.states[LAST]))
    assert (await log.recover(SPEC)).encode_weights() == RUN.states[LAST]


@pytest.mark.parametrize("stored", [flipped(RUN.states[4]), None, RUN.states[5], b""])
async def test_a_damaged_snapshot_before_the_current_one_is_not_needed(
    log: WeightsLog, raw: redis.Redis, metrics: Metrics, stored: bytes | None
) -> None:
    """Recovery begins at the current snapshot."""
    put_snapshot(raw, stored, previous=True)
    assert (await log.recover(SPEC)).encode_weights() == RUN.states[LAST]
    assert damaged(metrics) == {}


async def test_a_snapshot_of_another_version_is_damaged(
    log: WeightsLog, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """What is stored as version 8 must say that it is."""
    put_snapshot(raw, RUN.states[7])
    assert (await log.recover(SPEC)).encode_weights() == RUN.states[LAST]
    assert "the snapshot of version 8 is damaged: it says that it is of version 7" in caplog.text


async def test_without_a_snapshot_weights_are_lost(log: WeightsLog, raw: redis.Redis) -> None:
    """With both snapshots damaged and the log cut behind them callers get a named error, every time, and all stays."""
    put_snapshot(raw, flipped(RUN.states[8]))
    put_snapshot(raw, flipped(RUN.states[4]), previous=True)
    before = contents(raw)
    for _ in range(2):
        with pytest.raises(WeightsLost, match=r"m:0.*backup.*restore a snapshot.*delete the model"):
            await log.recover(SPEC)
    assert contents(raw) == before


async def test_a_whole_log_makes_up_for_every_snapshot(
    url: str, log: WeightsLog, raw: redis.Redis, metrics: Metrics
) -> None:
    """As long as the log begins with the first update, fresh weights lead to the same bits."""
    raw.flushall()
    store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
    await RUN.write(store.partition("m"), 4)
    await store.close()
    put_snapshot(raw, flipped(RUN.states[4]))
    await log._partition.acquire()
    assert (await log.recover(SPEC)).encode_weights() == RUN.states[LAST]
    assert damaged(metrics) == {"snapshot": 1}


@pytest.mark.parametrize("version", [9, 10, LAST])
@pytest.mark.parametrize("at", PLACES)
async def test_a_damaged_redo_record_ends_recovery_before_it(
    log: WeightsLog,
    partition: Partition,
    raw: redis.Redis,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    version: int,
    at: float,
) -> None:
    """What was learned up to it stays; what is lost is named, and the model begins anew above the last version."""
    put_redo(raw, {version: flipped(RUN.redo[version - 1], at)})
    recovered = await log.recover(SPEC)
    assert learned(recovered) == RUN.learned(version - 1)
    assert recovered.version == LAST + 1
    assert damaged(metrics) == {"redo": 1}
    lost = f"{LAST - version + 1} weight updates after version {version - 1} cannot be redone and are lost"
    for said in (
        f"partition m:0: the redo record of version {version} is damaged",
        lost,
        f"anew as version {LAST + 1}",
    ):
        assert said in caplog.text
    assert await partition.load_versions() == StoredVersions(LAST + 1, LAST + 1, LAST + 1)
    again = await log.recover(SPEC)
    assert again.encode_weights() == recovered.encode_weights()
    assert damaged(metrics) == {"redo": 1}


@pytest.mark.parametrize("versions", [{9}, {10, 11}, {LAST}, {9, LAST}])
async def test_missing_redo_records_end_recovery_before_them(
    log: WeightsLog, raw: redis.Redis, metrics: Metrics, caplog: pytest.LogCaptureFixture, versions: set[int]
) -> None:
    """A gap in the log is as good as damage: named, and the weights before it stay."""
    put_redo(raw, dict.fromkeys(versions))
    recovered = await log.recover(SPEC)
    first = min(versions)
    assert learned(recovered) == RUN.learned(first - 1)
    assert recovered.version == LAST + 1
    assert damaged(metrics) == {"missing": len(versions)}
    assert f"{len(versions)} of the redo records of versions {first} to {LAST} are missing" in caplog.text


async def test_what_was_before_a_new_beginning_never_comes_back(
    log: WeightsLog, partition: Partition, raw: redis.Redis
) -> None:
    """A fallback after it leads to it, not to what it took the place of."""
    put_redo(raw, {10: b"rubbish"})
    began = await log.recover(SPEC)
    put_snapshot(raw, b"rubbish")
    assert (await log.recover(SPEC)).encode_weights() == began.encode_weights()
    for previous in (False, True):
        put_snapshot(raw, b"rubbish", previous=previous)
    with pytest.raises(WeightsLost):
        await log.recover(SPEC)
    assert await partition.load_redo(0) == []


async def test_a_damaged_snapshot_and_a_damaged_record(log: WeightsLog, raw: redis.Redis, metrics: Metrics) -> None:
    """From the snapshot before the current one recovery comes as far as the log does."""
    put_snapshot(raw, flipped(RUN.states[8]))
    put_redo(raw, {6: flipped(RUN.redo[5]), 11: b""})
    recovered = await log.recover(SPEC)
    assert learned(recovered) == RUN.learned(5)
    assert recovered.version == LAST + 1
    assert damaged(metrics) == {"snapshot": 1, "redo": 2}


@pytest.mark.parametrize("what", ["current", "previous", "first record", "last record", "behind a damaged one"])
async def test_another_format_is_no_damage(log: WeightsLog, raw: redis.Redis, metrics: Metrics, what: str) -> None:
    """What a newer service wrote is refused by name; nothing is fallen back from and nothing written."""
    match what:
        case "current":
            put_snapshot(raw, newer(Kind.WEIGHTS, RUN.states[8]))
        case "previous":
            put_snapshot(raw, None)
            put_snapshot(raw, newer(Kind.WEIGHTS, RUN.states[4]), previous=True)
        case "first record":
            put_redo(raw, {9: newer(Kind.REDO, RUN.redo[8])})
        case "last record":
            put_redo(raw, {LAST: newer(Kind.REDO, RUN.redo[-1])})
        case _:
            put_redo(raw, {9: b"rubbish", 11: newer(Kind.REDO, RUN.redo[10])})
    before = contents(raw)
    named = {"current": "snapshot of version 8", "previous": "snapshot of version 4", "first record": "version 9"}
    with pytest.raises(UnreadableFormat, match=f"{named.get(what, 'redo record of version 1')}.*newer version"):
        await log.recover(SPEC)
    assert contents(raw) == before
    assert damaged(metrics).get("redo", 0) == (what == "behind a damaged one")


@pytest.mark.parametrize(
    "stored", [{}, {"version": "8", "previous": "4", "last": "1\x022"}, {"version": "x", "last": ""}]
)
async def test_lost_versions_are_read_off_what_is_left(
    log: WeightsLog, raw: redis.Redis, metrics: Metrics, stored: dict[str, str]
) -> None:
    """Snapshot and log tell their versions themselves; the model begins anew with all that was learned."""
    raw.delete("{m:0}:weights")
    if stored:
        raw.hset("{m:0}:weights", mapping=stored)
    recovered = await log.recover(SPEC)
    assert learned(recovered) == RUN.learned(LAST)
    assert recovered.version == LAST + 1
    assert damaged(metrics) == {}


async def test_a_snapshot_alone_tells_its_version(log: WeightsLog, raw: redis.Redis) -> None:
    """Where nothing else is left the model goes on above it."""
    raw.delete("{m:0}:weights", "{m:0}:redo", "{m:0}:previous")
    recovered = await log.recover(SPEC)
    assert learned(recovered) == RUN.learned(8)
    assert recovered.version == 9


async def test_nothing_is_mended_without_the_lease(url: str, log: WeightsLog, raw: redis.Redis) -> None:
    """Who lost the partition while recovering writes nothing over what its new owner has."""
    put_redo(raw, {10: b"rubbish"})
    store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
    await store.partition("m").acquire()
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await log.recover(SPEC)
    assert contents(raw) == before
    await store.close()


@settings(max_examples=TRIES)
@given(
    bad=st.dictionaries(st.integers(1, LAST), st.sampled_from(["flipped", "missing"]), max_size=4),
    current=st.booleans(),
    previous=st.booleans(),
    snapshots=st.sampled_from([(), (4,), (4, 8)]),
)
def test_the_longest_whole_way_is_taken(
    valkey: str, bad: dict[int, str], current: bool, previous: bool, snapshots: tuple[int, ...]
) -> None:
    """Whatever is damaged: from the newest snapshot that can be read, as far as every record can be redone."""
    asyncio.run(_check_longest_way(valkey, bad, current, previous, snapshots))


async def _check_longest_way(
    url: str, bad: dict[int, str], current: bool, previous: bool, snapshots: tuple[int, ...]
) -> None:
    store, compute = await Store.connect(url, timeout_s=5.0, kept_replies=4), ComputeThread("learner", threads=1)
    try:
        with redis.Redis.from_url(url) as raw:
            raw.flushall()
            partition = store.partition("m")
            await RUN.write(partition, *snapshots)
            readable = list(snapshots)
            if current and snapshots:
                put_snapshot(raw, flipped(RUN.states[readable.pop()]))
            if previous and len(snapshots) > 1:
                put_snapshot(raw, flipped(RUN.states[4]), previous=True)
                readable.remove(4)
            put_redo(raw, {v: flipped(RUN.redo[v - 1]) if how == "flipped" else None for v, how in bad.items()})
            log = WeightsLog(partition, compute, 1_000_000, Metrics().damaged_records)
            begins_with_1 = len(snapshots) < 2 and bad.get(1) != "missing"
            if snapshots and not readable and not begins_with_1:
                with pytest.raises(WeightsLost):
                    await log.recover(SPEC)
                return
            base = readable[-1] if readable else 0
            reached = min((v for v in bad if v > base), default=LAST + 1) - 1
            recovered = await log.recover(SPEC)
            assert learned(recovered) == RUN.learned(reached)
            assert recovered.version == (LAST if reached == LAST else LAST + 1)
            _check_slots(recovered)
            assert (await log.recover(SPEC)).encode_weights() == recovered.encode_weights()
    finally:
        compute.close()
        await store.close()


def _check_slots(recovered: Learner) -> None:
    """Every value that beliefs may know has its slot to itself, with its own name or none."""
    for found, there_were in zip(recovered.vocabulary.met, RUN.learner.vocabulary.met, strict=True):
        assert len(found) == len(there_were)
        assert all(name in {None, was} for name, was in zip(found, there_were, strict=True))
