"""Beliefs in memory: bounded, the least recently used give way, and none outlives its stream's time."""

from __future__ import annotations

import tracemalloc

import pytest
from prometheus_client import Gauge

from service import belief_cache
from service.belief_cache import ENTRY_BYTES, BeliefCache, Met, PartitionBeliefs

SIZE = 1000
NAMES = "abcdef"


def cache_of(n_streams: int) -> BeliefCache:
    """A cache with room for so many beliefs of streams with names of one letter."""
    return BeliefCache(n_streams * (SIZE + 1 + ENTRY_BYTES), Gauge("held", "-", registry=None))


def keep(part: PartitionBeliefs, names: str, sequence: int = 1, **given: float) -> None:
    """Keep a belief for each stream."""
    part.keep((name, Met(bytes(SIZE), sequence, 7, **given)) for name in names)


def test_those_used_longest_ago_give_way() -> None:
    """To find a belief is to use it; what is held never exceeds the bound."""
    cache = cache_of(3)
    part = cache.partition()
    keep(part, "abc")
    assert list(part.find("a")) == ["a"]
    keep(part, "d")
    assert list(part.find(NAMES)) == ["a", "c", "d"]
    assert (len(cache), cache.n_bytes) == (3, 3 * (SIZE + 1 + ENTRY_BYTES))


def test_partitions_share_the_bound_and_nothing_else() -> None:
    """Streams of one name are two, and a partition is emptied alone."""
    cache = cache_of(4)
    one, other = cache.partition(), cache.partition()
    keep(one, "abc", sequence=1)
    keep(other, "ab", sequence=2)
    assert list(one.find(NAMES)) == ["b", "c"]
    assert {name: met.sequence for name, met in other.find(NAMES).items()} == {"a": 2, "b": 2}
    one.clear()
    assert (one.find(NAMES), list(other.find(NAMES))) == ({}, ["a", "b"])
    other.forget("ax")
    other.clear()
    assert (len(cache), cache.n_bytes) == (0, 0)


def test_a_belief_takes_the_place_of_the_streams_last() -> None:
    """It is counted once."""
    cache = cache_of(3)
    part = cache.partition()
    for sequence in (1, 2, 3):
        keep(part, "a", sequence)
    assert [met.sequence for met in part.find("a").values()] == [3]
    assert cache.n_bytes == SIZE + 1 + ENTRY_BYTES


@pytest.mark.parametrize("max_bytes", [0, SIZE])
def test_what_does_not_fit_is_not_kept(max_bytes: int) -> None:
    """A cache without room for one belief keeps none, an older one of the stream neither."""
    cache = BeliefCache(max_bytes, Gauge("held", "-", registry=None))
    part = cache.partition()
    part.keep([("a", Met(b"", 1, 7))])
    keep(part, "a")
    assert (part.find("a"), cache.n_bytes) == ({}, 0)


def test_a_belief_is_not_kept_past_its_streams_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment that it may have expired it is not found, and takes no room."""
    now_s = 100.0
    monkeypatch.setattr(belief_cache, "monotonic", lambda: now_s)
    cache = cache_of(3)
    part = cache.partition()
    keep(part, "a", expires_s=101.0)
    assert list(part.find("a")) == ["a"]
    now_s = 101.0
    assert part.find("a") == {}
    assert cache.n_bytes == 0


def test_a_belief_takes_about_what_is_counted_of_it() -> None:
    """What is counted beside the bytes is not less than what it takes, and not twice as much."""
    n = 2000
    part = cache_of(2 * n).partition()
    tracemalloc.start()
    part.keep((f"stream-{i:09}", Met(bytes(SIZE), 10**6 + i, 10**15 + i, 10.0**6 + i)) for i in range(n))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    beside = taken / n - SIZE - len("stream-000000000")
    assert ENTRY_BYTES / 2 < beside < ENTRY_BYTES
