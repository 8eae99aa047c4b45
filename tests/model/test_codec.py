"""Bytes of beliefs, weights and redo records."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import codec, examples
from model.belief import Beliefs, belief_dtype
from model.codec import DamagedRecord, Kind, OtherFormat
from model.learner import Learner
from model.spec import CellKind, FieldSpec, ModelSpec
from tests.builders import feed, mixed_item, small_spec


@given(payload=st.binary(max_size=200), kind=st.sampled_from(list(Kind)))
def test_a_record_round_trips(payload: bytes, kind: Kind) -> None:
    """What is packed is unpacked."""
    assert bytes(codec.unpack(kind, codec.pack(kind, payload))) == payload


@given(payload=st.binary(min_size=1, max_size=60), data=st.data())
def test_a_changed_byte_is_noticed(payload: bytes, data: st.DataObject) -> None:
    """Any single byte changed anywhere makes the record damaged."""
    record = bytearray(codec.pack(Kind.BELIEF, payload))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedRecord) as refused:
        codec.unpack(Kind.BELIEF, bytes(record))
    assert not isinstance(refused.value, OtherFormat)


@pytest.mark.parametrize(
    ("found", "wrote"), [(codec.FORMAT + 1, "a newer version"), (codec.FORMAT - 1, "an older version")]
)
def test_another_format_is_told_from_damage(found: int, wrote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole record of another format says whose it is; the same with one byte changed is damaged."""
    with monkeypatch.context() as there:
        there.setattr(codec, "FORMAT", found)
        record = codec.pack(Kind.REDO, b"payload")
    with pytest.raises(OtherFormat, match=f"format {found}, written by {wrote}.*reads format {codec.FORMAT}"):
        codec.unpack(Kind.REDO, record)
    with pytest.raises(DamagedRecord, match="checksum"):
        codec.unpack(Kind.REDO, record[:-1])


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x02\0\0\0{", b"\x02\0\0\0[]", b"\xff\0\0\0{}"])
def test_a_record_of_arrays_begins_with_an_object(payload: bytes) -> None:
    """What has a right checksum and no object in front is damaged."""
    with pytest.raises(DamagedRecord):
        codec.unpack_arrays(Kind.REDO, codec.pack(Kind.REDO, payload))


@given(cut=st.integers(0, 40))
def test_a_torn_record_is_noticed(cut: int) -> None:
    """A record that ends early is damaged."""
    record = codec.pack(Kind.REDO, bytes(range(40)))
    with pytest.raises(DamagedRecord):
        codec.unpack(Kind.REDO, record[: len(record) - 1 - cut])


def test_kinds_and_layouts_do_not_mix() -> None:
    """A belief is no weights, and a belief of another model is refused by its size."""
    learner = Learner(small_spec())
    (encoded,) = learner.fresh_beliefs(1).encode()
    with pytest.raises(DamagedRecord, match="another kind"):
        codec.unpack(Kind.WEIGHTS, encoded)
    with pytest.raises(DamagedRecord, match="layout"):
        Learner(small_spec(hidden=16)).decode_beliefs([encoded])
    with pytest.raises(DamagedRecord, match="parameters"):
        Learner.from_snapshot(small_spec(hidden=16), learner.encode_weights())


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "fused"])
@pytest.mark.parametrize("n_reals", [0, 1, 2, 3])
@pytest.mark.parametrize("n_categories", [0, 1, 2])
def test_every_part_of_a_belief_is_aligned(cell: CellKind, n_reals: int, n_categories: int) -> None:
    """No part of any layout lies across its natural boundary, and no byte is outside a part."""
    if n_reals + n_categories == 0:
        return
    fields = [FieldSpec(f"r{i}") for i in range(n_reals)]
    fields += [FieldSpec(f"c{i}", "category", ("a", "b", "c")[: 2 + i]) for i in range(n_categories)]
    dtype = belief_dtype(ModelSpec(fields=tuple(fields), cell=cell, hidden=3, window=2))
    assert dtype.itemsize % 8 == 0
    assert all(offset % size == 0 for offset, size, _ in leaves(dtype))
    assert sum(size * n for _, size, n in leaves(dtype)) == dtype.itemsize


