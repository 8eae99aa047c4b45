"""The ring of kept replies, and the keys of a partition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from service.store.keys import PartitionKeys
from service.store.records import decode_reply, encode_reply, reply_field

SEQUENCES = st.integers(min_value=1, max_value=2**63 - 1)


@given(sequence=SEQUENCES, reply=st.binary())
def test_a_reply_comes_back_as_it_was(sequence: int, reply: bytes) -> None:
    """A kept reply is the same bytes again."""
    assert decode_reply(encode_reply(sequence, reply), sequence) == reply


@given(sequence=SEQUENCES, other=SEQUENCES, reply=st.binary())
def test_a_reply_answers_its_own_sequence_only(sequence: int, other: int, reply: bytes) -> None:
    """A slot that holds the reply to another sequence gives none."""
    if sequence != other:
        assert decode_reply(encode_reply(sequence, reply), other) is None


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
