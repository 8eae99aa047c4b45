"""The drift signal: what begins it, what does not, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray
from river.drift import PageHinkley

from model import drift
from model.inspection import summarise
from model.items import Item
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec

Floats = NDArray[np.float64]
N_STREAMS, N_ITEMS, CHANGE = 32, 4_000, 1_500


@njit
def observe(streams: np.ndarray, fields: np.ndarray, losses: np.ndarray, floors: np.ndarray, sequence: int) -> None:
    """Let each field (B, F) follow its loss, and note what drifts."""
    for b in range(losses.shape[0]):
        for f in range(losses.shape[1]):
            drift.follow(fields[b, f], losses[b, f], floors[b, f])
        drift.note(streams[b], fields[b], sequence)


class Followed:
    """Streams of one real field, of which only the errors are known."""

    def __init__(self, n_streams: int) -> None:
        self.records = np.zeros(n_streams, [("sequence", np.int64), ("drift", drift.drift_dtype(1))])

    def feed(self, errors: Floats) -> NDArray[np.bool_]:
        """Take in errors (T, B); tell after each item whether the stream drifts, (T, B)."""
        told, kept = [], self.records["drift"]
        floors = np.full((errors.shape[1], 1), drift.REAL_FLOOR)
        for row in errors:
            self.records["sequence"] += 1
            observe(kept["stream"], kept["fields"], np.abs(row)[:, None], floors, self.records["sequence"][0])
            told.append(drift.which_drift(self.records["drift"])[:, 0])
        return np.array(told)


def cycling(source: np.random.Generator) -> Floats:
    """Normal errors whose size swings by a factor of seven over a day of 96 items."""
    size = np.exp(np.sin(2 * np.pi * np.arange(N_ITEMS) / 96))
    return size[:, None] * source.standard_normal((N_ITEMS, N_STREAMS))


def rare(source: np.random.Generator) -> Floats:
    """Errors that are next to nothing but for one item in twenty."""
    return np.where(
        source.random((N_ITEMS, N_STREAMS)) < 0.05, 5.0, 0.02 * source.standard_normal((N_ITEMS, N_STREAMS))
    )


STATIONARY: dict[str, Callable[[np.random.Generator], Floats]] = {
    "normal": lambda source: source.standard_normal((N_ITEMS, N_STREAMS)),
    "Student t, 2 degrees of freedom": lambda source: source.standard_t(2, (N_ITEMS, N_STREAMS)),
    "Cauchy": lambda source: source.standard_cauchy((N_ITEMS, N_STREAMS)),
    "exponential": lambda source: source.exponential(size=(N_ITEMS, N_STREAMS)),
    "daily": cycling,
    "rare": rare,
}


@pytest.mark.parametrize("kind", STATIONARY)
def test_stationary_errors_do_not_drift(kind: str) -> None:
    """Over 128,000 items of one kind no stream is told to drift, however heavy the tails or seasonal the noise."""
    streams = Followed(N_STREAMS)
    streams.feed(STATIONARY[kind](np.random.default_rng(5)))
    assert streams.records["drift"]["stream"]["n_drifts"].sum() == 0


@pytest.mark.parametrize("tails", [3, 1_000])
def test_larger_errors_drift_until_they_are_small_again(tails: int) -> None:
    """Errors three times as large are told within 60 items, and the end within 150 items of their return."""
    source = np.random.default_rng(1)
    errors = source.standard_t(tails, (CHANGE + 600, N_STREAMS))
    errors[CHANGE : CHANGE + 200] *= 3
    streams = Followed(N_STREAMS)
    told = streams.feed(errors)
    assert not told[:CHANGE].any()
    assert told[CHANGE + 60 : CHANGE + 200].all()
    assert not told[CHANGE + 350 :].any()
    assert (streams.records["drift"]["stream"]["n_drifts"] == 1).all()


def test_what_lasts_becomes_usual() -> None:
    """Errors that stay twice as large drift at first, and no longer once they are what the stream is used to."""
    errors = np.random.default_rng(2).standard_normal((CHANGE + 2_500, N_STREAMS))
    errors[CHANGE:] *= 2
    told = Followed(N_STREAMS).feed(errors)
    assert told[CHANGE + 100 : CHANGE + 200].all()
    assert not told[CHANGE + 2_000 :].any()


def test_outliers_and_improvements_do_not_drift() -> None:
    """Neither a spike of a thousand sizes every hundred items nor a stream that becomes easy is drift."""
    errors = np.random.default_rng(3).standard_normal((CHANGE + 1_000, N_STREAMS))
    errors[::100] *= 1_000
    errors[CHANGE:] *= 0.05
    assert not Followed(N_STREAMS).feed(errors).any()


@given(sizes=st.lists(st.floats(0, 12), min_size=3, max_size=12), seed=st.integers(0, 99))
def test_drift_begins_high_and_ends_low(sizes: list[float], seed: int) -> None:
    """Drift begins only at level 1 and ends only after it has stayed below the lower one for the set while."""
    source = np.random.default_rng(seed)
    streams, was, calm = Followed(1), False, 0
    for size in [1.0, 1.0, *sizes]:
        for error in size * source.standard_normal(80):
            is_now = bool(streams.feed(np.array([[error]]))[0, 0])
            level = float(drift.level(streams.records["drift"])[0, 0])
            calm = calm + 1 if level < drift.CLEAR else 0
            assert is_now == (level >= 1 or (was and calm < drift.CALM))
            assert 0 <= level <= drift.MOST
            was = is_now


def test_the_sum_is_rivers_page_hinkley() -> None:
    """Fed the same deviations, the sum and the item at which it passes the threshold are river's."""
    source = np.random.default_rng(4)
    values = np.concatenate((source.standard_normal(400), 1.5 + source.standard_normal(200)))
    river = PageHinkley(min_instances=1, delta=drift.ALLOWANCE, threshold=drift.THRESHOLD, alpha=1.0, mode="up")
    field = np.zeros(1, drift.FIELD)[0]
    field["swing"] = 1.0
    for value in values:
        river.update(value)
        drift._add(field, value - river._x_mean.get())
        assert field["excess"] == pytest.approx(river._sum_increase - river._min_increase, abs=1e-9)
        assert bool(field["drifting"]) == river.drift_detected
        if river.drift_detected:
            return
    pytest.fail("neither detected the change")


