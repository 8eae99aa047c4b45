"""What one step promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import codec
from model.belief import Beliefs
from model.codec import DamagedRecord
from model.items import Item, parse_item
from model.learner import Learner
from model.spec import FieldSpec, LearnSpec, ModelSpec
from tests.builders import MIXED, feed, frozen, mixed_item, small_spec, wave

CELLS = ["lstm", "gru", "rnn", "fused"]


def records_equal(a: Beliefs, b: Beliefs) -> bool:
    """Whether two batches hold the same bits."""
    return a.records.tobytes() == b.records.tobytes()


def assert_finite(learner: Learner, beliefs: Beliefs) -> None:
    """Fail if weights or any number of the beliefs is infinite, or NaN where that does not mean "not seen"."""
    assert np.isfinite(learner.weights.flat).all()

    def walk(array: np.ndarray, name: str) -> None:
        if array.dtype.names:
            for part in array.dtype.names:
                walk(array[part], part)
        elif array.dtype.kind == "f":
            never_seen = name in ("observed", "forecasts", "mixed")  # NaN until there was a value
            assert np.isfinite(array).all() or (never_seen and not np.isinf(array).any()), name

    walk(beliefs.records, "belief")


def test_a_step_changes_nothing_until_it_is_adopted() -> None:
    """Neither the beliefs given nor the learner's weights, version or vocabulary change in ``step``."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(3), 10)
    before, weights = beliefs.records.tobytes(), learner.encode_weights()
    items = [mixed_item(learner.spec, 10, np.random.default_rng(1)) for _ in range(3)]

    step = learner.step(beliefs, items)

    assert beliefs.records.tobytes() == before
    assert learner.encode_weights() == weights
    learner.adopt(step)
    assert learner.encode_weights() != weights
    assert learner.version == step.version


@pytest.mark.parametrize("cell", CELLS)
def test_a_seed_is_enough_for_the_same_bits(cell: str) -> None:
    """Two runs over the same items end in the same weights and beliefs."""
    runs = []
    for _ in range(2):
        learner = Learner(small_spec(cell=cell, layers=2, seed=3))
        beliefs = feed(learner, learner.fresh_beliefs(2), 30, missing=0.2)
        runs.append((learner.encode_weights(), beliefs.records.tobytes()))
    assert runs[0] == runs[1]


def test_another_seed_gives_other_weights() -> None:
    """The seed decides the initial weights."""
    assert Learner(small_spec(seed=1)).encode_weights() != Learner(small_spec(seed=2)).encode_weights()


