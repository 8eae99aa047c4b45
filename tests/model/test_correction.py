"""The belief's correction: its direction, its length, and the rate that is learned."""

import numpy as np
import pytest
import torch

from model import correction, features
from model.examples import example_records, to_example
from model.items import parse_item
from model.learner import Learner
from model.network import Network
from model.spec import FieldSpec, ModelSpec
from tests.builders import feed, frozen, mixed_item, small_spec, wave
from tests.model.test_gradients import make_example, make_parameters, make_spec

CELLS = ["lstm", "gru", "rnn", "fused"]


@pytest.mark.parametrize("cell", CELLS)
def test_the_hidden_slope_is_autograds(cell: str) -> None:
    """Derivative of the corrected hidden state with respect to the correction, unit by unit."""
    spec = make_spec(cell, 4)
    network = Network(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=1)
    example = make_example(spec, network, n=2, missing=False, seed=2)
    (tape,) = network.gradient(parameters, example, weights=False, initial=False).tapes

    def hidden(change: torch.Tensor) -> torch.Tensor:
        return network.cell.correct(tape, change)[:, 0].sum(0)

    zero = torch.zeros_like(tape.after[:, -1])
    jacobian = torch.autograd.functional.jacobian(hidden, zero)  # (H, B, H)
    by_unit = torch.stack([jacobian[:, b].diagonal() for b in range(2)])
    torch.testing.assert_close(network.cell.hidden_slope(tape), by_unit)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_a_small_share_of_the_full_step_lowers_the_loss(cell: str, missing: bool) -> None:
    """The step points downhill for every stream that observed something, and is nothing for the others."""
    spec = make_spec(cell, 4)
    network = Network(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=3)
    example = make_example(spec, network, n=6, missing=missing, seed=4)
    gradient = network.gradient(parameters, example, weights=False, initial=False)

    step = correction.full_step(network, parameters, gradient, example)

    corrected = correction.apply(network, gradient, 0.05 * step, example.n_inputs > 0)
    loss, _ = network._loss(network.read(parameters, corrected), example)
    learned = gradient.loss > 0
    assert bool((loss[learned] < gradient.loss[learned]).all())
    assert bool((step[~learned] == 0).all())


def test_a_linear_readout_is_solved_by_a_full_step() -> None:
    """Where the one output is linear in the memory, a rate of one removes nearly all of the error."""
    spec = ModelSpec(fields=(FieldSpec("x"),), hidden=8, cell="rnn", experts="none")
    network = Network(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=5)
    learner = Learner(spec)
    beliefs = learner.fresh_beliefs(1)
    for value in wave(6):
        step = learner.step(beliefs, [parse_item(spec, {"x": value})])
        beliefs = step.beliefs
    records = example_records(spec, beliefs.records, np.array([[1.5]]), np.zeros((1, 0), np.int64))
    example = to_example(records, torch.device("cpu"))
    example.start, example.corrections = example.start.double(), example.corrections.double()
    example.inputs.dense, example.targets = example.inputs.dense.double(), example.targets.double()
    gradient = network.gradient(parameters, example, weights=False, initial=False)
    full = correction.full_step(network, parameters, gradient, example)
    after = correction.apply(network, gradient, full, example.n_inputs > 0)
    error = example.targets - gradient.outputs
    left = example.targets - network.read(parameters, after)
    slope = float(parameters.readout.square().sum())
    # Damping leaves lambda / (slope + lambda) of a Huber-bounded error.
    moved = torch.clamp(error, -2, 2) * slope / (slope + 0.1)
    torch.testing.assert_close(left, error - moved)


def run_rate(learner: Learner, values: list[float]) -> float:
    """Rate of a stream after the values; the learner adopts each step."""
    beliefs = learner.fresh_beliefs(1)
    for value in values:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    return float(correction.rate(beliefs.records)[0])


def test_the_rate_rises_where_frozen_weights_are_off() -> None:
    """A network frozen on a wave and fed a drift makes like errors in a row: correcting pays, the rate rises."""
    teacher = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none"))
    run_rate(teacher, wave(600))
    learner = teacher.with_spec(frozen(teacher.spec))
    drift = [0.05 * n for n in range(600)]
    assert run_rate(learner, drift) > 2 * correction.START


def test_the_rate_falls_where_there_is_nothing_to_correct() -> None:
    """Of pure noise around a level no error tells of the next: the rate goes below where it began."""
    source = np.random.default_rng(0)
    teacher = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none"))
    run_rate(teacher, source.normal(size=1500).tolist())
    learner = teacher.with_spec(frozen(teacher.spec))
    assert run_rate(learner, source.normal(size=1500).tolist()) < correction.START


@pytest.mark.parametrize("cell", CELLS)
def test_the_rate_is_a_share(cell: str) -> None:
    """Whatever comes, missing values included, it stays between 0 and 1, and a new stream has the start's."""
    learner = Learner(small_spec(cell=cell, layers=2))
    assert correction.rate(learner.fresh_beliefs(1).records) == pytest.approx(correction.START)
    beliefs = feed(learner, learner.fresh_beliefs(3), 60, missing=0.3)
    rates = correction.rate(beliefs.records)
    assert ((rates >= 0) & (rates <= 1)).all()
    source = np.random.default_rng(1)
    spike = [mixed_item(learner.spec, 60, source) for _ in range(3)]
    after = learner.step(beliefs, spike).beliefs
    assert np.isfinite(after.records["slope"]).all()


def test_the_response_is_what_a_larger_rate_would_have_done() -> None:
    """Kept with the belief: the change of the network's output per unit of the last correction's rate."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none"))
    beliefs = learner.fresh_beliefs(1)
    for value in [*wave(80), 2.0]:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    assert abs(float(beliefs.records["response"][0, 0])) > 0
    without = learner.with_spec(frozen(learner.spec, state=False))
    still = without.step(beliefs, [parse_item(learner.spec, {"x": 0.0})]).beliefs
    assert float(still.records["response"][0, 0]) == 0
