"""Records that nobody wrote as they are: only the named error comes out, nothing crashes, nothing grows unbounded."""

from __future__ import annotations

import json
import math
import random
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import codec, ngrams, soundness
from model.codec import DamagedRecord, Kind
from model.items import MAX_MAGNITUDE, parse_item
from model.learner import Learner
from model.reply import Reply
from model.reply_form import ReplyForm
from model.spec import ModelSpec
from service.model_record import ModelRecord
from service.store.ring import Kept, until, values
from tests.builders import mixed_item, small_spec
from tests.fuzz.corruption import TRIALS, Learned, damaged, specs
from tests.fuzz.form import LONG

ROOT = Path(__file__).parents[2]
TRIALS_EACH = 200 if LONG is None else 10 * LONG
SEEDS = (1,) if LONG is None else range(1, 5)
WAIT_S = 1800.0

VALUES = st.one_of(
    st.none(),
    st.floats(-MAX_MAGNITUDE, MAX_MAGNITUDE),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-310, MAX_MAGNITUDE, -MAX_MAGNITUDE]),
)
TIMES = st.one_of(st.none(), st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", TRIALS)
def test_damaged_records_are_refused_or_harmless(kind: str, seed: int) -> None:
    """Whatever is done to a record, under a right checksum too, it is refused by name or works on, and bounded."""
    command = [sys.executable, "-m", "tests.fuzz.corruption", kind, str(seed), str(TRIALS_EACH)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ended = json.loads(done.stdout)
    assert sum(ended.values()) == TRIALS_EACH
    assert len(ended) == 2, "some were refused, and some reached what lies behind"


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.cell)
@given(items=st.lists(st.tuples(VALUES, VALUES, st.integers(0, 12), TIMES), max_size=30))
def test_every_belief_of_a_run_is_sound(spec: ModelSpec, items: list[tuple[Any, Any, int, int | None]]) -> None:
    """A belief that items led to passes, whatever they were, from the first on."""
    learner = Learner(spec)
    beliefs = learner.fresh_beliefs(1)
    soundness.check(spec, beliefs, learner.vocabulary.n_known)
    for load, other, number, time_us in items:
        named = {"load": load, "other": other, "state": ("idle", "busy", "off")[number % 3], "activity": f"a{number}"}
        step = learner.step(beliefs, [parse_item(spec, {name: named[name] for name in spec.field_names}, time_us)])
        learner.adopt(step)
        beliefs = step.beliefs
        soundness.check(spec, beliefs, learner.vocabulary.n_known)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sequence", -1),
        ("timestamp_us", 2**62),
        ("n_known", 6),
        ("last_slots", 6),
        ("probabilities", np.nan),
        ("window.slots", 2**30),
        ("window.dense", np.inf),
        ("scale.change", -1.0),
        ("scale.observed", np.nan),
        ("pending.degrees", 1.0),
        ("pending.mean", 1e200),
        ("drift.fields.drifting", 7),
        ("tally.reals.scored", 0.5),
        ("experts.items", -1),
        ("experts.periods", 3),
        ("experts.periods", 2**30),
        ("ngrams.tokens", -3),
        ("ngrams.weights", 1.0),
        ("quantiles", np.nan),
    ],
)
def test_an_unsound_part_is_named(path: str, value: float) -> None:
    """One number out of its bounds is enough, and the error says which."""
    learned = Learned(small_spec())
    beliefs = learned.learner().decode_beliefs(learned.beliefs[:1])
    part = beliefs.records
    for name in path.split("."):
        part = part[name]
    part[..., -1] = value
    with pytest.raises(DamagedRecord, match=f"{path} is out of its bounds"):
        soundness.check(learned.spec, beliefs)


def test_values_that_the_vocabulary_does_not_know_are_refused() -> None:
    """A belief that knows more values than the model it comes to is not its own."""
    learned = Learned(small_spec())
    beliefs = learned.learner().decode_beliefs(learned.beliefs)
    soundness.check(learned.spec, beliefs)
    with pytest.raises(DamagedRecord, match="n_known"):
        soundness.check(learned.spec, beliefs, Learner(learned.spec).vocabulary.n_known)


@given(data=st.binary(max_size=300), kind=st.sampled_from(Kind))
def test_any_bytes_are_refused(data: bytes, kind: Kind) -> None:
    """Bytes that nobody packed are no record, whether or not a header stands before them."""
    learner = Learner(small_spec())
    for record in (data, codec.pack(kind, data)):
        with pytest.raises(DamagedRecord):
            learner.decode_beliefs([record])
        with pytest.raises(DamagedRecord):
            learner.redo(record)
        with pytest.raises(DamagedRecord):
            Learner.from_snapshot(learner.spec, record)


