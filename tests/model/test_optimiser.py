"""The optimiser's update, compiled and in torch."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model import features
from model.compiled.network import CompiledNetwork
from model.network import Network
from model.optimiser import Weights
from model.parameters import EMBEDDING_STEP, READOUT_STEP
from model.spec import FieldSpec, ModelSpec
from model.tensor_network import TensorNetwork
from tests.builders import MIXED, small_spec

SINGLE = {"rtol": 1e-4, "atol": 1e-5}  # float32 rounding over some hundred operations
RATE = 1e-2
NETWORKS = pytest.mark.parametrize("make", [TensorNetwork, CompiledNetwork])


def make_network(make: type[Network], spec: ModelSpec) -> tuple[Network, Weights, torch.Generator]:
    """With fresh weights where it computes, and where their gradients come from."""
    network = make(spec, features.n_dense(spec))
    return network, network.place(Weights.around(network.layout.fresh(0))), torch.Generator().manual_seed(1)


def torchs_adam(groups: list[tuple[Tensor, float]], spec: ModelSpec) -> torch.optim.Adam:
    """The oracle: a group per step size, and a longer memory where all fields are categories."""
    betas = (0.9, 0.999 if spec.reals else 0.9999)
    return torch.optim.Adam([{"params": [part], "lr": RATE * factor} for part, factor in groups], betas=betas)


def update(network: Network, weights: Weights, gradient: Tensor, rate: float = RATE) -> Weights | None:
    """The network's, of a gradient where it computes."""
    return network.update(weights, gradient if isinstance(network, TensorNetwork) else gradient.numpy(), rate)


def take(network: Network, weights: Weights, gradient: Tensor) -> Weights:
    """An update that is taken."""
    updated = update(network, weights, gradient)
    assert updated is not None
    return updated


def expected_factors(network: Network, spec: ModelSpec) -> Tensor:
    """Step sizes over the learning rate, (P,), by the parameters' names."""
    made, layout = torch.ones(network.layout.size), network.layout
    layout.view(made, "readout")[:, len(spec.reals) :] = READOUT_STEP
    layout.view(made, "readout_bias")[len(spec.reals) :] = READOUT_STEP
    layout.view(made, "input.0")[features.n_dense(spec) :] = EMBEDDING_STEP
    return made


@NETWORKS
@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("fields", [MIXED, MIXED[:1], MIXED[1:]], ids=["mixed", "real", "categories"])
def test_an_update_is_adams(make: type[Network], fields: tuple[FieldSpec, ...], size: float) -> None:
    """Ten updates end where torch's own optimiser does, given the clipped gradient and larger steps for categories."""
    spec = small_spec(fields=fields, layers=2)
    network, weights, source = make_network(make, spec)
    factors, flat = expected_factors(network, spec), torch.from_numpy(weights.arrays[0].copy())
    groups = [(flat[factors == factor].requires_grad_(), factor) for factor in factors.unique().tolist()]
    adam = torchs_adam(groups, spec)
    for _ in range(10):
        gradient = size * torch.randn(len(factors), generator=source)
        weights = take(network, weights, gradient)
        for part, factor in groups:
            part.grad = gradient[factors == factor]
        torch.nn.utils.clip_grad_norm_([part for part, _ in groups], 10.0)
        adam.step()
    flat, _, second = (torch.from_numpy(array) for array in weights.arrays)
    for part, factor in groups:
        torch.testing.assert_close(flat[factors == factor], part.detach(), **SINGLE)
        torch.testing.assert_close(second[factors == factor], adam.state[part]["exp_avg_sq"], rtol=1e-4, atol=0)


def test_real_fields_take_the_plain_step() -> None:
    """No parameter of a model of real fields has a factor, so that the kernel's product changes no bit."""
    spec = small_spec(fields=(FieldSpec("x"), FieldSpec("y")), layers=2)
    assert (CompiledNetwork(spec, features.n_dense(spec)).layout.step_factors == 1).all()


@NETWORKS
def test_what_a_value_left_behind_fades_to_zero(make: type[Network]) -> None:
    """A value not met for a thousand updates leaves no subnormal numbers, which are slow, and its weights rest."""
    spec = small_spec()
    network, weights, source = make_network(make, spec)
    layout, n_dense = network.layout, features.n_dense(spec)
    for n in range(1001):
        gradient = 1e-3 * torch.randn(layout.size, generator=source)
        if n:
            layout.view(gradient, "input.0")[n_dense] = 0  # the first value of the first category
        before, weights = weights, take(network, weights, gradient)
    flat, first, second = (layout.view(array, "input.0")[n_dense] for array in weights.arrays)
    assert (first == 0).all()
    assert (second > 0).all()
    assert np.array_equal(flat, layout.view(before.arrays[0], "input.0")[n_dense])
    assert (weights.arrays[1] != 0).any()


def test_an_update_is_the_same_on_both_paths() -> None:
    """Parameters and both running means, up to rounding; the weights that were given stay."""
    made = []
    for make in (TensorNetwork, CompiledNetwork):
        network, weights, source = make_network(make, small_spec())
        before = [array.copy() for array in weights.arrays]
        made.append(take(network, weights, torch.randn(network.layout.size, generator=source)).arrays)
        assert all(map(np.array_equal, before, weights.arrays))
    for plain, compiled in zip(*made, strict=True):
        np.testing.assert_allclose(compiled, plain, **SINGLE)


@NETWORKS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_not_taken(make: type[Network], bad: float) -> None:
    """One bad number in the gradient, or a parameter that would overflow, and the weights stay."""
    network, weights, _ = make_network(make, small_spec())
    gradient = -torch.ones(network.layout.size)
    largest = Weights.around(np.full(network.layout.size, np.finfo(np.float32).max))
    assert update(network, network.place(largest), gradient, 3e37) is None
    gradient[5] = bad
    assert update(network, weights, gradient) is None
