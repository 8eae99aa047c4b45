"""What a script puts into a ring is where :mod:`service.store.ring` looks for it."""

from __future__ import annotations

import random
from importlib import resources

import pytest
import redis

from service.store.ring import PER_PART, Kept, place, value_at, values

pytestmark = pytest.mark.parametrize("server", ["valkey", "redis"], indirect=True)  # each runs scripts in its own way

KEY = "{boiler:0}:stream:site-7"
KEEP = resources.files("service.store").joinpath("lua", "ring.lua").read_text("utf-8")
KEEP += "redis.call('HSET', KEYS[1], keep(KEYS[1], 1, #ARGV / 3))"


def put(raw: redis.Redis, ring: int, *kept: Kept) -> None:
    """Run the script once for all."""
    raw.eval(KEEP, 1, KEY, *(part for one in kept for part in (*place(one.sequence, ring), one.encode())))


def found(raw: redis.Redis, ring: int, sequence: int) -> Kept | None:
    """What is kept of an item."""
    field, within = place(sequence, ring)
    return Kept.decode(value_at(raw.hget(KEY, field), within), sequence)


def kept_of(source: random.Random, sequence: int) -> Kept:
    """A value, now and then a large one."""
    return Kept(sequence, source.randbytes(source.choice((0, 1, 70, 113, 114, 200, 20_000))), b"1111", b"2222")


@pytest.mark.parametrize("ring", [1, 5, PER_PART, PER_PART + 1, 50])
@pytest.mark.parametrize("seed", range(4))
def test_the_last_values_are_found(raw: redis.Redis, ring: int, seed: int) -> None:
    """Whatever their sizes, however many come at once, and wherever the first of them lies."""
    source = random.Random(seed)
    sequence = source.choice((1, ring, 3 * ring + 2))
    first, line = sequence, dict[int, Kept]()
    while sequence < first + 3 * ring:
        some = [kept_of(source, sequence + i) for i in range(source.randint(1, min(ring, 40)))]
        put(raw, ring, *some)
        line |= {one.sequence: one for one in some}
        sequence += len(some)
        for n in range(max(first, sequence - ring), sequence):
            assert found(raw, ring, n) == line[n]
    assert sum(len(list(values(part))) for part in raw.hvals(KEY)) <= ring


@pytest.mark.parametrize("seed", range(20))
def test_damage_hides_nothing_that_is_put_after_it(raw: redis.Redis, seed: int) -> None:
    """Any bytes in a part cost what they hide, and no more: what is put there is found, and stays so."""
    source = random.Random(seed)
    part = b"".join(kept_of(source, n).encode() for n in range(PER_PART))
    at = source.randrange(len(part))
    junk = source.choice((b"\xff" * 12, b"", source.randbytes(5)))
    raw.hset(KEY, "k0", source.choice((part[:at] + junk, part[:at] + junk + part[at + len(junk) :])))
    some = [kept_of(source, n) for n in source.sample(range(PER_PART, 2 * PER_PART), PER_PART)]
    for one in some:
        put(raw, PER_PART, one)
        assert found(raw, PER_PART, one.sequence) == one
    for one in some:
        assert found(raw, PER_PART, one.sequence) == one
