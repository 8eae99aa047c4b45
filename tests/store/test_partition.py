"""A partition on a real server: what is committed, what is refused, and that refused means untouched."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
import redis

from model.spec import MAX_TTL_S
from service.errors import LeaseLost, StoreUnavailable
from service.store import BeliefChange, Partition, Store, partition, records
from service.store.client import Argument
from service.store.keys import PartitionKeys
from service.store.records import KeptReply
from service.store.scripts import Script
from tests.builders import reply_of
from tests.conftest import KEPT_REPLIES
from tests.stored import stored_weights

DEADLINE_S = 10.0


@pytest.fixture
async def owner(store: Store) -> Partition:
    """The partition ``boiler:0``, acquired."""
    owner = store.partition("boiler")
    await owner.acquire()
    return owner


def change(stream: str = "site-7", sequence: int = 1) -> BeliefChange:
    """A change whose belief and reply name stream and sequence."""
    return BeliefChange(stream, sequence, f"belief {stream} {sequence}".encode(), f"reply {stream} {sequence}".encode())


async def observe(owner: Partition, *changes: BeliefChange, ttl_s: float | None = None) -> None:
    """Commit items that change no weight of a fresh model."""
    await owner.commit(changes, version=0, redo=[], ttl_s=ttl_s)


def contents(raw: redis.Redis) -> dict[bytes, object]:
    """All that the server holds."""
    return {key: raw.dump(key) for key in raw.scan_iter()}


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110  the server tells nobody of what it expires
            await asyncio.sleep(0.005)


async def test_a_belief_comes_back_as_it_was_committed(owner: Partition) -> None:
    """What is committed is read back, with the times of the first and the last item."""
    before_us = time.time_ns() // 1000
    belief = bytes(range(256)) * 100
    await observe(owner, change(sequence=1))
    await observe(owner, BeliefChange("site-7", 2, belief, b""))
    (stored,) = await owner.load(["site-7"])
    assert stored is not None
    assert stored.belief == belief
    assert before_us <= stored.created_us < stored.updated_us <= time.time_ns() // 1000


async def test_load_answers_in_the_order_asked(owner: Partition) -> None:
    """Each stream has its own place in the answer, and one that does not exist is None."""
    await observe(owner, change("b"), change("a"))
    found = await owner.load(["a", "missing", "b"])
    assert [None if stream is None else stream.belief for stream in found] == [b"belief a 1", None, b"belief b 1"]
    assert await owner.load([]) == []


async def test_any_text_can_name_a_stream(owner: Partition) -> None:
    """Names are data: braces, colons, spaces and other scripts keep their own stream each."""
    names = ["{x}:lease", "a b", "a:b", "späße", "点", "\x00", "*"]
    await observe(owner, *map(change, names))
    assert [s.belief.decode() for s in await owner.load(names) if s] == [f"belief {name} 1" for name in names]
    assert await owner.list_streams("", 100) == sorted(names)


async def test_the_last_replies_are_kept(owner: Partition) -> None:
    """As many replies as are kept come back; an older one, and one not yet made, do not."""
    for sequence in range(1, KEPT_REPLIES + 3):
        await observe(owner, change(sequence=sequence))
    kept = await owner.load_replies([("site-7", sequence) for sequence in range(1, KEPT_REPLIES + 4)])
    assert [k.reply for k in kept] == [
        None,
        None,
        *(f"reply site-7 {n}".encode() for n in range(3, KEPT_REPLIES + 3)),
        None,
    ]
    assert {k.applied for k in kept} == {KEPT_REPLIES + 2}
    assert await owner.load_replies([("missing", 1)]) == [KeptReply(0, None)]
    assert await owner.load_replies([]) == []


async def test_a_ring_of_another_size_gives_no_wrong_reply(server: str, owner: Partition) -> None:
    """After a change of how many replies are kept, each reply is the right one or none."""
    for sequence in range(1, 10):
        await observe(owner, change(sequence=sequence))
    other = await Store.connect(server, timeout_s=5.0, kept_replies=3)
    try:
        for sequence in range(1, 10):
            (kept,) = await other.partition("boiler").load_replies([("site-7", sequence)])
            assert kept.reply in {None, f"reply site-7 {sequence}".encode()}
    finally:
        await other.close()


async def test_only_the_newest_owner_writes(store: Store, owner: Partition, raw: redis.Redis) -> None:
    """Every write of an owner whose epoch is old is refused and changes nothing."""
    await owner.commit([change()], version=1, redo=[b"redo 1"], ttl_s=None)
    newer = store.partition("boiler")
    await newer.acquire()
    before = contents(raw)
    refused = (
        owner.commit([change(sequence=2)], version=2, redo=[b"redo 2"], ttl_s=None),
        owner.save_weights(1, b"weights"),
        owner.delete_stream("site-7"),
    )
    for write in refused:
        with pytest.raises(LeaseLost):
            await write
    assert contents(raw) == before
    await newer.commit([change(sequence=2)], version=2, redo=[b"redo 2"], ttl_s=None)


async def test_who_has_not_acquired_cannot_write(store: Store, raw: redis.Redis) -> None:
    """Without a lease, even where there never was one, a commit is refused."""
    with pytest.raises(LeaseLost):
        await observe(store.partition("boiler"), change())
    assert contents(raw) == {}


async def test_an_epoch_is_never_given_twice(store: Store, owner: Partition, raw: redis.Redis) -> None:
    """An owner from before the store lost its data cannot pass for the one after."""
    raw.flushall()
    await store.partition("boiler").acquire()
    with pytest.raises(LeaseLost):
        await observe(owner, change())


@pytest.mark.parametrize("ttl_s", [-1.0, 1e10, 9007199254740992.0, 1e300, math.inf, math.nan])
async def test_a_time_to_live_out_of_bounds_writes_nothing(
    owner: Partition, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, ttl_s: float
) -> None:
    """It is refused before it is sent, and by the script before its first write."""
    await owner.commit([change()], version=1, redo=[b"redo 1"], ttl_s=None)
    before = contents(raw)
    following = {"version": 2, "redo": [b"redo 2"], "ttl_s": ttl_s}
    with pytest.raises(ValueError, match="ttl_s"):
        await owner.commit([change(sequence=2)], **following)
    if math.isfinite(ttl_s) and ttl_s > 0:
        monkeypatch.setattr(records, "MAX_TTL_S", math.inf)
        with pytest.raises(StoreUnavailable, match="refused"):
            await owner.commit([change(sequence=2)], **following)
    assert contents(raw) == before


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((1, b"-1"), (1, b"x"), (2, b"2"), (2, b"x"), (3, b"-5"), (3, b"1.5"), (3, b"1e3")),
        *((6, b"two"), (7, b"two"), (10, b"two"), (10, b"2"), (10, b"0"), (12, None)),
    ],
)
async def test_a_malformed_argument_writes_nothing(
    owner: Partition, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, place: int, value: bytes | None
) -> None:
    """The script checks all its arguments before its first write; None stands for one that is left out."""
    await owner.commit([change()], version=1, redo=[b"redo 1"], ttl_s=None)
    before = contents(raw)
    run = owner._client.run

    async def run_changed(script: Script, keys: Sequence[str], args: Sequence[Argument], **bulk: bool) -> object:
        changed = [*args[:place], *([] if value is None else [value]), *args[place + 1 :]]
        return await run(script, keys, changed, **bulk)

    monkeypatch.setattr(owner._client, "run", run_changed)
    with pytest.raises(StoreUnavailable):
        await owner.commit([change(sequence=2)], version=2, redo=[b"redo 2"], ttl_s=3600)
    assert contents(raw) == before


async def test_the_longest_time_to_live_is_taken(owner: Partition, raw: redis.Redis) -> None:
    """Ten years are kept as such."""
    await observe(owner, change(), ttl_s=MAX_TTL_S)
    assert raw.pttl(PartitionKeys("boiler").stream("site-7")) > (MAX_TTL_S - 60) * 1000


@pytest.mark.parametrize("sequence", [1, 2, 4])
async def test_a_sequence_that_does_not_follow_is_refused(owner: Partition, raw: redis.Redis, sequence: int) -> None:
    """An item applied before, or ahead of its turn, is refused together with all that came with it."""
    await observe(owner, change(sequence=1))
    await observe(owner, change(sequence=2))
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await owner.commit([change("other"), change(sequence=sequence)], version=1, redo=[b"redo"], ttl_s=None)
    assert contents(raw) == before


@pytest.mark.parametrize(
    ("version", "redo"), [(1, [b"again"]), (3, [b"gap"]), (0, []), (2, []), (2, [b"two", b"records"])]
)
async def test_a_version_that_does_not_follow_is_refused(
    owner: Partition, raw: redis.Redis, version: int, redo: list[bytes]
) -> None:
    """The redo log takes the next version only, and without a redo record the version stays."""
    await owner.commit([change()], version=1, redo=[b"redo 1"], ttl_s=None)
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await owner.commit([change(sequence=2)], version=version, redo=redo, ttl_s=None)
    assert contents(raw) == before


async def test_a_full_store_takes_nothing_of_a_commit(owner: Partition, raw: redis.Redis) -> None:
    """A store out of memory refuses the whole commit but reads, and takes it once there is room."""
    await owner.commit([change()], version=1, redo=[b"redo 1"], ttl_s=None)
    before = contents(raw)
    raw.config_set("maxmemory", 1, target_nodes=redis.RedisCluster.ALL_NODES)
    try:
        with pytest.raises(StoreUnavailable, match="full") as refused:
            await owner.commit([change(sequence=2), change("new")], version=2, redo=[b"redo 2"], ttl_s=60)
        assert not isinstance(refused.value, LeaseLost)
        assert contents(raw) == before
        assert (await owner.load(["site-7"]))[0] is not None
    finally:
        raw.config_set("maxmemory", 0, target_nodes=redis.RedisCluster.ALL_NODES)
    await owner.commit([change(sequence=2), change("new")], version=2, redo=[b"redo 2"], ttl_s=60)


async def test_an_idle_stream_expires(owner: Partition) -> None:
    """A stream without an item for its time to live is gone, and its name with it once it is forgotten."""
    await observe(owner, change("brief"), ttl_s=0.005)
    await observe(owner, change("lasting"))

    async def brief_is_gone() -> bool:
        return await owner.load(["brief"]) == [None]

    await eventually(brief_is_gone)
    assert await owner.list_streams("", 10) == ["lasting"]
    assert await owner.forget_expired() == 1
    assert await owner.count_streams() == 1
    assert await owner.forget_expired() == 0


async def test_the_time_to_live_follows_the_last_commit(owner: Partition, raw: redis.Redis) -> None:
    """Each commit sets the stream's time to live anew, and one without takes it away."""
    await observe(owner, change(sequence=1), ttl_s=60)
    assert 50_000 < raw.pttl("{boiler:0}:stream:site-7") <= 60_000
    await observe(owner, change(sequence=2), ttl_s=600)
    assert 500_000 < raw.pttl("{boiler:0}:stream:site-7") <= 600_000
    await observe(owner, change(sequence=3))
    assert raw.pttl("{boiler:0}:stream:site-7") == -1


