"""The belief's correction: its direction, its length, and the rate that is learned."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import correction, features
from model.cells import Tape
from model.examples import example_records, to_example
from model.items import parse_item
from model.learner import Learner
from model.network import Example, Network
from model.spec import FieldSpec, LearnSpec, ModelSpec
from tests.builders import feed, frozen, mixed_item, small_spec, wave
from tests.model.test_gradients import (
    CLOSE,
    NETWORKS,
    correct,
    given,
    gradient,
    make_example,
    make_flat,
    make_spec,
    plain_loss,
)

CELLS = ["lstm", "gru", "rnn", "fused"]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_hidden_slope_is_autograds(make: type[Network], cell: str) -> None:
    """Derivative of the corrected hidden state with respect to the correction, unit by unit."""
    spec = make_spec(cell, 4)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=1)
    example = make_example(spec, network, n=2, missing=False, seed=2)
    found = gradient(network, flat, example, weights=False, initial=False)
    made = correct(network, flat, example, found, 0.3)
    last, gates, extra = (torch.from_numpy(part) for part in (found.last[:, 0], found.gates[0], found.extra[0]))

    def hidden(change: torch.Tensor) -> torch.Tensor:
        return network.cell.correct(Tape(last, last, gates, extra), change)[:, 0].sum(0)

    jacobian = torch.autograd.functional.jacobian(hidden, torch.from_numpy(0.3 * made.steps[:, 0]))  # (H, B, H)
    by_unit = torch.stack([jacobian[:, b].diagonal() for b in range(2)])
    np.testing.assert_allclose(made.slopes[:, 0], by_unit, **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_a_small_share_of_the_full_step_lowers_the_loss(make: type[Network], cell: str, missing: bool) -> None:
    """The step points downhill for every stream that observed something, and is nothing for the others."""
    spec = make_spec(cell, 4)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=3)
    example = make_example(spec, network, n=6, missing=missing, seed=4)
    found = gradient(network, flat, example, weights=False, initial=False)

    made = correct(network, flat, example, found, 0.05)

    loss = loss_at(network, flat, example, made.corrected)
    learned = found.loss > 0
    assert (loss[learned] < found.loss[learned]).all()
    assert (made.steps[~learned] == 0).all()


def loss_at(network: Network, flat: np.ndarray, example: Example, state: np.ndarray) -> np.ndarray:
    """Loss per stream were its item predicted from this state: from no input, so that the state stays."""
    none = np.zeros_like(example.n_inputs)
    given = replace(example, start=state, n_inputs=none, from_initial=none)
    return gradient(network, flat, given, weights=False, initial=False).loss


@pytest.mark.parametrize("make", NETWORKS)
def test_a_linear_readout_is_solved_by_a_full_step(make: type[Network]) -> None:
    """Where the one output is linear in the memory, a rate of one removes nearly all of the error."""
    spec = ModelSpec(fields=(FieldSpec("x"),), hidden=8, cell="rnn", experts="none")
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=5)
    learner = Learner(spec)
    beliefs = learner.fresh_beliefs(1)
    for value in wave(6):
        step = learner.step(beliefs, [parse_item(spec, {"x": value})])
        beliefs = step.beliefs
    example = to_example(example_records(beliefs.records, np.array([[1.5]]), np.zeros((1, 0), np.int64)))
    example = replace(
        example, **{name: getattr(example, name).astype(np.float64) for name in ("start", "dense", "targets")}
    )
    found = gradient(network, flat, example, weights=False, initial=False)
    made = correct(network, flat, example, found, 1.0)
    error = example.targets - found.outputs
    left = example.targets - network.read(given(network, flat), made.corrected)
    slope = float(np.square(network.layout.view(flat, "readout")).sum())
    # Damping leaves lambda / (slope + lambda) of a Huber-bounded error.
    moved = np.clip(error, -2, 2) * slope / (slope + 0.01)
    np.testing.assert_allclose(left, error - moved, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_correction_is_bounded(make: type[Network]) -> None:
    """No unit of the memory changes by more than it may."""
    spec = make_spec("gru", 4)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=3)
    example = make_example(spec, network, n=6, missing=False, seed=4)
    found = gradient(network, flat, example, weights=False, initial=False)
    free, bound = (correct(network, flat, example, found, 1e3, most) for most in (np.inf, 0.25))
    change = free.corrected - found.last
    assert np.abs(change).max() > 0.25
    np.testing.assert_allclose(bound.corrected - found.last, np.clip(change, -0.25, 0.25), **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_rates_derivative_is_autograds(make: type[Network], cell: str, layers: int) -> None:
    """Of the next loss, with respect to each unit's rate: through the correction, the advance and the readout."""
    spec = make_spec(cell, 1, layers)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=6)
    now = make_example(spec, network, n=3, missing=False, seed=7)
    now.from_initial[:] = 0
    found = gradient(network, flat, now, weights=False, initial=False)
    made = correct(network, flat, now, found, 0.3)
    then = make_example(spec, network, n=3, missing=False, seed=8)
    then.from_initial[:] = 0
    steps, last = torch.from_numpy(made.steps), torch.from_numpy(found.last)
    tapes = [
        Tape(last[:, i], last[:, i], torch.from_numpy(found.gates[i]), torch.from_numpy(found.extra[i]))
        for i in range(layers)
    ]

    def loss(rates: torch.Tensor) -> torch.Tensor:
        start = [network.cell.correct(tape, (rates * steps)[:, i]) for i, tape in enumerate(tapes)]
        nothing = torch.zeros_like(steps)
        return plain_loss(spec, network, torch.from_numpy(flat), then, torch.stack(start, 1), nothing).sum()

    then.start = made.corrected
    before = gradient(network, flat, then, weights=False, initial=False).before
    by_memory = before[:, :, -1] + (before[:, :, 0] * made.slopes if network.cell.n_parts > 1 else 0)
    expected = torch.autograd.functional.jacobian(loss, torch.full_like(steps, 0.3)).numpy()
    begun = then.n_inputs > 0
    np.testing.assert_allclose((by_memory * made.steps)[begun], expected[begun], rtol=1e-9, atol=1e-12)


