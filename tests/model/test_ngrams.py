"""Counts beside the network: exact smoothing, a bounded table, and what a step and its redo promise of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import ngrams
from model.codec import DamagedRecord
from model.forecast import forecast
from model.inspection import inspect
from model.items import parse_item
from model.learner import Learner
from model.ngrams import counts as table
from model.ngrams.counts import Counts
from model.spec import FieldSpec, ModelSpec
from tests.builders import feed, frozen, mixed_item, small_spec
from tests.model.ngrams_reference import Reference

EXACT = {"rtol": 1e-9, "atol": 1e-12}  # the same sums in another order


def open_spec(capacity: int, n_fields: int = 1) -> ModelSpec:
    """So many open category fields."""
    return ModelSpec(fields=tuple(FieldSpec(f"c{j}", "category", capacity=capacity) for j in range(n_fields)), hidden=4)


def fresh(n: int, n_fields: int = 1) -> np.ndarray:
    """Records of new streams."""
    records = np.zeros(n, ngrams.mix_dtype(n_fields))
    ngrams.fresh(records)
    return records


class Feeder:
    """Feeds values to counts alone; the network beside them holds all for equally likely.

    Args:
        capacity: Of the one open field.
        n_streams: Beliefs.
    """

    def __init__(self, capacity: int, n_streams: int = 1) -> None:
        self.counts = Counts.fresh(open_spec(capacity))
        self.records, self.n_slots, self.met = fresh(n_streams), capacity + 1, [dict[int, int]()]

    def step(self, values: list[int | None]) -> np.ndarray:
        """One item per stream, ``None`` for missing; what the counts said before, (B, V)."""
        n, met, last = len(values), self.met[0], self.n_slots - 1
        n_known = len(met)
        for value in values:
            if value is not None and len(met) < last:
                met.setdefault(value, len(met))
        named = np.array([[-1 if v is None else met.get(v, last)] for v in values])
        observed = np.where(named >= n_known, last, named)
        first = self.records["tokens"][:, 0, 0] == table.lookup.BEGIN
        observed[first] = -1
        logits = np.zeros((n, self.n_slots), np.float32)
        opinions = [ngrams.opinion(self.counts, self.records, logits, np.array([n_known]), i) for i in range(n)]
        said = np.array([opinion.probabilities[1] for opinion in opinions])
        known = np.full((n, 1), n_known, np.int32)
        judged = ngrams.judge(self.counts, self.records, logits, known, observed, named)
        lessons = ngrams.worth_learning(judged.lessons)
        if lessons is not None:
            self.counts.learn(lessons)
        ngrams.take_in(self.records, judged.weights, named)
        return said


@pytest.mark.parametrize(("capacity", "kinds", "n"), [(4, 3, 900), (12, 20, 600), (400, 300, 700)])
def test_smoothing_is_that_of_a_slow_reference(capacity: int, kinds: int, n: int) -> None:
    """Probabilities of every slot at every item, with novel and unknown values and counts that are halved."""
    source, feeder, past = np.random.default_rng(kinds), Feeder(capacity), list[int]()
    reference = Reference(capacity + 1, table.ORDER)
    for t in range(n):
        value = int(source.integers(kinds)) if source.random() < 0.4 else (t * t // 7) % min(kinds, 3)
        n_known = len(feeder.met[0])
        (said,) = feeder.step([value])
        if t:
            np.testing.assert_allclose(said, reference.predict(past, n_known), **EXACT)
        slot = feeder.met[0].get(value, capacity)
        if t:
            reference.learn(past, n_known, slot if slot < n_known else capacity, slot)
        past.append(slot)


def test_a_missing_value_takes_a_place_in_the_context() -> None:
    """After a, missing, the next is what followed such a gap, not what follows a."""
    feeder = Feeder(4)
    for _ in range(60):
        for value in (0, None, 2, 0, 1):
            feeder.step([value])
    feeder.step([0])
    (after,) = feeder.step([None])
    assert after.argmax() in (feeder.met[0][1], feeder.met[0][2])
    (gap,) = feeder.step([2])
    assert gap.argmax() == feeder.met[0][2]
    assert gap.max() > 0.9


def test_a_run_longer_than_a_count_keeps_adapting() -> None:
    """Counts are halved before they are full, so that after a thousand items of one regime the next is taken up."""
    feeder = Feeder(4)
    for t in range(1000):
        feeder.step([t % 2])
    for t in range(600):
        (said,) = feeder.step([(0, 2)[t % 2]])
    assert feeder.counts.rows[:, 3:].max() & 0x7FFF <= 255
    assert said[feeder.met[0][2]] > 0.95


@settings(max_examples=30)
@given(data=st.data(), n_known=st.integers(0, 6))
def test_probabilities_are_proper_whatever_the_network_says(data: st.DataObject, n_known: int) -> None:
    """Sum 1, none negative, none for a slot without a value; logits may be NaN, infinite or huge."""
    feeder = Feeder(6)
    for value in data.draw(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=40)):
        feeder.step([value])
    wild = st.floats(width=32, allow_nan=True, allow_infinity=True)
    logits = np.array(data.draw(st.lists(wild, min_size=7, max_size=7)), np.float32)
    with np.errstate(invalid="ignore"):
        said = ngrams.opinion(feeder.counts, feeder.records, logits[None], np.array([n_known]), 0).probabilities
    assert np.isfinite(said).all()
    assert (said >= 0).all()
    np.testing.assert_allclose(said.sum(1), 1.0, rtol=1e-9)
    assert not said[:, n_known:6].any()
    observed = np.array([[data.draw(st.sampled_from([*range(n_known), 6]))]])
    known = np.array([[n_known]], np.int32)
    judged = ngrams.judge(feeder.counts, feeder.records, logits[None], known, observed, observed)
    feeder.counts.learn(judged.lessons)
    meta, arrays = feeder.counts.encode()
    assert all(np.isfinite(array).all() for array in arrays)
    assert judged.weights.sum() == pytest.approx(1)
    assert meta["n_used"] == feeder.counts.state[0]


def test_the_table_grows_and_forgets_nothing() -> None:
    """A small model takes kilobytes; past half the table doubles and predicts as before."""
    source, feeder = np.random.default_rng(3), Feeder(50)
    reference, sizes = Feeder(50), set()
    larger = np.zeros((1 << 13, 8), np.uint32)
    reference.counts.rows = larger  # never has to grow
    for value in source.integers(50, size=700).tolist():
        np.testing.assert_array_equal(feeder.step([value]), reference.step([value]))
        sizes.add(len(feeder.counts.rows))
    assert len(sizes) > 4
    assert min(sizes) * 32 <= 4096
    assert feeder.counts.state[0] == np.count_nonzero(feeder.counts.rows[:, 0])


def test_a_full_table_gives_up_what_was_not_met_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its bound it stays there, and learns a cycle that comes after ten times as much noise as it holds."""
    monkeypatch.setattr(table, "MAX_ROWS", 256)
    source, feeder = np.random.default_rng(4), Feeder(20)
    for value in source.integers(10, size=2500).tolist():
        feeder.step([value])
    assert len(feeder.counts.rows) == 256
    assert feeder.counts.state[0] <= 256
    for t in range(200):
        (said,) = feeder.step([10 + t % 9])
    assert said[feeder.met[0][10 + 199 % 9]] > 0.9
    meta, arrays = feeder.counts.encode()
    again = Counts.decode(open_spec(20), meta, memoryview(b"".join(array.tobytes() for array in arrays)))
    assert again.rows.tobytes() == feeder.counts.rows.tobytes()


