"""Models and streams as files: what is written comes back to the bit, and nothing else is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import deserialize
from safetensors.numpy import load

from model import archive, archive_reading
from model.archive_reading import ModelContent
from model.items import Item, parse_item
from model.learner import Learner
from model.soundness import check, named_parts
from model.spec import FieldSpec, ModelSpec
from model.tensors import InvalidArchive, TensorFile, write
from tests.builders import feed, mixed_item, small_spec

LIBRARY = "1.2.3"
NAMES = ("a", "b", "ü")

SPECS = {
    "mixed": small_spec(),
    "gru, light": small_spec(cell="gru", experts="light", layers=2),
    "alone": small_spec(experts="none"),
    "real": ModelSpec(fields=(FieldSpec("load"),), hidden=8),
    "category": ModelSpec(fields=(FieldSpec("activity", "category", capacity=5),), hidden=8),
}


def grown(spec: ModelSpec, n_items: int = 120) -> tuple[Learner, dict[str, bytes]]:
    """A learner, and the beliefs of three streams that it learned from."""
    learner = Learner(spec)
    beliefs = feed(learner, learner.fresh_beliefs(len(NAMES)), n_items, missing=0.1)
    return learner, dict(zip(NAMES, beliefs.encode(), strict=True))


MIXED, STREAMS = grown(SPECS["mixed"])
MODEL_FILE = archive.pack_model(MIXED, "boiler", STREAMS, LIBRARY)
STREAM_FILE = archive.pack_stream(MIXED, "boiler", "a", STREAMS["a"], LIBRARY)


def read_model(data: bytes) -> ModelContent:
    """Read a model's file as the service does, the spec taken as it is."""
    file = TensorFile(data)
    archive_reading.check_format(file, archive.MODEL)
    try:
        spec = ModelSpec.from_dict(json.loads(file.text("spec")))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArchive("spec") from error
    return archive_reading.read_model(file, spec)


def read_stream(data: bytes, learner: Learner = MIXED) -> bytes:
    """Read a stream's file for a learner's model."""
    file = TensorFile(data)
    archive_reading.check_format(file, archive.STREAM)
    theirs = ModelSpec.from_dict(json.loads(file.text("spec")))
    return archive_reading.read_stream(file, theirs, learner.spec, learner.vocabulary)


def header(data: bytes) -> dict[str, Any]:
    """A file's header."""
    found: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return found


def changed(data: bytes, arrays: dict[str, Any] | None = None, **texts: str | None) -> bytes:
    """The file with other arrays and texts; ``None`` leaves one out, a function is applied."""
    found: dict[str, NDArray[Any]] = {name: array.copy() for name, array in load(data).items()}
    for name, array in (arrays or {}).items():
        if array is None:
            del found[name]
        else:
            found[name] = array(found[name]) if callable(array) else array
    told = {**header(data)["__metadata__"], **texts}
    return write({name: text for name, text in told.items() if text is not None}, found)


def put(value: float, at: Any = ...) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Puts a value at a place of an array."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[at] = value
        return array

    return change


def as_bytes(value: Any) -> NDArray[np.uint8]:
    """JSON as a tensor."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


@pytest.mark.parametrize("name", SPECS)
def test_a_model_comes_back_to_the_bit(name: str) -> None:
    """Weights, optimiser state, vocabulary, counts, version and beliefs are those that were written."""
    learner, streams = grown(SPECS[name])
    content = read_model(archive.pack_model(learner, "boiler", streams, LIBRARY))
    assert content.snapshot == learner.encode_weights()
    assert content.version == learner.version
    assert content.streams == streams
    assert set(content.sequences.values()) == {120}
    assert read_model(archive.pack_model(learner, "boiler", {}, LIBRARY)).streams == {}


def test_a_model_that_learned_nothing_comes_back() -> None:
    """Its weights are the seed's."""
    learner = Learner(small_spec())
    assert read_model(archive.pack_model(learner, "boiler", {}, LIBRARY)).snapshot == learner.encode_weights()


def test_a_model_goes_on_as_the_one_written() -> None:
    """The same items give the same beliefs, weights and replies, bit for bit."""
    content = read_model(MODEL_FILE)
    twin = Learner.from_snapshot(MIXED.spec, content.snapshot)
    original = Learner.from_snapshot(MIXED.spec, MIXED.encode_weights())
    ours, theirs = original.decode_beliefs(list(STREAMS.values())), twin.decode_beliefs(list(content.streams.values()))
    source = np.random.default_rng(1)
    for n in range(20):
        items: list[Item] = [mixed_item(MIXED.spec, n, source, missing=0.1) for _ in NAMES]
        step, again = original.step(ours, items), twin.step(theirs, items)
        assert step.results == again.results
        for learner, taken in ((original, step), (twin, again)):
            learner.adopt(taken)
        ours, theirs = step.beliefs, again.beliefs
    assert ours.encode() == theirs.encode()
    assert original.encode_weights() == twin.encode_weights()


