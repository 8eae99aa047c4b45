"""The compiled path beside torch's: functions, products, and single precision as it is used."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numba import njit

from model import correction, features
from model.compiled import kernels, linear
from model.compiled.network import CompiledNetwork
from model.learner import Learner
from model.network import Example, Inputs, Network
from model.parameters import Parameters
from tests.builders import feed, small_spec
from tests.model.test_gradients import make_example, make_parameters, make_spec

CELLS = ["lstm", "gru", "rnn", "fused"]
SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # float32 rounding over some hundred operations
ULPS = 4  # of float32: what a handful of operations may lose


@njit
def _sigmoids(x: np.ndarray, scratch: np.ndarray) -> None:
    kernels.sigmoids(x, scratch)


@njit
def _tanhs(x: np.ndarray, scratch: np.ndarray) -> None:
    kernels.tanhs(x, scratch)


FUNCTIONS: dict[str, tuple[Callable[..., None], Callable[..., np.ndarray]]] = {
    "sigmoid": (_sigmoids, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (_tanhs, np.tanh),
}


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_squashing_function_is_exact_to_rounding(name: str, kind: type) -> None:
    """Within a few units in the last place of NumPy's, near 0 and as far out as the result is not below rounding."""
    function, expected = FUNCTIONS[name]
    x = np.concatenate([np.linspace(-80, 80, 100_001), np.linspace(-1, 1, 10_001), [1e-30, -1e-8]]).astype(kind)
    made = x.copy()
    function(made, np.empty(2 * len(x), kind))
    np.testing.assert_allclose(made, expected(x.astype(np.float64)), rtol=ULPS * np.finfo(kind).eps, atol=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_squashing_function_passes_on_what_is_not_a_number(name: str) -> None:
    """NaN stays, so that the update is refused; infinities give the limits."""
    function, expected = FUNCTIONS[name]
    made = np.array([np.nan, np.inf, -np.inf], np.float32)
    function(made, np.empty(6, np.float32))
    np.testing.assert_allclose(made, expected(np.array([np.nan, np.inf, -100.0])), atol=1e-37)


def single(example: Example) -> Example:
    """The example in float32."""
    return Example(
        start=example.start.float(),
        inputs=Inputs(example.inputs.dense.float(), example.inputs.slots),
        n_inputs=example.n_inputs,
        from_initial=example.from_initial,
        targets=example.targets.float(),
        target_slots=example.target_slots,
        n_known=example.n_known,
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_both_paths_agree_in_single_precision(cell: str, layers: int) -> None:
    """All that a step takes from the network is the same on both paths, up to float32 rounding."""
    spec = make_spec(cell, 4, layers)
    plain, compiled = (make(spec, features.n_dense(spec)) for make in (Network, CompiledNetwork))
    parameters = Parameters(plain.layout, make_parameters(plain, seed=1).flat.float())
    example = single(make_example(spec, plain, n=6, missing=True, seed=2))
    newest = Inputs(example.inputs.dense[:, -1:], example.inputs.slots[:, -1:])
    begun = example.n_inputs > 0

    found = []
    for network in (plain, compiled):
        gradient = network.gradient(parameters, example, weights=True, initial=True)
        step = correction.full_step(network, parameters, gradient, example)
        corrected = correction.apply(network, gradient, step, begun)
        advanced = torch.stack([tape.after for tape in network.advance(parameters, corrected, newest)], 1)
        numbers = [
            gradient.loss,
            gradient.parameters,
            gradient.memory,
            gradient.before,
            gradient.outputs,
            gradient.first,
            gradient.last,
        ]
        found.append([*numbers, step, corrected, advanced, network.read(parameters, advanced)])

    for expected, made in zip(*found, strict=True):
        torch.testing.assert_close(made, expected, **SINGLE)


@pytest.mark.parametrize("n", [1, 3, linear.BLAS_ROWS - 1, linear.BLAS_ROWS, 4 * linear.BLAS_ROWS])
def test_the_weight_gradient_is_a_product_at_any_number_of_rows(n: int) -> None:
    """On both sides of where torch's product takes over."""
    source = np.random.default_rng(n)
    x, grad, out = source.normal(size=(n, 7)), source.normal(size=(n, 13)), np.full((7, 13), np.nan)
    linear.outer(x, grad, out)
    np.testing.assert_allclose(out, x.T @ grad, rtol=1e-12, atol=1e-12)


def test_both_paths_learn_the_same() -> None:
    """Thirty items end in the same weights and states, up to what rounding grows to."""
    runs = []
    for compiled in (True, False):
        learner = Learner(small_spec(layers=2))
        if not compiled:
            learner.network = Network(learner.spec, features.n_dense(learner.spec))
        beliefs = feed(learner, learner.fresh_beliefs(3), 30, missing=0.2)
        runs.append((learner.weights.parameters.flat.numpy(), beliefs.records["state"]))
    for made, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(made, expected, rtol=1e-2, atol=2e-3)