def test_a_context_with_more_successors_than_it_holds_goes_on() -> None:
    """The probabilities stay proper, and what comes again is still learned."""
    feeder = Feeder(600)
    for value in range(1, 500):
        feeder.step([0])
        feeder.step([value])
    for _ in range(20):
        feeder.step([0])
        (said,) = feeder.step([499])
    assert said.sum() == pytest.approx(1)
    assert said.argmax() == feeder.met[0][499]


def test_company_changes_no_bit() -> None:
    """A stream's probabilities and weights are the same bits alone as in a batch."""
    source, feeder = np.random.default_rng(5), Feeder(8, n_streams=6)
    for _ in range(40):
        feeder.step(source.integers(6, size=6).tolist())
    logits = source.normal(size=(6, 9)).astype(np.float32)
    n_known, slots = np.full((6, 1), 6, np.int32), source.integers(6, size=(6, 1))
    together = ngrams.judge(feeder.counts, feeder.records, logits, n_known, slots, slots)
    mixed = ngrams.probabilities(feeder.counts, feeder.records, logits, np.array([6]))
    for i in range(6):
        one = slice(i, i + 1)
        alone = ngrams.judge(feeder.counts, feeder.records[one], logits[one], n_known[one], slots[one], slots[one])
        assert alone.lessons.tobytes() == together.lessons[one].tobytes()
        assert alone.weights.tobytes() == together.weights[one].tobytes()
        said = ngrams.probabilities(feeder.counts, feeder.records[one], logits[one], np.array([6]))
        assert said.tobytes() == mixed[one].tobytes()