def test_a_file_is_plain_to_read() -> None:
    """Anything that reads safetensors finds weights by name and shape, beliefs by part, and what the file is."""
    found, told = load(MODEL_FILE), header(MODEL_FILE)["__metadata__"]
    assert found["weights.readout"].shape == (8, 10)
    assert np.array_equal(found["weights.initial"], MIXED.network.layout.view(MIXED.weights.flat, "initial"))
    beliefs = MIXED.decode_beliefs(list(STREAMS.values())).records
    assert np.array_equal(found["beliefs.state"], beliefs["state"])
    assert np.array_equal(found["beliefs.scale.level"], beliefs["scale"]["level"])
    assert json.loads(found["vocabulary"].tobytes()) == MIXED.vocabulary.values
    assert (told["format"], told["format_version"], told["library_version"]) == ("stepahead-model", "1", LIBRARY)
    assert json.loads(told["spec"]) == MIXED.spec.to_dict()
    assert told["weights_version"] == str(MIXED.version)
    told = header(STREAM_FILE)["__metadata__"]
    assert (told["format"], told["model"], told["stream"], told["sequence"]) == (
        "stepahead-stream",
        "boiler",
        "a",
        "120",
    )


def test_a_stream_comes_back_to_the_bit() -> None:
    """For its own model, and for one like it that has met more values and learns otherwise."""
    assert read_stream(STREAM_FILE) == STREAMS["a"]
    fresh = Learner(small_spec(quantiles=(0.5,), tails="normal", seed=3))
    fresh.vocabulary.add([[], [*MIXED.vocabulary.values[1]]])
    assert read_stream(STREAM_FILE, fresh) == STREAMS["a"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"hidden": 16}, "its hidden is 8, the model's 16"),
        ({"layers": 2}, "its layers is 1, the model's 2"),
        ({"window": 5}, "its window is 4, the model's 5"),
        ({"cell": "gru"}, "its cell is 'lstm', the model's 'gru'"),
        ({"experts": "none"}, "its experts is 'all', the model's 'none'"),
        ({"fields": (FieldSpec("load"),)}, "it has 3 fields, the model 1"),
        ({"fields": (FieldSpec("heat"), *SPECS["mixed"].fields[1:])}, r"its field 1 is 'load' \(real\), .* 'heat'"),
        (
            {"fields": (*SPECS["mixed"].fields[:2], FieldSpec("activity", "category", capacity=6))},
            "its field 'activity' takes other values",
        ),
        ({}, "of field 'activity' the model knows other values"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused(other: dict[str, Any], why: str) -> None:
    """And what differs is named; a model that does not know the stream's values yet counts as different."""
    with pytest.raises(InvalidArchive, match=why):
        read_stream(STREAM_FILE, Learner(small_spec(**other)))


def test_values_in_another_order_do_not_fit() -> None:
    """A belief holds places in the vocabulary, not values."""
    other = Learner(small_spec())
    other.vocabulary.add([[], MIXED.vocabulary.values[1][::-1]])
    with pytest.raises(InvalidArchive, match="knows other values"):
        read_stream(STREAM_FILE, other)


CLOSED = ["idle", "busy", "off"]
HUGE = json.dumps({**SPECS["mixed"].to_dict(), "hidden": 1024, "layers": 4})
WIDE = json.dumps({"fields": [{"name": f"f{i}", "kind": "category", "capacity": 65_536} for i in range(64)]})

REFUSED: dict[str, tuple[dict[str, Any], dict[str, str | None], str]] = {
    "no format": ({}, {"format": None}, "its metadata has no 'format'"),
    "another format": ({}, {"format": "pt"}, "its format is 'pt'"),
    "a later version": ({}, {"format_version": "2"}, "its format version is 2"),
    "no version": ({}, {"format_version": "-1"}, "its format_version is '-1'"),
    "a version beyond doubles": ({}, {"weights_version": str(2**53)}, "its weights_version"),
    "a version in other digits": ({}, {"weights_version": "٣"}, "its weights_version"),
    "a huge network": ({}, {"spec": HUGE}, "'weights.input.0' is F32 of shape"),
    "a huge vocabulary": ({}, {"spec": WIDE}, "tensor 'weights.input.0'"),
    "a missing tensor": ({"weights.readout": None}, {}, "it has no tensor 'weights.readout'"),
    "an unknown tensor": ({"weights.more": np.zeros(1, np.float32)}, {}, "its tensor 'weights.more' is not known"),
    "another type": ({"weights.readout": lambda a: a.astype(np.float64)}, {}, "is F64 of shape"),
    "a type nobody has": ({"weights.readout": lambda a: a.astype(np.float16)}, {}, "is F16 of shape"),
    "another shape": ({"weights.readout": lambda a: a.T.copy()}, {}, r"shape \[10, 8\] where F32 of shape \[8, 10\]"),
    "NaN among weights": ({"weights.bias.0": put(np.nan, 3)}, {}, "its weights are not finite"),
    "infinite moments": ({"optimiser.second.readout": put(np.inf, 0)}, {}, "its weights are not finite"),
    "negative squares": ({"optimiser.second.readout": put(-1, 0)}, {}, "optimiser.second is negative"),
    "NaN among counts": ({"counts.smoothing": put(np.nan, 0)}, {}, "its counts.smoothing is out of its bounds"),
    "negative counts": ({"counts.squares": put(-1, 0)}, {}, "its counts.squares is out of its bounds"),
    "rows out of place": ({"counts.places": put(0)}, {}, "its rows are out of place"),
    "squares to divide by": ({"counts.squares": put(0, 0)}, {}, "its counts.squares is out of its bounds"),
    "too large an exponent": ({"counts.exponents": put(2.1, 0)}, {}, "its counts.exponents is out of its bounds"),
    "curvature without end": ({"counts.curvature": put(np.inf, 0)}, {}, "its counts.curvature is out of its bounds"),
    "weights of no sum": ({"counts.weights": put(0, 0)}, {}, "its counts.weights are not shares of 1"),
    "a negative weight": ({"counts.weights": put(-0.1, 0)}, {}, "its counts.weights are not shares of 1"),
    "a count of 0": ({"counts.rows": put(1 << 15, (0, 3))}, {}, "its counts.rows are not rows"),
    "too large a count": ({"counts.rows": put(256, (0, 3))}, {}, "its counts.rows are not rows"),
    "a row under no key": ({"counts.rows": put(0, (0, 0))}, {}, "its counts.rows are not rows"),
    "less than nothing counted": ({"counts.state": put(-1, 1)}, {}, "its counts.state is not of its rows"),
    "rows that are not there": ({"counts.state": put(0)}, {}, "its counts.state is not of its rows"),
    "a table of no size": ({}, {"counts_rows": "100"}, "in 100 rows"),
    "a vocabulary that is none": ({"vocabulary": np.zeros(9, np.uint8)}, {}, "'vocabulary' holds no JSON"),
    "nested beyond reason": ({"vocabulary": np.full(10**5, ord("["), np.uint8)}, {}, "'vocabulary' holds no JSON"),
    "a vocabulary of numbers": ({"vocabulary": as_bytes([CLOSED, [1]])}, {}, "'activity' is not a list"),
    "half a character": (
        {"vocabulary": as_bytes([CLOSED, ["\ud800"]])}, {}, "'activity' is not a list",
    ),
    "one value twice": ({"vocabulary": as_bytes([CLOSED, ["x", "x"]])}, {}, "'activity' is not a list"),
    "too many values": ({"vocabulary": as_bytes([CLOSED, [*"abcdef"]])}, {}, "more than fits it"),
    "other closed values": ({"vocabulary": as_bytes([["idle", "off", "busy"], []])}, {}, "is not the spec's"),
    "one field too few": ({"vocabulary": as_bytes([CLOSED])}, {}, "not one list for each of 2"),
    "names twice": ({"streams": as_bytes(["a", "a", "b"])}, {}, "not a list of distinct names"),
    "names that are none": ({"streams": as_bytes({"a": 1})}, {}, "not a list of distinct names"),
    "more names than beliefs": ({"streams": as_bytes([*"abcd"])}, {}, "too short|of shape"),
    "a million streams": ({"streams": as_bytes([f"s{i}" for i in range(10**6)])}, {}, "too short for the beliefs"),
    "a slot that is not there": ({"beliefs.last_slots": put(6, (0, 1))}, {}, "last_slots is out of its bounds"),
    "a slot below all": ({"beliefs.window.slots": put(-2, 0)}, {}, "window.slots is out of its bounds"),
    "a token that is not there": ({"beliefs.ngrams.tokens": put(3, (0, 0))}, {}, "ngrams.tokens is out of its bounds"),
    "more known than there are": ({"beliefs.n_known": put(6, (1, 1))}, {}, "n_known is out of its bounds"),
    "a season beyond the past": ({"beliefs.experts.periods": put(341, 0)}, {}, "experts.periods is out of its bounds"),
    "an endless distribution": ({"beliefs.pending.degrees": put(1e15, 0)}, {}, "pending.degrees is out of its bounds"),
    "a belief before its first item": ({"beliefs.sequence": put(0, 2)}, {}, "sequence is out of its bounds"),
    "a sequence beyond doubles": ({"beliefs.sequence": put(2**53, 2)}, {}, "sequence is out of its bounds"),
    "a time beyond time": ({"beliefs.timestamp_us": put(2**60, 0)}, {}, "timestamp_us is out of its bounds"),
    "NaN in a belief": ({"beliefs.state": put(np.nan, 0)}, {}, "state is out of its bounds"),
    "a belief that blows up": ({"beliefs.window.start": put(1e30, 0)}, {}, "window.start is out of its bounds"),
    "inputs that are none": ({"beliefs.window.dense": put(9, 0)}, {}, "window.dense is out of its bounds"),
    "a value beyond all": ({"beliefs.scale.value": put(1e150, 0)}, {}, "scale.value is out of its bounds"),
    "a negative square": ({"beliefs.scale.change": put(-1, 0)}, {}, "scale.change is out of its bounds"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_a_model_is_refused_by_name(what: str) -> None:
    """Each with one line that says what is wrong."""
    arrays, texts, why = REFUSED[what]
    with pytest.raises(InvalidArchive, match=why) as refused:
        read_model(changed(MODEL_FILE, arrays, **texts))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\x00" * 8, b"PK\x03\x04" * 100, b"\xff" * 100, MODEL_FILE + b"\x00"])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    """Nothing, another format, a header longer than the file, something after the end."""
    with pytest.raises(InvalidArchive, match="not a safetensors file"):
        read_model(data)


@given(cut=st.integers(0, len(MODEL_FILE) - 1))
def test_a_file_cut_short_is_refused(cut: int) -> None:
    """Wherever it ends."""
    with pytest.raises(InvalidArchive, match="not a safetensors file"):
        read_model(MODEL_FILE[:cut])


@settings(max_examples=300)
@given(at=st.integers(0, 8 + int.from_bytes(MODEL_FILE[:8], "little")), byte=st.integers(0, 255))
def test_any_header_is_read_or_refused(at: int, byte: int) -> None:
    """A byte changed in the header may change a name or a number; no other error comes of it."""
    data = bytearray(MODEL_FILE)
    data[at] = byte
    with suppress(InvalidArchive):
        read_model(bytes(data))


def test_tensors_fill_the_file() -> None:
    """A file takes no more than its arrays and a header of some kilobytes."""
    size = sum(len(tensor["data"]) for _, tensor in deserialize(MODEL_FILE))
    assert size < len(MODEL_FILE) < size + 20_000


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("n_items", [1, 2, 10, 400])
def test_every_belief_that_a_learner_makes_is_sound(name: str, n_items: int) -> None:
    """Of any age, with missing values, and with fields that were never seen."""
    spec = SPECS[name]
    learner = Learner(spec)
    beliefs = feed(learner, learner.fresh_beliefs(3), n_items, missing=0.2)
    check(spec, beliefs)
    unseen = learner.step(learner.fresh_beliefs(1), [parse_item(spec, {})]).beliefs
    check(spec, unseen)
    wild = learner.fresh_beliefs(1)
    for n in range(min(n_items, 110)):
        values = {field.name: (-1.0) ** n * 10.0 ** (n % 101) for field in spec.reals} if n % 7 else {}
        wild = learner.step(wild, [parse_item(spec, values)]).beliefs
    check(spec, wild)


@pytest.mark.parametrize("part", sorted(named_parts(MIXED.fresh_beliefs(1).records)))
def test_what_is_taken_does_no_harm(part: str) -> None:
    """Whatever number stands in a belief that is not refused, the stream beside it learns on, and nothing breaks."""
    source = np.random.default_rng(0)
    for value in (0, 1, -1, 27, 340, 1e15, 1e30, 1e105, -1e105, 2**31 - 1, 2**53 - 1):
        beliefs = MIXED.decode_beliefs([STREAMS["a"], STREAMS["b"]])
        place = named_parts(beliefs.records)[part][1:]
        if place.dtype.kind == "f":
            place[...] = np.clip(value, float(np.finfo(place.dtype).min), float(np.finfo(place.dtype).max))
        else:
            place[...] = min(max(int(value), np.iinfo(place.dtype).min), np.iinfo(place.dtype).max)
        try:
            check(MIXED.spec, beliefs)
        except ValueError:
            continue
        learner = MIXED.with_spec(MIXED.spec)
        for n in range(2):
            with np.errstate(all="ignore"):
                step = learner.step(beliefs, [mixed_item(MIXED.spec, 120 + n, source) for _ in range(2)])
            assert not step.refused
            learner.adopt(step)
            beliefs = step.beliefs
        check(MIXED.spec, beliefs[:1])