@given(data=st.binary(max_size=400), times=st.integers(0, 3))
def test_any_bytes_are_lessons_or_refused(data: bytes, times: int) -> None:
    """Bytes become lessons whose indices can be used, or are refused."""
    spec = small_spec()
    size = ngrams.mix.lesson_dtype(len(spec.categories)).itemsize
    whole = (data * size)[: size * times] if data else b""
    for payload in (data, whole):
        with suppress(DamagedRecord):
            lessons = ngrams.read_lessons(spec, memoryview(payload))
            assert (lessons is None) == (not payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["spec", "fields", "name"]), parts),
    max_leaves=8,
)


@given(name=st.sampled_from(["spec", "created_spec", "created_us", "more"]), value=JSON, seed=st.integers(0, 2**32))
def test_a_models_record_is_read_or_refused(name: str, value: Any, seed: int) -> None:
    """Whatever stands in a model's record, it is read or refused as ``ValueError``."""
    record = ModelRecord.new(small_spec()).encode()
    changed = json.dumps({**json.loads(record), name: value}).encode()
    header = codec.pack(Kind.REDO, b"")
    for data in (changed, damaged(random.Random(seed), header + record)[len(header) :]):
        with suppress(ValueError):
            assert isinstance(ModelRecord.decode(data), ModelRecord)


@given(
    data=st.binary(max_size=40), sequence=st.integers(1, 2**63 - 1), place=st.integers(0), change=st.integers(1, 255)
)
def test_what_is_kept_is_that_of_its_sequence(data: bytes, sequence: int, place: int, change: int) -> None:
    """Any bytes are nothing, or damaged; what was kept and then changed is damaged, or of another item."""
    with suppress(DamagedRecord):
        assert Kept.decode(data, sequence) is None
    (value,) = values(Kept(sequence, data).encode())
    changed = bytearray(value)
    changed[place % len(changed)] ^= change
    with suppress(DamagedRecord):
        assert Kept.decode(bytes(changed), sequence) is None


@given(part=st.binary(max_size=60), sequence=st.integers(0, 2**63 - 1))
def test_any_part_of_a_ring_is_read_or_damaged(part: bytes, sequence: int) -> None:
    """Its values end by name where it is damaged, and what a stream goes back to holds none that nobody wrote."""
    with suppress(DamagedRecord):
        for value in values(part):
            assert len(value) <= len(part)
    assert not any(values(until(part, sequence)))


def fresh_replies(spec: ModelSpec) -> list[Reply]:
    """Replies of a stream that has run for a while."""
    learner, source = Learner(spec), np.random.default_rng(4)
    beliefs, found = learner.fresh_beliefs(1), []
    for n in range(15):
        step = learner.step(beliefs, [mixed_item(spec, n, source, missing=0.2)])
        learner.adopt(step)
        beliefs = step.beliefs
        found += step.replies([n % 2 == 0])
    return found


REPLIES = [(spec, reply) for spec in (small_spec(), small_spec(quantiles=(0.2, 0.8))) for reply in fresh_replies(spec)]


@given(case=st.sampled_from(REPLIES), place=st.integers(0), bit=st.integers(0, 7), cut=st.integers(0, 3))
def test_a_damaged_reply_is_refused_or_told(case: tuple[ModelSpec, Reply], place: int, bit: int, cut: int) -> None:
    """Whatever is done to a kept reply under a right checksum, it is refused by name or rendered."""
    spec, reply = case
    data = bytearray(reply.encode())
    if cut == 1:
        data[-len(reply.row) : 8 - len(reply.row)] = struct.pack("<d", math.nan)
    data[place % len(data)] ^= 1 << bit
    if not cut:
        del data[place % len(data) :]
    form = ReplyForm(spec)
    with suppress(DamagedRecord):
        told = Reply.decode(spec, reply.sequence, bytes(data))
        assert form.reply("s", told)
        assert form.values(told).keys() == spec.field_names


def test_a_records_json_may_hold_nothing_but_an_object() -> None:
    """JSON of another shape, or nested too deep to be read, is refused by name."""
    for head in (b"null", b"[]", b"[" * 100_000, b"7", orjson.dumps("text")):
        payload = len(head).to_bytes(4, "little") + head
        with pytest.raises(DamagedRecord):
            codec.unpack_arrays(Kind.REDO, codec.pack(Kind.REDO, payload))