async def test_a_stream_that_expires_under_a_batch_goes_on(owner: Partition, raw: redis.Redis) -> None:
    """A stream that expired between load and commit is written whole, and counts as one again."""
    await observe(owner, change(sequence=1))
    raw.delete("{boiler:0}:stream:site-7")
    assert await owner.forget_expired() == 1
    await observe(owner, change(sequence=2))
    assert await owner.list_streams("", 10) == ["site-7"]
    assert await reply_of(owner, "site-7", 2) == b"reply site-7 2"


async def test_pages_hold_every_stream_once(owner: Partition, raw: redis.Redis) -> None:
    """Paging by the last name gives all streams in order, full pages, and none that has expired."""
    names = [f"site-{i:02d}" for i in range(25)]
    await observe(owner, *map(change, reversed(names)))
    for expired in names[3:9]:
        raw.delete(f"{{boiler:0}}:stream:{expired}")
    pages, after = [], ""
    while page := await owner.list_streams(after, 7):
        pages.append(page)
        after = page[-1]
    assert [len(page) for page in pages] == [7, 7, 5]
    assert sum(pages, []) == names[:3] + names[9:]  # noqa: RUF017  three short lists


async def test_a_deleted_stream_is_gone(owner: Partition) -> None:
    """Deleting takes the stream, its replies and its name, once; it can then begin again."""
    await observe(owner, change(), change("other"))
    assert await owner.delete_stream("site-7")
    assert not await owner.delete_stream("site-7")
    assert await owner.load(["site-7"]) == [None]
    assert await reply_of(owner, "site-7", 1) is None
    assert await owner.list_streams("", 10) == ["other"]
    await observe(owner, change(sequence=1))


async def test_chunks_cover_everything(owner: Partition, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done in chunks is done to all streams."""
    monkeypatch.setattr(partition, "CHUNK", 3)
    names = [f"site-{i}" for i in range(10)]
    await observe(owner, *map(change, names))
    for expired in names[::2]:
        raw.delete(f"{{boiler:0}}:stream:{expired}")
    assert await owner.forget_expired() == 5
    assert await owner.list_streams("", 100) == names[1::2]
    await owner.drop(by_force=False)
    assert contents(raw) == {}


async def test_partitions_do_not_touch_each_other(store: Store, owner: Partition) -> None:
    """Another model, or another shard of the same, has its own lease, streams and weights."""
    for other in (store.partition("boiler", 1), store.partition("boiler.2")):
        await other.acquire()
        await other.commit([change()], version=1, redo=[b"redo"], ttl_s=None)
    await observe(owner, change())
    assert await stored_weights(owner) == (0, None, [])


async def test_a_server_that_forgot_the_scripts_gets_them_again(owner: Partition, raw: redis.Redis) -> None:
    """A server that was restarted, and so knows no script, takes the next commit."""
    raw.script_flush()
    await observe(owner, change())
    assert await reply_of(owner, "site-7", 1) == b"reply site-7 1"