@pytest.mark.parametrize(("hidden", "layers"), [(8, 1), (13, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_company_does_not_change_a_stream(cell: str, hidden: int, layers: int) -> None:
    """With frozen weights a stream gets the same bits alone as in any batch, a stream of any age."""
    teacher = Learner(small_spec(cell=cell, hidden=hidden, layers=layers))
    beliefs = feed(teacher, teacher.fresh_beliefs(10), 30, missing=0.2)
    for n_items in (0, 1, 3):
        young = feed(teacher, teacher.fresh_beliefs(1), n_items)
        beliefs = Beliefs(np.concatenate([beliefs.records, young.records]))
    learner = teacher.with_spec(frozen(teacher.spec))
    source = np.random.default_rng(4)
    n = len(beliefs)
    items = [mixed_item(learner.spec, 30, source, missing=0.2) for _ in range(n)]

    together = learner.step(beliefs, items)

    for i in range(n):
        for batch in ([i], [i, (i + 5) % n], [(i + 3) % n, (i + 7) % n, i]):
            apart = learner.step(beliefs[batch], [items[j] for j in batch])
            assert records_equal(apart.beliefs, together.beliefs[batch])
            np.testing.assert_array_equal(apart.scores.nll, together.scores.nll[batch])


def test_the_score_is_of_the_prediction_that_was_sent() -> None:
    """The error is the item minus the mean of the reply before it, whatever is learned from it."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=8))
    beliefs, sent = learner.fresh_beliefs(1), None
    for value in wave(40):
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs, result = step.beliefs, step.results[0]
        if sent is None:
            assert result["score"] is None
        else:
            assert result["score"]["fields"]["x"]["error"] == value - sent["mean"]
            assert result["score"]["fields"]["x"]["covered"] == (
                sent["quantiles"]["0.05"] <= value <= sent["quantiles"]["0.95"]
            )
        sent = result["prediction"]["fields"]["x"]


def test_a_category_is_scored_by_the_probability_that_was_sent() -> None:
    """Its score is minus the log of the probability in the reply before it, and 1 is the likeliest's rank."""
    learner = Learner(ModelSpec(fields=(FieldSpec("s", "category", ("a", "b", "c")),), hidden=8))
    beliefs, sent = learner.fresh_beliefs(1), None
    for n in range(240):
        value = "abc"[n % 3]
        step = learner.step(beliefs, [parse_item(learner.spec, {"s": value})])
        learner.adopt(step)
        beliefs, result = step.beliefs, step.results[0]
        if sent is not None:
            score = result["score"]["fields"]["s"]
            assert score["nll"] == pytest.approx(-np.log(sent["probabilities"][value]), rel=1e-6)
            assert (score["rank"] == 1) == (sent["top"] == value) or n < 3  # before anything is learned all tie
        sent = result["prediction"]["fields"]["s"]
    assert sent is not None
    assert sent["top"] == "a"


@pytest.mark.parametrize("fields", [MIXED, MIXED[1:]], ids=["mixed", "categories"])
@pytest.mark.parametrize("cell", CELLS)
def test_redo_ends_in_the_same_bits(cell: str, fields: tuple[FieldSpec, ...]) -> None:
    """Redoing the log after a snapshot gives the weights and the vocabulary of the run that wrote it."""
    learner = Learner(small_spec(cell=cell, layers=2, fields=fields))
    beliefs = feed(learner, learner.fresh_beliefs(3), 5)
    snapshot, log = learner.encode_weights(), []
    source = np.random.default_rng(9)
    for n in range(5, 40):
        step = learner.step(beliefs, [mixed_item(learner.spec, n, source, missing=0.2) for _ in range(3)])
        learner.adopt(step)
        beliefs = step.beliefs
        if step.redo is not None:
            log.append(step.redo)

    again = Learner.from_snapshot(learner.spec, snapshot)
    for record in log:
        again.redo(record)

    assert again.encode_weights() == learner.encode_weights()


def test_a_redo_record_follows_its_own_version_only() -> None:
    """A record out of order is refused and changes nothing."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 5)
    step = learner.step(beliefs, [mixed_item(learner.spec, 5, np.random.default_rng(0))])
    learner.adopt(step)
    weights = learner.encode_weights()
    with pytest.raises(DamagedRecord, match="cannot follow"):
        learner.redo(step.redo or b"")
    assert learner.encode_weights() == weights


@pytest.mark.parametrize("part", ["n", "version", "rate", "initial", "novel"])
def test_a_redo_record_that_lacks_a_part_changes_nothing(part: str) -> None:
    """A record whose checksum is right and whose content is not is refused whole."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 5)
    step = learner.step(beliefs, [mixed_item(learner.spec, 5, np.random.default_rng(0))])
    meta, payload = codec.unpack_arrays(codec.Kind.REDO, step.redo or b"")
    del meta[part]
    weights = learner.encode_weights()
    with pytest.raises(DamagedRecord):
        learner.redo(codec.pack_arrays(codec.Kind.REDO, meta, [np.frombuffer(payload, np.uint8)]))
    assert learner.encode_weights() == weights


def test_going_back_keeps_the_vocabulary() -> None:
    """Weights, optimiser and counts are the snapshot's; slots stay as they are, and the version is a new one."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(2), 6)
    snapshot, then = learner.encode_weights(), Learner.from_snapshot(learner.spec, learner.encode_weights())
    beliefs = feed(learner, beliefs, 30, seed=1)
    before = learner.encode_weights()
    back = learner.going_back(snapshot)
    assert learner.encode_weights() == before
    assert back.vocabulary.values == learner.vocabulary.values != then.vocabulary.values
    assert back.version == learner.version + 1
    then.vocabulary, then.version = back.vocabulary, back.version
    assert back.encode_weights() == then.encode_weights()
    feed(back, beliefs, 5)
    assert back.version == learner.version + 6


def test_what_is_switched_off_stays() -> None:
    """Frozen weights keep their bits and version; without state learning no correction is applied."""
    for weights in (True, False):
        for state in (True, False):
            learner = Learner(small_spec(learn=LearnSpec(weights=weights, state=state)))
            start = learner.weights.flat.copy()
            beliefs = feed(learner, learner.fresh_beliefs(1), 12)
            record = beliefs.records[0]
            assert np.array_equal(start, learner.weights.flat) == (not weights)
            corrected = not np.array_equal(record["uncorrected"], record["corrected"])
            # A fresh network's readout is zero, and with it the gradient of the state.
            assert corrected == (state and weights)


def test_a_frozen_trained_model_still_corrects_its_beliefs() -> None:
    """Weights keep their bits while the carried state is corrected."""
    teacher = Learner(small_spec())
    beliefs = feed(teacher, teacher.fresh_beliefs(1), 30)
    learner = teacher.with_spec(frozen(teacher.spec))
    step = learner.step(beliefs, [mixed_item(learner.spec, 30, np.random.default_rng(1))])
    assert step.weights is learner.weights
    assert step.version == learner.version
    assert not np.array_equal(step.beliefs.records["uncorrected"], step.beliefs.records["corrected"])


def test_gradient_reaches_the_initial_state_only_if_it_is_learned() -> None:
    """The learned initial state leaves zero, or stays there when switched off."""
    for learned in (True, False):
        learner = Learner(small_spec(learn=LearnSpec(initial_state=learned)))
        feed(learner, learner.fresh_beliefs(2), 4)
        assert bool((learner.network.layout.view(learner.weights.flat, "initial") != 0).any()) == learned


@pytest.mark.parametrize("cell", CELLS)
def test_learning_beats_persistence(cell: str) -> None:
    """On a wave every cell ends well below the error of predicting the last value again."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, cell=cell))
    beliefs, values = learner.fresh_beliefs(1), wave(800)
    squares, persistence = 0.0, 0.0
    for n, value in enumerate(values):
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
        if n >= 400:
            squares += float(step.scores.error[0, 0]) ** 2
            persistence += (value - values[n - 1]) ** 2
    assert squares < 0.25 * persistence


def test_a_missing_value_is_stood_in_for_and_not_scored() -> None:
    """A gap leaves no score, widens the next prediction, and the stream goes on."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"), FieldSpec("y")), hidden=8))
    beliefs = learner.fresh_beliefs(1)
    for value in wave(50):
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value, "y": 2 * value})])
        learner.adopt(step)
        beliefs = step.beliefs
    whole = step.predictions.std[0]

    step = learner.step(beliefs, [parse_item(learner.spec, {"y": 0.5})])

    score = step.results[0]["score"]
    assert score is not None
    assert set(score["fields"]) == {"y"}
    assert step.predictions.std[0, 0] > 1.2 * whole[0]
    assert step.beliefs.records["scale"]["gap"][0].tolist() == [1.0, 0.0]


def test_an_empty_item_has_no_score() -> None:
    """An item of nothing but missing values is counted, not scored, and nothing is learned from it."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 10)
    step = learner.step(beliefs, [parse_item(learner.spec, {})])
    assert step.results[0]["score"] is None
    assert step.redo is None
    assert step.beliefs.sequence[0] == 11


def test_an_open_vocabulary_grows_to_its_capacity() -> None:
    """New values take a place while there is room; after that they are all the one unknown value."""
    learner = Learner(ModelSpec(fields=(FieldSpec("w", "category", capacity=3),), hidden=8))
    beliefs = learner.fresh_beliefs(1)
    for value in ("p", "q", "p", "r", "s", "t"):
        step = learner.step(beliefs, [parse_item(learner.spec, {"w": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    assert learner.vocabulary.values == [["p", "q", "r"]]
    assert sum(step.results[0]["prediction"]["fields"]["w"]["probabilities"].values()) < 1


def test_a_value_that_another_stream_made_known_is_scored_as_it_was_predicted() -> None:
    """When stream A was predicted nobody knew ``y``; B brings it, then A: A's score is that of the unknown value."""
    learner = Learner(ModelSpec(fields=(FieldSpec("w", "category", capacity=6),), hidden=8))
    a, b = learner.fresh_beliefs(1), learner.fresh_beliefs(1)
    for value in "xpxpxp":
        step = learner.step(a, [parse_item(learner.spec, {"w": value})])
        learner.adopt(step)
        a = step.beliefs
    unknown = float(a.records["probabilities"][0, -1])
    learner.adopt(learner.step(b, [parse_item(learner.spec, {"w": "y"})]))

    step = learner.step(a, [parse_item(learner.spec, {"w": "y"})])

    assert step.results[0]["score"]["fields"]["w"]["nll"] == pytest.approx(-np.log(unknown))
    learner.adopt(step)
    assert_finite(learner, step.beliefs)
    assert learner.vocabulary.values == [["x", "p", "y"]]


def test_a_shared_learning_rate_may_be_given() -> None:
    """A model's own rate replaces the schedule, and is part of what is redone."""
    learner = Learner(small_spec(learning_rate=0.01))
    snapshot = learner.encode_weights()
    beliefs = feed(learner, learner.fresh_beliefs(1), 3)
    step = learner.step(beliefs, [mixed_item(learner.spec, 3, np.random.default_rng(0))])
    faster = learner.with_spec(small_spec(learning_rate=0.1)).step(
        beliefs, [mixed_item(learner.spec, 3, np.random.default_rng(0))]
    )
    assert not np.array_equal(step.weights.flat, faster.weights.flat)
    assert Learner.from_snapshot(learner.spec, snapshot).version == 0


hard_numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1e30, -1e30, 1e100, -1e100, 5e-324, -5e-324, 1e-300, 1.0, 1 + 1e-15]),
    st.floats(-1e100, 1e100, allow_nan=False),
    st.floats(-1, 1, allow_nan=False),
)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(hard_numbers, hard_numbers), min_size=1, max_size=40),
    cell=st.sampled_from(CELLS),
    repeats=st.integers(1, 3),
)
def test_nothing_ever_becomes_infinite(rows: list[tuple[float | None, float | None]], cell: str, repeats: int) -> None:
    """Spikes, constants, denormals, gaps and unit changes leave every number of weights and beliefs finite."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"), FieldSpec("y")), hidden=4, cell=cell))
    beliefs = learner.fresh_beliefs(1)
    for _ in range(repeats):
        for x, y in rows:
            step = learner.step(beliefs, [parse_item(learner.spec, {"x": x, "y": y})])
            learner.adopt(step)
            beliefs = step.beliefs
            quantiles = step.predictions.quantiles[0]
            assert np.isfinite(quantiles).all()
            assert (np.diff(quantiles, axis=-1) >= 0).all()
            assert np.isfinite(step.scores.nll).all()
    assert_finite(learner, beliefs)


def test_wrong_batches_are_refused() -> None:
    """A batch needs an item per belief, and at least one."""
    learner = Learner(small_spec())
    item = Item(reals=(1.0,), categories=("idle", "a"))
    with pytest.raises(ValueError, match="2 beliefs and 1 items"):
        learner.step(learner.fresh_beliefs(2), [item])
    with pytest.raises(ValueError, match="0 beliefs"):
        learner.step(learner.fresh_beliefs(0), [])


def test_streams_of_different_age_share_a_batch() -> None:
    """A new stream beside an old one starts from the learned initial state and is not scored."""
    learner = Learner(small_spec())
    old = feed(learner, learner.fresh_beliefs(1), 25)
    both = Beliefs(np.concatenate([old.records, learner.fresh_beliefs(1).records]))
    source = np.random.default_rng(2)
    step = learner.step(both, [mixed_item(learner.spec, 25, source), mixed_item(learner.spec, 0, source)])
    assert step.results[0]["score"] is not None
    assert step.results[1]["score"] is None
    initial = learner.network.layout.view(learner.weights.flat, "initial")
    np.testing.assert_array_equal(step.beliefs.records["corrected"][1], initial)


def test_stacking_is_joining() -> None:
    """Encoding a batch and decoding it again gives the same bits."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(4), 12, missing=0.3)
    assert records_equal(learner.decode_beliefs(beliefs.encode()), beliefs)
