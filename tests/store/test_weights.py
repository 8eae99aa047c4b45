"""Snapshots and redo log on a real server: two generations, beginning anew, and what is kept on request."""

from __future__ import annotations

import pytest
import redis

from service.errors import LeaseLost, Overloaded, StoreUnavailable
from service.store import KeptSnapshot, Partition, Store, StoredVersions, weights
from tests.store.test_partition import contents
from tests.stored import stored_weights

REDO = "{boiler:0}:redo"


@pytest.fixture
async def owner(store: Store) -> Partition:
    """The partition ``boiler:0``, acquired."""
    owner = store.partition("boiler")
    await owner.acquire()
    return owner


async def commit(owner: Partition, first: int, last: int) -> None:
    """Commit weight updates ``first`` to ``last``."""
    for version in range(first, last + 1):
        await owner.commit([], version=version, redo=[b"redo %d" % version], ttl_s=None)


def kept(number: int, *, version: int = 1, created_us: int = 0) -> KeptSnapshot:
    """A snapshot without its content."""
    return KeptSnapshot(f"id {number}", f"name {number}", version, 7, created_us)


async def versions_of_redo(owner: Partition) -> list[int]:
    """Of all redo records, in order."""
    return [version for version, _ in await owner.load_redo(0)]


async def test_a_fresh_partition_has_no_weights(owner: Partition) -> None:
    """Recovery of a model that has learned nothing begins at version 0."""
    assert await owner.load_versions() == StoredVersions(None, None, 0)
    assert await stored_weights(owner) == (0, None, [])
    assert await owner.load_snapshot(previous=True) is None


async def test_redo_records_come_back_in_order(owner: Partition) -> None:
    """Any number of redo records, an empty one too, comes back in the order of their versions."""
    records = [(version, b"" if version == 3 else b"redo %d" % version) for version in range(1, 150)]
    for version, redo in records:
        await owner.commit([], version=version, redo=[redo], ttl_s=None)
    assert await stored_weights(owner) == (0, None, records)
    assert await owner.load_redo(140) == records[140:]