def observed(spec: ModelSpec, targets: list[float], slots: list[int], *, begun: bool = True) -> Example:
    """One stream's item, as the learning of rates and trust sees it: after a window of one input, or none."""
    n_inputs = np.full(1, int(begun), np.int32)
    n_dense = features.n_dense(spec)
    return Example(
        start=np.zeros((1, 1, 2, spec.hidden), np.float32),
        dense=np.zeros((1, 1, n_dense), np.float32),
        slots=np.full((1, 1, len(slots)), -1, np.int32),
        n_inputs=n_inputs,
        from_initial=1 - n_inputs,
        targets=np.array([targets], np.float32),
        target_slots=np.array([slots], np.int32),
        n_known=np.full((1, len(slots)), 3, np.int32),
    )


def records(spec: ModelSpec, n: int = 1) -> np.ndarray:
    """Beliefs of new streams."""
    return Learner(spec).fresh_beliefs(n).records


ONE_FIELD = ModelSpec(fields=(FieldSpec("x"),), hidden=4, experts="none")


def test_a_rate_follows_its_own_derivative() -> None:
    """Units whose steps would have helped take more next time, those that would have hurt less; all within bounds."""
    network, made = Learner(ONE_FIELD).network, records(ONE_FIELD)
    made["steps"] = [[[1, -1, 1, 0]]]
    before = np.zeros((1, 1, 2, 4), np.float32)
    before[0, 0, 1] = [-0.1, -0.1, 0.0, 0.3]
    for _ in range(300):
        correction.learn(network, made, observed(ONE_FIELD, [math.nan], []), before)
    assert made["rates"][0, 0].tolist() == pytest.approx([correction.MAX_RATE, correction.MIN_RATE, 0.1, 0.1])
    unseen = made.copy()
    correction.learn(network, made, observed(ONE_FIELD, [math.nan], [], begun=False), before)
    assert made.tobytes() == unseen.tobytes()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3e38])
def test_rates_survive_any_gradient(bad: float) -> None:
    """What is not finite teaches nothing, and what is huge moves a rate by no more than a surprise may."""
    made = records(ONE_FIELD)
    made["steps"] = 1.0
    before = np.full((1, 1, 2, 4), bad, np.float32)
    correction.learn(Learner(ONE_FIELD).network, made, observed(ONE_FIELD, [math.nan], []), before)
    assert np.isfinite(made["rates"]).all()
    assert np.isfinite(made["moments"]).all()
    assert np.abs(np.log(made["rates"] / correction.START)).max() < 0.31


def trusted(share: float, noise: float, n: int = 400) -> float:
    """Trust after items whose best share of the corrections' effect was ``share``."""
    network, made, source = Learner(ONE_FIELD).network, records(ONE_FIELD), np.random.default_rng(0)
    nothing = np.zeros((1, 1, 2, 4), np.float32)
    for _ in range(n):
        plain, moved = source.normal(size=2)
        made["outputs"], made["corrected_outputs"] = plain, plain + moved
        target = plain + share * moved + noise * source.normal()
        correction.learn(network, made, observed(ONE_FIELD, [target], []), nothing)
    return float(correction.trust(made)[0])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (2.0, 1.0), (-1.0, 0.0)])
