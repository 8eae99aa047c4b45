"""Horizons, and the belief laid open."""

import json
import math

import numpy as np
import pytest

from model.belief import Beliefs
from model.forecast import forecast
from model.inspection import inspect, summarise
from model.items import parse_item
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec
from tests.builders import feed, small_spec, wave

CELLS = ["lstm", "gru", "rnn", "fused"]


def learn_wave(n: int) -> tuple[Learner, Beliefs]:
    """A learner that has seen ``n`` items of a clean wave, and its belief."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16))
    beliefs = learner.fresh_beliefs(1)
    for value in wave(n, noise=0.01):
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    return learner, beliefs


def test_a_forecast_changes_nothing_and_repeats_itself() -> None:
    """Asked twice it answers the same, and neither weights nor belief move."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 30)
    before = (beliefs.records.tobytes(), learner.encode_weights())
    first = forecast(learner, beliefs, 5)
    assert forecast(learner, beliefs, 5) == first
    assert (beliefs.records.tobytes(), learner.encode_weights()) == before
    assert [step["sequence"] for step in first] == [31, 32, 33, 34, 35]
    json.dumps(first, allow_nan=False)


def test_the_first_step_is_the_prediction_that_was_sent() -> None:
    """A horizon of one repeats the last reply's prediction to the bit."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 30)
    step = learner.step(beliefs, [parse_item(learner.spec, {"load": 10.0, "state": "busy", "activity": "a0"})])
    learner.adopt(step)
    assert forecast(learner, step.beliefs, 1)[0]["fields"] == step.results[0]["prediction"]["fields"]


def test_a_learned_wave_is_continued() -> None:
    """Six steps ahead the forecast is much nearer than the last value, and says how sure it is."""
    learner, beliefs = learn_wave(900)
    steps = forecast(learner, beliefs, 6)
    truth = [math.sin(2 * math.pi * (900 + k) / 12) for k in range(6)]
    last = math.sin(2 * math.pi * 899 / 12)
    errors = [abs(step["fields"]["x"]["mean"] - value) for step, value in zip(steps, truth, strict=True)]
    assert sum(errors) < 0.3 * sum(abs(value - last) for value in truth)
    spreads = [step["fields"]["x"]["std"] for step in steps]
    assert spreads[-1] > spreads[0]


@pytest.mark.parametrize("n", [3, 10, 300])
def test_a_long_forecast_of_noise_stays_as_wide_as_the_noise(n: int) -> None:
    """The paths learn nothing from their own draws: far ahead the spread is that of the stream, not of the horizon."""
    values = np.random.default_rng(0).normal(size=n)
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16))
    beliefs = learner.fresh_beliefs(1)
    for value in values:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": float(value)})])
        learner.adopt(step)
        beliefs = step.beliefs
    far = forecast(learner, beliefs, 200)[-1]["fields"]["x"]
    assert far["std"] < 5
    assert -10 < far["quantiles"]["0.05"] < far["quantiles"]["0.95"] < 10


@pytest.mark.parametrize("horizon", [0, -1])
def test_a_horizon_is_at_least_one(horizon: int) -> None:
    """Nothing can be predicted of the past."""
    learner = Learner(small_spec())
    with pytest.raises(ValueError, match="horizon"):
        forecast(learner, learner.fresh_beliefs(1), horizon)


def test_a_stream_that_saw_nothing_can_be_asked() -> None:
    """Without any value a real field has no prediction, and an open category no name."""
    learner = Learner(small_spec())
    step = learner.step(learner.fresh_beliefs(1), [parse_item(learner.spec, {"state": "busy"})])
    learner.adopt(step)
    fields = forecast(learner, step.beliefs, 3)[-1]["fields"]
    assert fields["load"] is None
    assert fields["activity"] == {"top": None, "probabilities": {}}
    assert sum(fields["state"]["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("cell", CELLS)
def test_the_belief_before_and_after_differ_by_the_correction(cell: str) -> None:
    """Decoded after the correction the item is nearer to what was observed than before it."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, cell=cell))
    beliefs = learner.fresh_beliefs(1)
    for value in [*wave(200), 3.0]:  # a surprise at the end
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        before_update = learner.weights
        learner.adopt(step)
        beliefs = step.beliefs

    # Under the weights that made the prediction: the last update alone would also move the decoded item.
    shown = inspect(Learner(learner.spec, before_update), beliefs)

    assert shown["observed"]["x"] == 3.0
    assert abs(shown["after"]["x"] - 3.0) < abs(shown["before"]["x"] - 3.0)
    assert np.abs(shown["correction"]).max() > 0
    assert np.shape(shown["correction"]) == np.shape(shown["correction_rates"]) == np.shape(shown["hidden"]) == (1, 16)
    assert (shown["cell"] is None) == (cell in ("gru", "rnn"))
    json.dumps(shown, allow_nan=False)


def test_the_lstm_shows_its_gates() -> None:
    """Input, forget and output gate of the last advance, each between 0 and 1, one number per unit."""
    learner, beliefs = learn_wave(20)
    gates = inspect(learner, beliefs)["gates"]
    assert set(gates) == {"input", "forget", "output"}
    for values in gates.values():
        assert np.shape(values) == (1, 16)
        assert 0 < np.min(values) <= np.max(values) < 1


def test_a_summary_counts_what_was_scored() -> None:
    """Errors beside persistence's, over the items that had a prediction and a value."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=8))
    beliefs, values = learner.fresh_beliefs(1), [1.0, 2.0, None, 4.0, 7.0]
    errors = []
    for value in values:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
        if not np.isnan(step.scores.error[0, 0]):
            errors.append(step.scores.error[0, 0])
    summary = summarise(learner, beliefs)
    assert summary["items"] == 5
    assert summary["fields"]["x"]["scored"] == len(errors) == 3
    assert summary["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert summary["persistence_rmse"] == pytest.approx(np.sqrt(np.mean([1, 4, 9])))
    assert summarise(learner, learner.fresh_beliefs(1))["rmse"] is None