async def test_a_page_of_redo_records_is_bounded_by_bytes(owner: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends soon after its bytes are full, has one record at least, and the pages hold every record once."""
    monkeypatch.setattr(weights, "REDO_PAGE_BYTES", 40)
    await commit(owner, 1, 50)
    pages = []
    while page := await owner.load_redo(pages[-1][-1] if pages else 0):
        pages.append([version for version, _ in page])
    assert [len(page) for page in pages] == [16, 16, 16, 2]
    assert sum(pages, []) == list(range(1, 51))  # noqa: RUF017  four short lists


async def test_a_version_that_is_no_number_was_none(owner: Partition, raw: redis.Redis) -> None:
    """Where the snapshot's version is damaged it counts as none, and the next snapshot mends it."""
    await commit(owner, 1, 5)
    await owner.save_weights(3, b"weights 3")
    raw.hset("{boiler:0}:weights", "version", "rubbish")
    assert await owner.load_versions() == StoredVersions(None, None, 5)
    await owner.save_weights(5, b"weights 5")
    assert (await owner.load_versions()).current == 5
    assert await owner.load_snapshot() == b"weights 5"


async def test_the_first_snapshot_drops_nothing(owner: Partition) -> None:
    """As long as there is one snapshot the log leads from fresh weights on."""
    await commit(owner, 1, 5)
    await owner.save_weights(3, b"weights 3")
    assert await owner.load_versions() == StoredVersions(3, None, 5)
    assert await versions_of_redo(owner) == [1, 2, 3, 4, 5]
    assert await stored_weights(owner) == (3, b"weights 3", [(4, b"redo 4"), (5, b"redo 5")])


async def test_the_snapshot_before_stays_with_its_records(owner: Partition, raw: redis.Redis) -> None:
    """The two newest snapshots are kept, and the redo records after the older one."""
    await commit(owner, 1, 3)
    await owner.save_weights(3, b"weights 3")
    await commit(owner, 4, 6)
    await owner.save_weights(5, b"weights 5")
    assert await owner.load_versions() == StoredVersions(5, 3, 6)
    assert [await owner.load_snapshot(), await owner.load_snapshot(previous=True)] == [b"weights 5", b"weights 3"]
    assert await versions_of_redo(owner) == [4, 5, 6]
    await owner.save_weights(6, b"weights 6")
    assert await owner.load_snapshot(previous=True) == b"weights 5"
    assert raw.xlen(REDO) == 1


async def test_the_same_version_again_keeps_the_one_before(owner: Partition) -> None:
    """A second snapshot of a version does not push the previous one out."""
    await commit(owner, 1, 2)
    await owner.save_weights(1, b"weights 1")
    await owner.save_weights(2, b"weights 2")
    await owner.save_weights(2, b"weights 2 again")
    assert await owner.load_versions() == StoredVersions(2, 1, 2)
    assert [await owner.load_snapshot(), await owner.load_snapshot(previous=True)] == [b"weights 2 again", b"weights 1"]


async def test_a_snapshot_that_cannot_be_read_is_replaced_alone(owner: Partition) -> None:
    """The one before it stays, with all redo records after it."""
    await commit(owner, 1, 6)
    await owner.save_weights(2, b"weights 2")
    await owner.save_weights(4, b"rubbish")
    await owner.save_weights(6, b"weights 6", only_current=True)
    assert await owner.load_versions() == StoredVersions(6, 2, 6)
    assert [await owner.load_snapshot(), await owner.load_snapshot(previous=True)] == [b"weights 6", b"weights 2"]
    assert await versions_of_redo(owner) == [3, 4, 5, 6]


async def test_a_missing_snapshot_costs_the_one_before_nothing(owner: Partition, raw: redis.Redis) -> None:
    """Where the current snapshot is gone the next one takes its place, and the previous one stays."""
    await commit(owner, 1, 6)
    await owner.save_weights(2, b"weights 2")
    await owner.save_weights(4, b"weights 4")
    raw.delete("{boiler:0}:snapshot")
    await owner.save_weights(6, b"weights 6")
    assert await owner.load_versions() == StoredVersions(6, 2, 6)
    assert await owner.load_snapshot(previous=True) == b"weights 2"
    assert await versions_of_redo(owner) == [3, 4, 5, 6]


@pytest.mark.parametrize("version", [2, 4])
async def test_a_snapshot_neither_goes_back_nor_ahead(owner: Partition, raw: redis.Redis, version: int) -> None:
    """A snapshot older than the current one, or of a version that was never committed, is refused."""
    await commit(owner, 1, 3)
    await owner.save_weights(3, b"weights 3")
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await owner.save_weights(version, b"others")
    assert contents(raw) == before


async def test_beginning_anew_leaves_nothing_to_fall_back_to(owner: Partition) -> None:
    """Both snapshots are the new one, no redo record is left, and the next commit follows it."""
    await commit(owner, 1, 4)
    await owner.save_weights(2, b"weights 2")
    await owner.save_weights(3, b"weights 3")
    await owner.begin_anew(9, b"others")
    assert await owner.load_versions() == StoredVersions(9, 9, 9)
    assert [await owner.load_snapshot(), await owner.load_snapshot(previous=True)] == [b"others", b"others"]
    assert await versions_of_redo(owner) == []
    await commit(owner, 10, 10)
    assert await stored_weights(owner) == (9, b"others", [(10, b"redo 10")])


async def test_beginning_anew_is_above_all_that_was(owner: Partition, raw: redis.Redis) -> None:
    """A version that was committed already is refused."""
    await commit(owner, 1, 4)
    before = contents(raw)
    with pytest.raises(LeaseLost):
        await owner.begin_anew(4, b"others")
    assert contents(raw) == before


async def test_only_the_newest_owner_writes_weights(store: Store, owner: Partition, raw: redis.Redis) -> None:
    """Every write of an owner whose epoch is old is refused and changes nothing."""
    await commit(owner, 1, 2)
    await owner.save_weights(1, b"weights 1")
    await owner.keep_snapshot(kept(1), b"weights", at_most=9)
    await store.partition("boiler").acquire()
    before = contents(raw)
    refused = (
        owner.save_weights(2, b"weights 2"),
        owner.begin_anew(3, b"weights 3"),
        owner.keep_snapshot(kept(2), b"weights", at_most=9),
        owner.drop_snapshot("id 1"),
    )
    for write in refused:
        with pytest.raises(LeaseLost):
            await write
    assert contents(raw) == before


async def test_a_full_store_takes_what_frees_and_refuses_what_adds(owner: Partition, raw: redis.Redis) -> None:
    """Out of memory it still reads the log, snapshots and drops; it neither keeps nor begins anew."""
    await commit(owner, 1, 2)
    await owner.keep_snapshot(kept(1), b"weights", at_most=9)
    raw.config_set("maxmemory", 1, target_nodes=redis.RedisCluster.ALL_NODES)
    try:
        assert await versions_of_redo(owner) == [1, 2]
        with pytest.raises(StoreUnavailable, match="full"):
            await owner.keep_snapshot(kept(2), b"weights", at_most=9)
        with pytest.raises(StoreUnavailable, match="full"):
            await owner.begin_anew(3, b"weights")
        await owner.save_weights(2, b"weights 2")
        assert await owner.drop_snapshot("id 1")
    finally:
        raw.config_set("maxmemory", 0, target_nodes=redis.RedisCluster.ALL_NODES)
    assert await owner.load_versions() == StoredVersions(2, None, 2)


async def test_what_is_kept_is_listed_newest_first(owner: Partition) -> None:
    """With all that describes it; the content comes back as it was."""
    described = [kept(1, created_us=5), kept(2, created_us=7), kept(3, created_us=6)]
    for one in described:
        await owner.keep_snapshot(one, one.id.encode(), at_most=3)
    assert await owner.list_snapshots() == [described[1], described[2], described[0]]
    assert await owner.load_kept("id 2") == b"id 2"
    assert await owner.load_kept("other") is None


async def test_no_more_is_kept_than_may_be(owner: Partition, raw: redis.Redis) -> None:
    """One over the bound is refused with the bound, until another is dropped."""
    await owner.keep_snapshot(kept(1), b"weights", at_most=1)
    before = contents(raw)
    with pytest.raises(Overloaded) as refused:
        await owner.keep_snapshot(kept(2), b"weights", at_most=1)
    assert refused.value.data == {"max_snapshots": 1}
    assert contents(raw) == before
    assert await owner.drop_snapshot("id 1")
    assert not await owner.drop_snapshot("id 1")
    await owner.keep_snapshot(kept(2), b"weights", at_most=1)
    assert await owner.list_snapshots() == [kept(2)]


async def test_a_damaged_description_hides_no_snapshot(owner: Partition, raw: redis.Redis) -> None:
    """It is listed by its id, after the others, and can be read and dropped."""
    for number in (1, 2):
        await owner.keep_snapshot(kept(number, created_us=9), b"weights", at_most=9)
    for rubbish in (b"\xff", b"[]", b'{"other": 1}'):
        raw.hset("{boiler:0}:kept", "id 2", rubbish)
        assert await owner.list_snapshots() == [kept(1, created_us=9), KeptSnapshot("id 2")]
    assert await owner.load_kept("id 2") == b"weights"
    assert await owner.drop_snapshot("id 2")
