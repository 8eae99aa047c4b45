"""Reading observations as columns: all that is in order is taken, and whatever is taken is read as with care."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model.items import Items, parse_item
from model.spec import FieldSpec, ModelSpec
from service.api.frames import Question, Rows, gather, read_frame
from service.batcher import Observation
from service.columns import PLAIN, ColumnReader, Columns
from service.errors import InvalidItem, ServiceError
from service.json_body import read_json
from service.schemas import ObservationIn

LOAD, UNIT = FieldSpec("load"), FieldSpec("Ünit 7")
STATE = FieldSpec("state", "category", ("idle", "busy", "\U0001f600"))
ACTIVITY = FieldSpec("activity", "category", capacity=3)
SPECS = {
    "mixed": ModelSpec(fields=(LOAD, STATE, UNIT, ACTIVITY)),
    "real": ModelSpec(fields=(LOAD,)),
    "texts": ModelSpec(fields=(ACTIVITY, STATE)),
}
READERS = {name: ColumnReader(spec) for name, spec in SPECS.items()}
MAX_ITEMS = 4

NUMBERS = st.one_of(
    st.floats(-PLAIN, PLAIN, exclude_min=True, exclude_max=True).map(repr),
    st.integers(-(10**17), 10**17).map(str),
    st.sampled_from(["0", "-0", "-0.0", "1E5", "1e-400", "-1e-400", "5e-324", "0.1e1", "9007199254740993"]),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
NAMES = TEXTS.filter(lambda name: name.isprintable() and not {"/", "\ufffd"} & set(name) and name not in {".", ".."})
VALUES = {
    "load": NUMBERS,
    "Ünit 7": NUMBERS,
    "state": st.sampled_from(["idle", "busy", "\U0001f600"]).map(json.dumps),
    "activity": TEXTS.map(json.dumps),
}
TIMES = st.one_of(st.datetimes().map(lambda time: json.dumps(time.isoformat())), st.just('"2026-01-01T10:00:00+05:30"'))
STRANGE = st.sampled_from(
    [
        *("null", "true", '"1"', "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400", "1e100", "1e101", "-1e18", "01"),
        *("1.0", "0", "-1", str(2**63 - 1), str(2**63), str(2**64), "9" * 30, "1" * 19, "1.5", "1" * 25 + ".5", '""'),
        *('"idle"', '"off"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"a/b"', '".."', '"\ufffd"', '"now"'),
        *(json.dumps("x" * 256), json.dumps("x" * 257), '"2026-01-01"', '"0001-01-01T00:00:00+23:59"', ""),
        *(
            '"load":1',
            '"item":{}',
            '"stream":"y"',
            '"other":1',
            '"sequence":2',
            '"observations":[]',
            ",",
            " ",
            "}",
            "{",
        ),
    ]
)


@st.composite
def observations(draw: st.DrawFn, spec: ModelSpec, *, stream: bool) -> str:
    """JSON of one that is in order."""
    fields = [f for f in draw(st.permutations(spec.fields)) if draw(st.booleans())]
    values = (f"{json.dumps(f.name)}: {draw(VALUES[f.name] | st.just('null'))}" for f in fields)
    parts = [f'"item": {{{", ".join(values)}}}']
    if stream:
        parts.append(f'"stream": {draw(NAMES.map(json.dumps))}')
    if draw(st.booleans()):
        parts.append(f'"sequence": {draw(st.integers(1, 2**63 - 1).map(str) | st.just("null"))}')
    if draw(st.booleans()):
        parts.append(f'"timestamp": {draw(TIMES | st.just("null"))}')
    return f"{{{', '.join(draw(st.permutations(parts)))}}}"


@st.composite
def frames(draw: st.DrawFn, spec: ModelSpec) -> bytes:
    """A frame that is in order."""
    if draw(st.booleans()):
        return draw(observations(spec, stream=True)).encode()
    many = draw(st.lists(observations(spec, stream=True), min_size=1, max_size=MAX_ITEMS))
    return f'{{"observations": [{", ".join(many)}]}}'.encode()


@st.composite
def spoiled(draw: st.DrawFn, bodies: st.SearchStrategy[str]) -> bytes:
    """One that is in order but for a token that was replaced, doubled or put in, and may be no JSON at all."""
    text = draw(bodies)
    ends = [0, *(i for i, c in enumerate(text) if c in '{}[],: "'), len(text)]
    begin, end = sorted(draw(st.tuples(st.sampled_from(ends), st.sampled_from(ends))))
    put = draw(STRANGE | st.just(text[begin:end] * 2))
    raw = (text[:begin] + put + text[end:]).encode("utf-8", "surrogatepass")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 9)) == 0 else raw


def with_care(
    spec: ModelSpec, found: list[Observation | ServiceError]
) -> tuple[list[str], list[int | None], Items] | None:
    """Streams, sequences and items as the careful way reads them; None if it refuses one."""
    try:
        kept = [o for o in found if isinstance(o, Observation)]
        items = [parse_item(spec, o.item, o.timestamp_us) for o in kept]
    except ValueError:
        return None
    if len(kept) < len(found):
        return None
    return [o.stream for o in kept], [o.sequence for o in kept], Items.of(spec, items)


def same(columns: Columns, expected: tuple[list[str], list[int | None], Items] | None) -> bool:
    """Whether both say the same, to the bit."""
    if expected is None:
        return False
    streams, sequences, items = expected
    return (
        list(columns.streams) == streams
        and list(columns.sequences) == sequences
        and [type(s) for s in columns.sequences] == [type(s) for s in sequences]
        and np.array_equal(columns.items.reals.view(np.int64), items.reals.view(np.int64))
        and columns.items.reals.shape == items.reals.shape
        and columns.items.categories == items.categories
        and np.array_equal(columns.items.timestamp_us, items.timestamp_us)
    )


def check(spec: ModelSpec, reader: ColumnReader, raw: bytes) -> Columns | None:
    """What is read of a frame, once it was compared with the careful way."""
    found, carefully = read_frame(raw, MAX_ITEMS, reader), read_frame(raw, MAX_ITEMS)
    assert (found.size, type(found) is Question) == (carefully.size, type(carefully) is Question)
    if isinstance(found, Question) or isinstance(carefully, Question | Rows):
        return None
    assert found.form == carefully.form
    gathered = gather([found], MAX_ITEMS, reader)
    if isinstance(gathered, Columns):
        assert same(gathered, with_care(spec, carefully.observations))
        return gathered
    assert [repr(o) for o in gathered] == [repr(o) for o in carefully.observations]
    return None


@pytest.mark.parametrize("name", SPECS)
@given(data=st.data())
def test_what_is_in_order_is_taken(name: str, data: st.DataObject) -> None:
    """Every frame, and every body of one observation."""
    spec, reader = SPECS[name], READERS[name]
    assert check(spec, reader, data.draw(frames(spec))) is not None
    body = data.draw(observations(spec, stream=False)).encode()
    observation = ObservationIn.model_validate(read_json(body)).to_observation("s")
    columns = reader.one(body, "s")
    assert columns is not None
    assert same(columns, with_care(spec, [observation]))


@pytest.mark.parametrize("name", SPECS)
@given(data=st.data())
def test_whatever_is_taken_is_read_alike(name: str, data: st.DataObject) -> None:
    """A frame that something is wrong with, or might be."""
    spec = SPECS[name]
    check(spec, READERS[name], data.draw(spoiled(frames(spec).map(bytes.decode))))


@pytest.mark.parametrize("name", SPECS)
@given(data=st.data())
def test_whatever_one_body_is_taken_for_is_read_alike(name: str, data: st.DataObject) -> None:
    """A body of one observation that something is wrong with, or might be, and any name of a stream."""
    spec = SPECS[name]
    raw = data.draw(spoiled(observations(spec, stream=False)))
    stream = data.draw(NAMES | st.sampled_from([".", "..", "a/b", "\ufffd", "\x00", "", "x" * 256, "x" * 257]))
    columns = READERS[name].one(raw, stream)
    if columns is not None:
        body: dict[str, Any] = {**read_json(raw), "stream": stream}
        (observation,) = _read(body)
        assert same(columns, with_care(spec, [observation]))


def _read(body: dict[str, Any]) -> list[Observation | ServiceError]:
    found = read_frame(json.dumps(body).encode(), MAX_ITEMS)
    assert not isinstance(found, Question | Rows)
    return found.observations


@given(
    raws=st.lists(spoiled(frames(SPECS["mixed"]).map(bytes.decode)) | frames(SPECS["mixed"]), min_size=1, max_size=4)
)
def test_frames_together_say_what_each_says(raws: list[bytes]) -> None:
    """Those that came together are one list of items, in their order, whether or not one of them is out of order."""
    spec, reader = SPECS["mixed"], READERS["mixed"]
    found = [frame for frame in (read_frame(raw, MAX_ITEMS, reader) for raw in raws) if not isinstance(frame, Question)]
    carefully = [
        frame for frame in (read_frame(raw, MAX_ITEMS) for raw in raws) if not isinstance(frame, Question | Rows)
    ]
    expected = [o for frame in carefully for o in frame.observations]
    if not found:
        return
    gathered = gather(found, MAX_ITEMS, reader)
    if isinstance(gathered, Columns):
        assert same(gathered, with_care(spec, expected))
    else:
        assert [repr(o) for o in gathered] == [repr(o) for o in expected]


def test_fields_that_changed_are_read_again() -> None:
    """A frame that was read for a model which was made anew meanwhile is an item of the new one, or none."""
    raw = b'{"stream": "s", "item": {"load": 1}}'
    before, after = ColumnReader(SPECS["real"]), ColumnReader(SPECS["texts"])
    frame = read_frame(raw, MAX_ITEMS, before)
    assert isinstance(frame, Rows)
    assert isinstance(gather([frame], MAX_ITEMS, before), Columns)
    assert gather([frame], MAX_ITEMS, after) == [Observation("s", {"load": 1})]


def test_too_many_items_are_for_the_careful_way() -> None:
    """It says how many may be."""
    one = '{"stream": "s", "item": {}}'
    for n, is_taken in ((MAX_ITEMS, True), (MAX_ITEMS + 1, False), (0, False)):
        raw = f'{{"observations": [{", ".join([one] * n)}]}}'.encode()
        assert isinstance(read_frame(raw, MAX_ITEMS, READERS["real"]), Rows) is is_taken


def test_a_name_that_json_escapes_has_no_fast_way() -> None:
    """A model with such a field is read carefully throughout."""
    spec = ModelSpec(fields=(FieldSpec('in "quotes"'), LOAD))
    reader = ColumnReader(spec)
    raw = json.dumps({"stream": "s", "item": {'in "quotes"': 1}}).encode()
    assert check(spec, reader, raw) is None
    assert reader.one(b'{"item": {"load": 1}}', "s") is None
    assert not isinstance(read_frame(raw, MAX_ITEMS, reader), Rows)


def test_what_is_refused_is_refused_with_its_reason() -> None:
    """In its place; the others go on."""
    raw = b'{"observations": [{"stream": "s", "item": {"load": true}}, {"stream": "s", "item": {"load": 1}}]}'
    found = read_frame(raw, MAX_ITEMS, READERS["real"])
    assert not isinstance(found, Rows | Question)
    assert [type(o) for o in found.observations] == [Observation, Observation]  # its values are looked at by the engine
    with pytest.raises(ValidationError):
        ObservationIn.model_validate({"item": {}, "sequence": 0})
    refused = read_frame(b'{"stream": "s", "item": {"load": 1}, "sequence": 0}', MAX_ITEMS, READERS["real"])
    assert not isinstance(refused, Rows | Question)
    assert isinstance(refused.observations[0], InvalidItem)
