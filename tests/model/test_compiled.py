"""The compiled path beside torch's: functions, products, and single precision as it is used."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from numba import njit

from model import features
from model.compiled import kernels, linear
from model.compiled.network import CompiledNetwork
from model.network import Example
from tests.model.test_gradients import NETWORKS, correct, given, gradient, make_example, make_flat, make_spec

CELLS = ["lstm", "gru", "rnn", "fused"]
SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # float32 rounding over some hundred operations
ULPS = 4  # of float32: what a handful of operations may lose


@njit
def _sigmoids(x: np.ndarray) -> None:
    kernels.sigmoids(x)


@njit
def _tanhs(x: np.ndarray) -> None:
    kernels.tanhs(x)


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
    function(made)
    np.testing.assert_allclose(made, expected(x.astype(np.float64)), rtol=ULPS * np.finfo(kind).eps, atol=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_squashing_function_passes_on_what_is_not_a_number(name: str) -> None:
    """NaN stays, so that the update is refused; infinities give the limits."""
    function, expected = FUNCTIONS[name]
    made = np.array([np.nan, np.inf, -np.inf], np.float32)
    function(made)
    np.testing.assert_allclose(made, expected(np.array([np.nan, np.inf, -100.0])), atol=1e-37)


def single(example: Example) -> Example:
    """The example in float32."""
    return replace(
        example, **{name: getattr(example, name).astype(np.float32) for name in ("start", "dense", "targets")}
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_both_paths_agree_in_single_precision(cell: str, layers: int) -> None:
    """All that a step takes from the network is the same on both paths, up to float32 rounding."""
    spec = make_spec(cell, 4, layers)
    networks = [make(spec, features.n_dense(spec)) for make in NETWORKS]
    flat = make_flat(networks[0], seed=1).astype(np.float32)
    example = single(make_example(spec, networks[0], n=6, missing=True, seed=2))
    newest = example.dense[:, -1], example.slots[:, -1].astype(np.int64)

    begun = example.n_inputs > 0

    found = []
    for network in networks:
        at = gradient(network, flat, example, weights=True, initial=True)
        made = correct(network, flat, example, at, 0.5, most=1.0)
        advanced = network.advance(given(network, flat), made.corrected, *newest)
        numbers = [at.loss, at.parameters, at.memory, at.outputs, at.first, at.last]
        numbers.append(gradient(network, flat, example, weights=False, initial=False).before)
        found.append(
            [
                *(
                    *numbers,
                    made.steps,
                    made.corrected,
                    made.slopes[begun],
                    advanced.state,
                    advanced.outputs,
                    advanced.gates,
                ),
                network.read(given(network, flat), advanced.state),
            ]
        )

    for expected, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, expected, **SINGLE)


@njit
def _add_outer(x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    linear.add_outer(x, grad, out)


@pytest.mark.parametrize("n", [1, 3, 4, 31, 64])
@pytest.mark.parametrize("shape", [(7, 13), (8, 1), (3, 16)])
def test_the_weight_gradient_is_a_product_at_any_number_of_rows(n: int, shape: tuple[int, int]) -> None:
    """With and without a rest of fewer than four rows or columns."""
    source = np.random.default_rng(n)
    x, grad, out = source.normal(size=(n, shape[0])), source.normal(size=(n, shape[1])), np.ones(shape)
    _add_outer(x, grad, out)
    np.testing.assert_allclose(out, 1 + x.T @ grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_has_the_same_bits_in_any_batch(cell: str) -> None:
    """Alone, beside others, and wherever it lies; within a block of streams and across them."""
    spec = make_spec(cell, 4, layers=2)
    network = CompiledNetwork(spec, features.n_dense(spec))
    flat = make_flat(network, seed=1).astype(np.float32)
    example = single(make_example(spec, network, n=37, missing=True, seed=2))
    newest = example.dense[:, -1], example.slots[:, -1].astype(np.int64)

    def passed(chosen: list[int]) -> list[np.ndarray]:
        part = Example(*(getattr(example, field.name)[chosen] for field in fields(Example)))
        learning = gradient(network, flat, part, weights=True, initial=True)
        at = gradient(network, flat, part, weights=False, initial=False)
        made = correct(network, flat, part, at, 0.5, most=1.0)
        advanced = network.advance(flat, made.corrected, *(column[chosen] for column in newest))
        return [
            *(learning.loss, learning.memory, learning.outputs, learning.first, learning.last),
            *(at.loss, at.memory, at.before, at.outputs, at.first, at.last),
            *(made.steps, made.corrected, made.slopes, advanced.state, advanced.outputs),
        ]

    whole = passed(list(range(37)))
    for chosen in ([0], [36], [5, 11, 36], list(range(20, 37)), list(range(36, -1, -1))):
        for expected, found in zip(whole, passed(chosen), strict=True):
            assert np.array_equal(expected[chosen], found, equal_nan=True)