def test_trust_is_the_best_share_within_bounds(share: float, expected: float) -> None:
    """Of the difference that the corrections make, by least squares, between none and all of it."""
    assert trusted(share, noise=0.1) == pytest.approx(expected, abs=0.03)


def test_a_new_stream_trusts_no_correction() -> None:
    """Trust has to be earned."""
    assert correction.trust(records(ONE_FIELD)) == 0


def test_trust_in_a_category_is_least_squares_on_its_logits() -> None:
    """Corrections that move the observed value's logit up are trusted, those that move it down are not."""
    spec = ModelSpec(fields=(FieldSpec("c", "category", capacity=5),), hidden=4, experts="none")
    network = Learner(spec).network
    for sign in (1.0, -1.0):
        made = records(spec)
        for _ in range(100):
            made["outputs"], made["corrected_outputs"] = 0.0, 0.0
            made["corrected_outputs"][0, 1] = sign
            correction.learn(network, made, observed(spec, [], [1]), np.zeros((1, 1, 2, 4), np.float32))
        assert (float(correction.trust(made)[0]) > 0.5) == (sign > 0)


def run(learner: Learner, values: list[float]) -> np.ndarray:
    """The belief of a stream after the values; the learner adopts each step."""
    beliefs = learner.fresh_beliefs(1)
    for value in values:
        step = learner.step(beliefs, [parse_item(learner.spec, {"x": value})])
        learner.adopt(step)
        beliefs = step.beliefs
    return beliefs.records


def test_frozen_weights_that_are_off_are_corrected() -> None:
    """A network frozen on a wave and fed a drift makes like errors in a row: correcting pays, and is trusted."""
    teacher = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none"))
    run(teacher, wave(600))
    learner = teacher.with_spec(frozen(teacher.spec))
    record = run(learner, [0.05 * n for n in range(600)])
    assert float(correction.trust(record)[0]) > 0.5
    assert record["rates"].mean() > correction.START


def test_without_state_learning_there_is_one_path() -> None:
    """Both paths' outputs are the same, nothing is trusted, and the belief is as it would be without correction."""
    learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none", learn=LearnSpec(state=False)))
    record = run(learner, wave(80))[0]
    assert record["outputs"].tolist() == record["corrected_outputs"].tolist()
    assert (record["gain"], record["curvature"]) == (0, 0)
    assert record["uncorrected"].tobytes() == record["corrected"].tobytes()


def test_corrections_leave_the_weights_alone() -> None:
    """What the weights of the network alone learn does not depend on whether beliefs are corrected, to the bit."""
    made = []
    for state in (True, False):
        learner = Learner(replace(small_spec(experts="none"), learn=LearnSpec(state=state)))
        beliefs = feed(learner, learner.fresh_beliefs(3), 80, missing=0.2)
        made.append(learner.weights.flat)
    assert float(correction.trust(beliefs.records).max()) == 0
    assert np.array_equal(*made)


@pytest.mark.parametrize("cell", CELLS)
def test_all_that_is_learned_stays_within_bounds(cell: str) -> None:
    """Whatever comes, missing values included: rates, trust and a spike after it."""
    learner = Learner(small_spec(cell=cell, layers=2))
    beliefs = feed(learner, learner.fresh_beliefs(3), 60, missing=0.3)
    source = np.random.default_rng(1)
    spike = [mixed_item(learner.spec, 60, source) for _ in range(3)]
    made = learner.step(beliefs, spike).beliefs.records
    bounds = np.float32(correction.MIN_RATE), np.float32(correction.MAX_RATE)
    assert ((made["rates"] >= bounds[0]) & (made["rates"] <= bounds[1])).all()
    shares = correction.trust(made)
    assert ((shares >= 0) & (shares <= 1)).all()


def test_a_fixed_rate_of_nothing_corrects_nothing() -> None:
    """The rate that a learner is given to compare with is taken by every unit, and trusted."""
    for rate in (0.0, 0.5):
        learner = Learner(ModelSpec(fields=(FieldSpec("x"),), hidden=16, experts="none"), correction_rate=rate)
        record = run(learner, wave(80))
        assert np.array_equal(record["uncorrected"], record["corrected"]) == (rate == 0)
        assert set(np.unique(record["rates"])) == {np.float32(rate)}
        assert correction.trust(record) == 1