def leaves(dtype: np.dtype, offset: int = 0) -> Iterator[tuple[int, int, int]]:
    """Offset, number size and count of every run of numbers in a layout."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        n = int(np.prod(shape))
        if base.names is None:
            yield offset, base.itemsize, n
        else:
            for i in range(n):
                yield from leaves(base, offset + i * base.itemsize)
    elif dtype.names is not None:
        for name in dtype.names:
            part, at = dtype.fields[name][:2]  # type: ignore[index]
            yield from leaves(part, offset + at)
    else:
        yield offset, dtype.itemsize, 1


def test_beliefs_and_weights_round_trip() -> None:
    """Decoding gives the same bits, and ``None`` a stream that has seen nothing."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(2), 9, missing=0.2)
    first, second = beliefs.encode()
    decoded = learner.decode_beliefs([first, None, second])
    assert decoded.sequence.tolist() == [9, 0, 9]
    assert decoded[[0, 2]].records.tobytes() == beliefs.records.tobytes()
    again = Learner.from_snapshot(learner.spec, learner.encode_weights())
    assert again.encode_weights() == learner.encode_weights()


@pytest.mark.parametrize("index", [[2, 0], slice(0, 2), np.array([True, False, True]), slice(None)])
def test_beliefs_taken_from_a_batch_are_copies(index: Any) -> None:
    """They have the same bits, in the order asked for, and share no memory with the batch."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(3), 5)
    taken = beliefs[index]
    assert taken.records.tobytes() == beliefs.records[index].tobytes()
    assert not np.shares_memory(taken.records, beliefs.records)
    taken.records["sequence"] = 7
    assert np.frombuffer(taken.rows, taken.records.dtype)["sequence"].tolist() == [7] * len(taken)
    assert not np.shares_memory(beliefs.copy().records, beliefs.records)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": -1},
        {"n": 10**9},
        {"n": True},
        {"version": "2"},
        {"rate": 1e9},
        {"rate": None},
        {"novel": [["x"]]},
        {"novel": [["fast"], []]},
        {"novel": [[], [f"a{i}" for i in range(99)]]},
        {"novel": [[], [7]]},
    ],
)
def test_a_redo_record_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    """Numbers and values that no step could have recorded are refused, and change nothing."""
    learner = Learner(small_spec())
    feed(learner, learner.fresh_beliefs(1), 5)
    before = learner.encode_weights()
    step = learner.step(feed(learner.frozen(), learner.fresh_beliefs(1), 3), [mixed_item(learner.spec, 3, source())])
    assert step.redo is not None
    meta, payload = codec.unpack_arrays(Kind.REDO, step.redo)
    arrays = [np.frombuffer(payload, np.uint8)]
    with pytest.raises(DamagedRecord):
        learner.redo(codec.pack_arrays(Kind.REDO, {**meta, **changes}, arrays))
    assert learner.encode_weights() == before
    learner.redo(codec.pack_arrays(Kind.REDO, meta, arrays))
    assert learner.version == step.version


@pytest.mark.parametrize("part", ["slots", "target_slots", "n_known", "n_inputs"])
@pytest.mark.parametrize("value", [-2, 2**30])
def test_a_redo_records_indices_are_checked(part: str, value: int) -> None:
    """What kernels would take as an index is within its bounds, or the record is refused."""
    spec = small_spec()
    records = np.zeros(2, examples.example_dtype(spec))
    assert len(examples.read_examples(spec, memoryview(records.tobytes()))) == 2
    (records["window"] if part == "slots" else records)[part][1] = value
    with pytest.raises(DamagedRecord, match="bounds"):
        examples.read_examples(spec, memoryview(records.tobytes()))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": -1},
        {"n_updates": None},
        {"values": None},
        {"values": [["idle"], ["x"] * 2, []]},
        {"values": [["new"], []]},
    ],
)
def test_a_snapshot_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    """Numbers and values that no model of the spec has are refused."""
    learner = Learner(small_spec())
    meta, payload = codec.unpack_arrays(Kind.WEIGHTS, learner.encode_weights())
    arrays = [np.frombuffer(payload, np.uint8)]
    with pytest.raises(DamagedRecord):
        Learner.from_snapshot(learner.spec, codec.pack_arrays(Kind.WEIGHTS, {**meta, **changes}, arrays))
    numbers = arrays[0].copy()
    numbers[:4].view(np.float32)[0] = np.nan
    with pytest.raises(DamagedRecord, match="not finite"):
        Learner.from_snapshot(learner.spec, codec.pack_arrays(Kind.WEIGHTS, meta, [numbers]))


def source() -> np.random.Generator:
    """Numbers, the same each time."""
    return np.random.default_rng(3)


def test_indexing_copies() -> None:
    """A part of a batch can be changed without changing the batch."""
    beliefs = Beliefs.fresh(small_spec(), 3)
    part = beliefs[np.array([True, False, True])]
    part.records["sequence"] = 7
    assert beliefs.sequence.tolist() == [0, 0, 0]
