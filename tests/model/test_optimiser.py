"""The optimiser's update, compiled and in torch."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from model import features, optimiser
from model.network import Network
from model.optimiser import Weights
from model.parameters import EMBEDDING_STEP, READOUT_STEP, Parameters
from model.spec import FieldSpec, ModelSpec
from tests.builders import MIXED, small_spec

SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # float32 rounding over some hundred operations
RATE = 1e-2
COMPILED = pytest.mark.parametrize("compiled", [True, False])


def fresh_weights(spec: ModelSpec | None = None) -> tuple[Weights, torch.Generator]:
    """Of a small network, and where their gradients come from."""
    spec = spec or small_spec()
    layout = Network(spec, features.n_dense(spec)).layout
    return Weights.around(Parameters.fresh(layout, seed=0)), torch.Generator().manual_seed(1)


def torchs_adam(groups: list[tuple[Tensor, float]], spec: ModelSpec) -> torch.optim.Adam:
    """The oracle: a group per step size, and a longer memory where all fields are categories."""
    betas = (0.9, 0.999 if spec.reals else 0.9999)
    return torch.optim.Adam([{"params": [part], "lr": RATE * factor} for part, factor in groups], betas=betas)


def take(weights: Weights, gradient: Tensor, *, compiled: bool) -> Weights:
    """An update that is taken, on one of the two paths."""
    with patch("model.optimiser.serves", return_value=compiled):
        updated = optimiser.update(weights, gradient, RATE)
    assert updated is not None
    return updated


def expected_factors(weights: Weights, spec: ModelSpec) -> Tensor:
    """Step sizes over the learning rate, (P,), by the parameters' names."""
    made = Parameters(weights.parameters.layout, torch.ones_like(weights.first))
    made.readout[:, len(spec.reals) :] = READOUT_STEP
    made.readout_bias[len(spec.reals) :] = READOUT_STEP
    made.inputs[0][features.n_dense(spec) :] = EMBEDDING_STEP
    return made.flat


@COMPILED
@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("fields", [MIXED, MIXED[:1], MIXED[1:]], ids=["mixed", "real", "categories"])
def test_an_update_is_adams(fields: tuple[FieldSpec, ...], size: float, compiled: bool) -> None:
    """Ten updates end where torch's own optimiser does, given the clipped gradient and larger steps for categories."""
    spec = small_spec(fields=fields, layers=2)
    weights, source = fresh_weights(spec)
    factors, flat = expected_factors(weights, spec), weights.parameters.flat
    groups = [(flat[factors == factor].requires_grad_(), factor) for factor in factors.unique().tolist()]
    adam = torchs_adam(groups, spec)
    for _ in range(10):
        gradient = size * torch.randn(len(factors), generator=source)
        weights = take(weights, gradient, compiled=compiled)
        for part, factor in groups:
            part.grad = gradient[factors == factor]
        torch.nn.utils.clip_grad_norm_([part for part, _ in groups], 10.0)
        adam.step()
    for part, factor in groups:
        torch.testing.assert_close(weights.parameters.flat[factors == factor], part.detach(), **SINGLE)
        torch.testing.assert_close(weights.second[factors == factor], adam.state[part]["exp_avg_sq"], rtol=1e-4, atol=0)


def test_real_fields_take_the_plain_step() -> None:
    """No parameter of a model of real fields has a factor, so that the kernel's product changes no bit."""
    weights, _ = fresh_weights(small_spec(fields=(FieldSpec("x"), FieldSpec("y")), layers=2))
    assert bool((weights.parameters.layout.step_factors == 1).all())


@COMPILED
def test_what_a_value_left_behind_fades_to_zero(compiled: bool) -> None:
    """A value not met for a thousand updates leaves no subnormal numbers, which are slow, and its weights rest."""
    spec = small_spec()
    weights, source = fresh_weights(spec)
    layout, n_dense = weights.parameters.layout, features.n_dense(spec)
    for n in range(1001):
        gradient = 1e-3 * torch.randn(layout.size, generator=source)
        if n:
            layout.view(gradient, "input.0")[n_dense] = 0  # the first value of the first category
        before, weights = weights, take(weights, gradient, compiled=compiled)
    assert bool((layout.view(weights.first, "input.0")[n_dense] == 0).all())
    assert bool((layout.view(weights.second, "input.0")[n_dense] > 0).all())
    assert torch.equal(weights.parameters.inputs[0][n_dense], before.parameters.inputs[0][n_dense])
    assert bool((weights.first != 0).any())


def test_an_update_is_the_same_on_both_paths() -> None:
    """Parameters and both running means, up to rounding; the weights it was given stay."""
    weights, source = fresh_weights()
    gradient = torch.randn(len(weights.first), generator=source)
    before = weights.parameters.flat.clone()
    compiled = optimiser.update(weights, gradient, 1e-2)
    with patch("model.optimiser.serves", return_value=False):
        plain = optimiser.update(weights, gradient, 1e-2)
    assert compiled is not None
    assert plain is not None
    torch.testing.assert_close(compiled.parameters.flat, plain.parameters.flat, **SINGLE)
    torch.testing.assert_close(compiled.first, plain.first, **SINGLE)
    torch.testing.assert_close(compiled.second, plain.second, **SINGLE)
    assert torch.equal(weights.parameters.flat, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_not_taken(bad: float) -> None:
    """One bad number in the gradient, or a parameter that would overflow, and the weights stay."""
    weights, _ = fresh_weights()
    gradient = torch.ones_like(weights.first)
    assert optimiser.update(weights, gradient, 3e38 * 1e10) is None
    gradient[5] = bad
    assert optimiser.update(weights, gradient, 1e-2) is None
