"""The ring of kept replies and items, and the keys of a partition."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from model.codec import DamagedRecord
from service.store.keys import PartitionKeys
from service.store.records import KeptItems
from service.store.ring import PER_PART, Kept, is_part, place, until, value_at, values

SEQUENCES = st.integers(min_value=1, max_value=2**63 - 1)
CHECKSUMS = st.binary(min_size=4, max_size=4).filter(any) | st.just(b"")
KEPT = st.builds(Kept, SEQUENCES, st.binary(max_size=300), CHECKSUMS, CHECKSUMS)


def value_of(kept: Kept) -> bytes:
    """What stands in its place of the ring."""
    (value,) = values(kept.encode())
    return value


@given(kept=KEPT)
def test_what_is_kept_comes_back_as_it_was(kept: Kept) -> None:
    """Reply and checksums are the same again."""
    assert Kept.decode(value_of(kept), kept.sequence) == kept


@given(kept=KEPT, other=SEQUENCES)
def test_a_reply_answers_its_own_sequence_only(kept: Kept, other: int) -> None:
    """A place that holds what is kept of another sequence gives none; one that no ring is so long for, damage."""
    if kept.sequence == other:
        return
    if (kept.sequence - other) % 2**16:
        assert Kept.decode(value_of(kept), other) is None
    else:
        with pytest.raises(DamagedRecord):
            Kept.decode(value_of(kept), other)


@given(kept=KEPT, at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_is_noticed(kept: Kept, at: int, bit: int, cut: bool) -> None:
    """A value that was cut short, or has another bit but in its sequence, is refused, not read."""
    value = bytearray(value_of(kept))
    at %= len(value)
    if cut:
        del value[at:]
    elif at not in {4, 5}:
        value[at] ^= 1 << bit
    else:
        return
    if value:
        with pytest.raises(DamagedRecord):
            Kept.decode(bytes(value), kept.sequence)


@given(kept=st.lists(st.none() | KEPT, max_size=PER_PART), place=st.integers(0, 10_000))
def test_a_part_holds_its_values_in_their_places(kept: list[Kept | None], place: int) -> None:
    """Each is found where it was put, an empty place gives nothing, and one that is cut off is damaged."""
    part = b"".join(b"\0" if one is None else one.encode() for one in kept)
    for i, one in enumerate(kept):
        value = value_at(part, i)
        assert value == (b"" if one is None else value_of(one))
    assert value_at(part, len(kept)) == b""
    found: list[bytes] = []
    with suppress(DamagedRecord):
        found.extend(values(part[: place % (len(part) + 1)]))
    assert found == [value_at(part, i) for i in range(len(found))]


@given(then=st.integers(0, 2**62), ago=st.lists(st.integers(-(2**17), 2**17), max_size=PER_PART))
def test_only_later_replies_are_forgotten(then: int, ago: list[int]) -> None:
    """What is kept of the last items up to a sequence stays in its place; later, and much older, items' goes."""
    kept = [Kept(max(1, then - n), b"reply") for n in ago]
    left = until(b"".join(one.encode() for one in kept), then)
    expected = [one.encode() if then - 2**16 < one.sequence <= then else b"\0" for one in kept]
    assert left == b"".join(expected)


def test_only_what_the_belief_has_seen_is_told() -> None:
    """Items are followed back from the belief, each from the one that met it, and no further than that can be told."""
    first, second, third = (
        Kept(n, b"", before, after)
        for n, before, after in ((3, b"2222", b"3333"), (4, b"3333", b"4444"), (5, b"4444", b"5555"))
    )
    line = [first, second, third]
    assert KeptItems(5, line, b"5555").seen == line
    assert KeptItems(4, line[:2], b"4444").seen == line[:2]
    other = replace(second, awaited_by=b"3334")
    assert KeptItems(5, [first, other, third], b"5555").seen == [other, third]
    assert KeptItems(5, [first, replace(second, belief=b"4445"), third], b"5555").seen == [third]
    assert KeptItems(5, [first, third], b"5555").seen == [third]
    assert KeptItems(5, line, b"5556").seen == []
    assert KeptItems(6, line, b"5555").seen == []


@given(first=st.integers(1, 2**40), kept=st.integers(1, 100))
def test_the_last_replies_have_a_place_each(first: int, kept: int) -> None:
    """As many replies in a row as are kept never share a place, and one more begins the ring again."""
    places = [place(sequence, kept) for sequence in range(first, first + kept + 1)]
    assert len(set(places)) == kept
    assert places[0] == places[-1]
    assert all(is_part(field) and within < PER_PART for field, within in places)


@given(stream=st.text(min_size=1))
def test_all_keys_of_a_partition_share_a_slot(stream: str) -> None:
    """No stream name takes its key out of the partition's slot."""
    keys = PartitionKeys("boiler", 3)
    every = [keys.lease, keys.weights, keys.redo, keys.streams, keys.stream(stream)]
    assert len({key_slot(key.encode("utf-8", "surrogatepass")) for key in every}) == 1