def test_rivers_detector_agrees_on_whole_streams() -> None:
    """Where river is told mean and spread that are learned here, both find a change within 40 items of each other."""
    errors = np.random.default_rng(6).standard_normal((CHANGE + 300, N_STREAMS))
    errors[CHANGE:] *= 2.5
    told = Followed(N_STREAMS).feed(errors)
    relative = np.minimum(np.abs(errors) / np.sqrt(2 / np.pi), drift.MAX_LOSS)
    mean, spread = relative[:CHANGE].mean(), relative[:CHANGE].std()
    for stream in range(N_STREAMS):
        river = PageHinkley(100, drift.ALLOWANCE, drift.THRESHOLD, 1.0, "up")
        found = -1
        for i, value in enumerate((relative[:, stream] - mean) / spread):
            river.update(min(value, drift.MAX_EXCESS))
            if river.drift_detected:
                found = i
                break
        assert found >= CHANGE
        assert abs(int(told[:, stream].argmax()) - found) <= 40


def test_company_does_not_change_a_stream() -> None:
    """A stream's record is the same to the bit alone as among others."""
    errors = np.random.default_rng(7).standard_t(3, (700, 5))
    together = Followed(5)
    together.feed(errors)
    alone = Followed(1)
    alone.feed(errors[:, 3:4])
    assert alone.records["drift"].tobytes() == together.records["drift"][3:4].tobytes()


EXTREMES = [0.0, 5e-324, 1e-300, 1e-9, 1.0, 1e30, 1e150, 1.7e308, float("nan")]


@given(errors=st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=400), unit=st.sampled_from([1e-100, 1.0, 1e100]))
def test_nothing_becomes_infinite(errors: list[float], unit: float) -> None:
    """No sequence of losses, however large, small or missing, leaves a number that is not finite."""
    records = np.zeros(1, [("sequence", np.int64), ("drift", drift.drift_dtype(2))])
    floors = np.array([[drift.REAL_FLOOR * unit, drift.CATEGORY_FLOOR]])
    for n, error in enumerate(errors):
        kept = records["drift"]
        observe(kept["stream"], kept["fields"], np.array([[error, min(error, 14.0)]]), floors, n + 1)
    fields = records["drift"]["fields"]
    assert all(np.isfinite(fields[name]).all() for name in drift.FIELD.names or ())


def test_a_reply_names_the_field_that_drifts() -> None:
    """The noise of one of two fields grows fivefold: score and summary tell drift, that field and its sequence."""
    spec = ModelSpec(fields=(FieldSpec("calm"), FieldSpec("wild")), hidden=8)
    learner, source = Learner(spec), np.random.default_rng(8)
    belief, told = learner.fresh_beliefs(1), []
    for n in range(460):
        calm, wild = source.standard_normal(2)
        step = learner.step(belief, [Item((calm, wild * (5 if n >= 400 else 1)), ())])
        learner.adopt(step)
        belief = step.beliefs
        told.append((step.results[0]["score"] or {}).get("drift"))
        if drift.n_begun(belief.records):
            began = n + 1
    assert told[0] is None
    assert told[399]["drifting"] is False
    assert told[459]["fields"] == ["wild"]
    assert told[459]["level"] >= 1
    assert 401 < began < 460
    found = summarise(learner, belief)["drift"]
    assert (found["drifting"], found["count"], found["since"], found["last"]) == (True, 1, began, began)
