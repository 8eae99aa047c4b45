"""The network and the experts together: what a stream gets by default."""

import numpy as np
import pytest

from model import correction
from model.inspection import inspect
from model.items import parse_item
from model.learner import Learner
from model.spec import ModelSpec
from tests.builders import feed, small_spec


def errors(values: np.ndarray, **parts: object) -> tuple[float, float]:
    """Root mean squared error of the model and of persistence over the last three quarters."""
    learner = Learner(ModelSpec.from_dict({"fields": [{"name": "x"}], "hidden": 16, **parts}))
    beliefs, squares, persistence = learner.fresh_beliefs(1), [], []
    for value in values:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": float(value)})])
        learner.adopt(step)
        beliefs = step.beliefs
        squares.append(step.scores.error[0, 0] ** 2)
        persistence.append(step.scores.persistence_error[0, 0] ** 2)
    later = slice(len(values) // 4, None)
    return float(np.sqrt(np.mean(squares[later]))), float(np.sqrt(np.mean(persistence[later])))


def random_walk(source: np.random.Generator) -> np.ndarray:
    """Nothing can beat the last value."""
    return np.cumsum(source.normal(size=1200))


def rare_jumps(source: np.random.Generator) -> np.ndarray:
    """Still for long, then elsewhere."""
    return np.cumsum(np.where(source.random(1200) < 0.01, source.normal(0, 10, 1200), 0.0))


def spikes(source: np.random.Generator) -> np.ndarray:
    """A walk with a spike of a thousand scales now and then."""
    return random_walk(source) + np.where(source.random(1200) < 0.005, 1000.0, 0.0)


@pytest.mark.parametrize("series", [random_walk, rare_jumps, spikes])
def test_it_is_hardly_ever_worse_than_the_last_value(series: object) -> None:
    """Where persistence is the best there is, learning costs a few percent at most."""
    error, persistence = errors(series(np.random.default_rng(5)))  # type: ignore[operator]
    assert error < 1.04 * persistence


def test_a_season_is_found_without_being_told() -> None:
    """A daily profile of 48 values, no timestamps: far below persistence, and below the network alone."""
    source = np.random.default_rng(6)
    profile = np.cumsum(source.normal(size=48))
    values = np.tile(profile - profile.mean(), 25) + 0.2 * source.normal(size=1200)
    error, persistence = errors(values)
    alone, _ = errors(values, experts="none")
    assert error < 0.5 * persistence
    assert error < alone


def test_the_experts_show_what_they_say_and_weigh() -> None:
    """Their weights are a probability vector, and the mix of their forecasts is the prediction's mean."""
    learner = Learner(small_spec())
    beliefs = feed(learner, learner.fresh_beliefs(1), 80)
    shown = inspect(learner, beliefs)["experts"]["load"]
    assert set(shown) == {"persistence", "regression", "network"}
    assert sum(expert["weight"] for expert in shown.values()) == pytest.approx(1)
    mixed = sum(expert["weight"] * expert["forecast"] for expert in shown.values())
    assert mixed == pytest.approx(float(beliefs.records["pending"]["mean"][0, 0]))


def test_without_experts_the_network_is_alone() -> None:
    """Nothing is kept for them, and nothing is shown."""
    learner = Learner(small_spec(experts="none"))
    beliefs = feed(learner, learner.fresh_beliefs(1), 30)
    assert "experts" not in (beliefs.records.dtype.names or ())
    assert inspect(learner, beliefs)["experts"] == {}
    outputs = correction.outputs(beliefs.records)[0, 0]
    scale, change = beliefs.records["scale"], np.sqrt(beliefs.records["scale"]["change"])
    expected = scale["value"][0, 0] + change[0, 0] * outputs
    assert float(beliefs.records["pending"]["mean"][0, 0]) == pytest.approx(float(expected))