def test_a_batch_is_counted_in_its_order() -> None:
    """The same lessons in one batch or one after the other leave the same counts."""
    feeders = [Feeder(5, n_streams=4) for _ in range(2)]
    source = np.random.default_rng(6)
    for values in source.integers(3, size=(30, 4)).tolist():
        lessons = []
        for feeder in feeders:
            learn = feeder.counts.learn
            if feeder is feeders[1]:
                feeder.counts = _Collecting(feeder.counts, lessons)  # type: ignore[assignment]
            feeder.step(values)
            if feeder is feeders[1]:
                feeder.counts = feeder.counts.counts  # type: ignore[attr-defined]
                for batch in lessons:
                    for i in range(len(batch)):
                        learn(batch[i : i + 1])
    rows = [np.unique(feeder.counts.rows, axis=0) for feeder in feeders]  # wherever they lie
    np.testing.assert_array_equal(*rows)
    assert feeders[0].counts.singles.tobytes() == feeders[1].counts.singles.tobytes()


def test_a_copy_is_whole_while_another_thread_learns() -> None:
    """Whoever looks gets the table of one moment: rows in use, counted values and sum of counts fit each other."""
    feeder, copies, done = Feeder(40), list[Counts](), threading.Event()

    def look() -> None:
        while not done.is_set():
            copies.append(feeder.counts.copy())

    thread = threading.Thread(target=look)
    thread.start()
    for value in np.random.default_rng(7).integers(40, size=400).tolist():
        feeder.step([value])
    done.set()
    thread.join()
    assert copies
    for counts in copies:
        assert counts.state[0] == np.count_nonzero(counts.rows[:, 0])
        assert counts.state[1] == counts.rows[:, 2].max()


class _Collecting:
    """Counts that keep the lessons instead of learning them."""

    def __init__(self, counts: Counts, lessons: list[np.ndarray]) -> None:
        self.counts, self.lessons = counts, lessons

    def learn(self, lessons: np.ndarray) -> None:
        self.lessons.append(lessons)

    def __getattr__(self, name: str) -> object:
        return getattr(self.counts, name)


