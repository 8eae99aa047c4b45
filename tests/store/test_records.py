"""The ring of kept replies and items, and the keys of a partition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from model.codec import DamagedRecord
from service.store.keys import PartitionKeys
from service.store.records import KeptItems
from service.store.ring import Kept, KeptItem, encode_sequence, reply_field

SEQUENCES = st.integers(min_value=1, max_value=2**63 - 1)
CHECKSUMS = st.binary(min_size=4, max_size=4).filter(any) | st.just(b"")
ITEMS = st.builds(
    KeptItem, st.binary(min_size=2), st.none() | st.integers(-(2**63) + 1, 2**63 - 1), CHECKSUMS
)  # fmt: skip
KEPT = st.builds(Kept, SEQUENCES, st.binary(), st.none() | ITEMS, CHECKSUMS)


@given(kept=KEPT)
def test_what_is_kept_comes_back_as_it_was(kept: Kept) -> None:
    """Reply, item, time and checksums are the same again."""
    assert Kept.decode(kept.encode(), kept.sequence) == kept


@given(sequence=SEQUENCES, reply=st.binary())
def test_a_reply_alone_is_read(sequence: int, reply: bytes) -> None:
    """What an older version wrote is the reply after its sequence, without an item."""
    bare = b"{" + reply
    assert Kept.decode(encode_sequence(sequence) + bare, sequence) == Kept(sequence, bare)


@given(kept=KEPT, other=SEQUENCES)
def test_a_reply_answers_its_own_sequence_only(kept: Kept, other: int) -> None:
    """A slot that holds what is kept of another sequence gives none."""
    if kept.sequence != other:
        assert Kept.decode(kept.encode(), other) is None


@given(kept=KEPT, place=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_is_noticed(kept: Kept, place: int, bit: int, cut: bool) -> None:
    """A value that was cut short, or has another bit after its sequence, is refused, not read."""
    value = bytearray(kept.encode())
    place = 8 + place % (len(value) - 8)
    if cut:
        del value[place:]
    else:
        value[place] ^= 1 << bit
    if value[8:9] != b"{":
        with pytest.raises(DamagedRecord):
            Kept.decode(bytes(value), kept.sequence)


def test_only_what_the_belief_has_seen_is_told() -> None:
    """Items are followed back from the belief, each from the one that met it, and no further than that can be told."""
    first, second, third = (
        Kept(n, b"{}", KeptItem(b"{}", None, before), after)
        for n, before, after in ((3, b"2222", b"3333"), (4, b"3333", b"4444"), (5, b"4444", b"5555"))
    )
    line = [first, second, third]
    assert KeptItems(5, line, b"5555").seen == line
    assert KeptItems(4, line[:2], b"4444").seen == line[:2]
    other = replace(second, item=KeptItem(b"{}", None, b"3334"))
    assert KeptItems(5, [first, other, third], b"5555").seen == [other, third]
    assert KeptItems(5, [first, replace(second, belief=b"4445"), third], b"5555").seen == [third]
    assert KeptItems(5, [first, replace(second, item=None), third], b"5555").seen == [third]
    assert KeptItems(5, [first, third], b"5555").seen == [third]
    assert KeptItems(5, line, b"5556").seen == []
    assert KeptItems(6, line, b"5555").seen == []


@given(first=st.integers(1, 2**40), kept=st.integers(1, 100))
def test_the_last_replies_have_a_field_each(first: int, kept: int) -> None:
    """As many replies in a row as are kept never share a field, and one more begins the ring again."""
    fields = [reply_field(sequence, kept) for sequence in range(first, first + kept + 1)]
    assert len(set(fields)) == kept
    assert fields[0] == fields[-1]


@given(stream=st.text(min_size=1))
def test_all_keys_of_a_partition_share_a_slot(stream: str) -> None:
    """No stream name takes its key out of the partition's slot."""
    keys = PartitionKeys("boiler", 3)
    every = [keys.lease, keys.weights, keys.redo, keys.streams, keys.stream(stream)]
    assert len({key_slot(key.encode("utf-8", "surrogatepass")) for key in every}) == 1