def test_a_new_stream_knows_what_others_showed() -> None:
    """A second stream predicts from its first item on, with the counts and the weights that the model ended with."""
    learner = Learner(ModelSpec(fields=(FieldSpec("s", "category", tuple("abcdef")),), hidden=4))
    beliefs = learner.fresh_beliefs(1)
    for value in "abcdef" * 40:
        step = learner.step(beliefs, [parse_item(learner.spec, {"s": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    step = learner.step(learner.fresh_beliefs(1), [parse_item(learner.spec, {"s": "c"})])
    assert step.predictions.probabilities[0].argmax() == 3
    assert step.predictions.probabilities[0, 3] > 0.3  # of six, from one value of context
    assert learner.counts is not None
    np.testing.assert_array_equal(step.beliefs.records["ngrams"]["weights"][0], learner.counts.weights)


def test_frozen_weights_freeze_the_counts() -> None:
    """Nothing is counted, while the mix of a stream still follows its items; a copy learns for itself."""
    teacher = Learner(small_spec())
    beliefs = feed(teacher, teacher.fresh_beliefs(2), 30)
    learner = teacher.with_spec(frozen(teacher.spec))
    before = learner.encode_weights()
    after = feed(learner, beliefs, 10, seed=1)
    assert learner.encode_weights() == before
    assert not np.array_equal(after.records["ngrams"]["weights"], beliefs.records["ngrams"]["weights"])
    feed(teacher, beliefs, 10, seed=1)
    assert learner.encode_weights() == before


def test_a_snapshot_goes_on_with_the_same_bits() -> None:
    """Counts, exponents and smoothing of a learner read back are those of the one that goes on."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(3), 40, missing=0.2)
    again = Learner.from_snapshot(learner.spec, learner.encode_weights())
    feed(learner, beliefs, 30, seed=2)
    feed(again, beliefs, 30, seed=2)
    assert again.encode_weights() == learner.encode_weights()


def test_one_stream_is_redone_with_the_same_bits() -> None:
    """The smallest batch: a redo record of a single lesson is learned as it was the first time."""
    learner = Learner(small_spec())
    beliefs, again, source = learner.fresh_beliefs(1), Learner(small_spec()), np.random.default_rng(9)
    for n in range(30):
        step = learner.step(beliefs, [mixed_item(learner.spec, n, source, missing=0.2)])
        learner.adopt(step)
        beliefs = step.beliefs
        if step.redo is not None:
            again.redo(step.redo)
    assert learner.counts is not None
    assert learner.counts.state[1] > 20
    assert again.encode_weights() == learner.encode_weights()


def test_counts_of_another_layout_are_refused() -> None:
    """A table cut short, of another field or with rows out of place is damage, not a crash."""
    feeder = Feeder(6)
    for t in range(50):
        feeder.step([t % 5])
    meta, arrays = feeder.counts.encode()
    payload = b"".join(array.tobytes() for array in arrays)
    for spec, given_meta, data in (
        (open_spec(6), meta, payload[:-4]),
        (open_spec(7), meta, payload),
        (open_spec(6), None, payload),
        (open_spec(6), {**meta, "n_rows": 100}, payload),
        (open_spec(6), {**meta, "n_rows": 1 << 30}, payload),
        (open_spec(6), meta, payload[: -32 * meta["n_used"] - 4] + b"\xff" * 4 + payload[-32 * meta["n_used"] :]),
        (open_spec(6), meta, payload[:44] + b"\xff" * 8 + payload[52:]),
    ):
        with pytest.raises(DamagedRecord):
            Counts.decode(spec, given_meta, memoryview(data))


def test_lessons_out_of_bounds_are_refused() -> None:
    """A redo record's lessons cannot name a slot or a kind that is not there."""
    spec = small_spec()
    good = np.zeros(1, ngrams.mix.lesson_dtype(2))
    assert ngrams.read_lessons(spec, memoryview(good.tobytes())) is not None
    for name, value in (
        *(("observed", 99), ("named", -1), ("kinds", 99), ("kinds", -1)),
        *(("slopes", np.nan), ("slopes", -1), ("slopes", 21), ("likelihood", -0.1), ("likelihood", 1.1)),
    ):
        bad = good.copy()
        bad[name] = value
        with pytest.raises(DamagedRecord):
            ngrams.read_lessons(spec, memoryview(bad.tobytes()))
    with pytest.raises(DamagedRecord):
        ngrams.read_lessons(spec, memoryview(good.tobytes()[:-1]))
    with pytest.raises(DamagedRecord):
        ngrams.read_lessons(small_spec(experts="none"), memoryview(good.tobytes()))


def test_the_experts_of_a_category_are_shown() -> None:
    """Each names its likeliest values and its weight; mixed by these they are the prediction before the floor."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 60)
    shown = inspect(learner, beliefs)["experts"]["state"]
    assert set(shown) == set(ngrams.EXPERTS)
    assert sum(expert["weight"] for expert in shown.values()) == pytest.approx(1)
    sent = beliefs.records["probabilities"][0]
    for v, value in enumerate(("idle", "busy", "off")):
        mixed = sum(e["weight"] * e["forecast"]["probabilities"][value] for e in shown.values())
        assert mixed == pytest.approx(float(sent[v]), abs=0.02)  # the last item was counted since


def test_a_cycle_is_forecast_far_ahead() -> None:
    """Sample paths carry the context along: the forecast goes on with a cycle of seven over two values."""
    learner, cycle = Learner(ModelSpec(fields=(FieldSpec("s", "category", ("a", "b")),), hidden=4)), "aababbb"
    beliefs = learner.fresh_beliefs(1)
    for value in cycle * 60:
        step = learner.step(beliefs, [parse_item(learner.spec, {"s": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    assert learner.counts is not None
    before = learner.encode_weights()
    steps = forecast(learner, beliefs, 14)
    assert "".join(step["fields"]["s"]["top"] for step in steps) == cycle * 2
    assert learner.encode_weights() == before


def test_noise_costs_hardly_anything() -> None:
    """Of independent values counts can only invent a pattern: the mix stays within 2 % of the network alone."""
    source = np.random.default_rng(8)
    values, nats = source.choice(3, size=1500, p=(0.5, 0.3, 0.2)), {}
    for kind in ("all", "none"):
        learner = Learner(ModelSpec(fields=(FieldSpec("s", "category", ("a", "b", "c")),), hidden=8, experts=kind))  # type: ignore[arg-type]
        beliefs = learner.fresh_beliefs(1)
        nats[kind] = 0.0
        for t, value in enumerate(values):
            step = learner.step(beliefs, [parse_item(learner.spec, {"s": "abc"[value]})])
            learner.adopt(step)
            beliefs = step.beliefs
            nats[kind] += float(step.scores.nll[0]) if t >= 500 else 0.0
    assert nats["all"] < 1.02 * nats["none"]
