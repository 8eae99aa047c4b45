"""The written-out gradients, torch's and the compiled one, against autograd, in float64, for every cell."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import features
from model.compiled.network import CompiledNetwork
from model.network import HUBER, Correction, Example, Gradient, Network
from model.spec import FieldSpec, ModelSpec
from model.tensor_network import Parameters, TensorNetwork

CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 rounding over some hundred operations
CELLS = ["lstm", "gru", "rnn", "fused"]
NETWORKS = [TensorNetwork, CompiledNetwork]

FIELDS = (
    FieldSpec("load"),
    FieldSpec("heat"),
    FieldSpec("state", "category", ("idle", "busy", "off")),
    FieldSpec("activity", "category", capacity=4),
)


def make_spec(cell: str, window: int, layers: int = 1) -> ModelSpec:
    """Two real fields, a closed and an open category; five units."""
    return ModelSpec(fields=FIELDS, cell=cell, hidden=5, layers=layers, window=window)


def make_flat(network: Network, seed: int) -> NDArray[np.float64]:
    """Random weights in float64."""
    source = torch.Generator().manual_seed(seed)
    return (0.5 * torch.randn(network.layout.size, generator=source, dtype=torch.float64)).numpy()


def given(network: Network, flat: NDArray[Any]) -> Any:
    """The weights as the network computes with them."""
    return torch.from_numpy(flat) if isinstance(network, TensorNetwork) else flat


def gradient(network: Network, flat: NDArray[Any], example: Example, *, weights: bool, initial: bool) -> Gradient:
    """The network's, all of it as arrays."""
    found = network.gradient(given(network, flat), example, weights=weights, initial=initial)
    return replace(found, parameters=None if found.parameters is None else np.asarray(found.parameters))


def correct(
    network: Network, flat: NDArray[Any], example: Example, at: Gradient, rate: float, most: float = np.inf
) -> Correction:
    """The network's correction, every unit at this rate."""
    made = Correction(np.empty_like(at.memory), np.empty_like(at.last), np.empty_like(at.memory))
    network.correct(given(network, flat), example, at, np.full_like(at.memory, rate), most, made)
    return made


def make_example(spec: ModelSpec, network: Network, *, n: int, missing: bool, seed: int) -> Example:
    """Streams at different points of their first window and beyond it."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> NDArray[np.float64]:
        return torch.randn(*shape, generator=source, dtype=torch.float64).numpy()

    def slots(length: int) -> NDArray[np.int32]:
        drawn = torch.stack(
            [torch.randint(0, field.n_slots, (n, length), generator=source) for field in spec.categories], -1
        )
        drawn = torch.where(torch.rand(drawn.shape, generator=source) < 0.4, -1, drawn) if missing else drawn
        return drawn.numpy().astype(np.int32)

    cell, window = network.cell, spec.window
    n_inputs = np.resize([window, window, 1, max(1, window - 1), 0, window], n).astype(np.int32)
    targets, target_slots = normal(n, 2), slots(1)[:, 0]
    # A slot that no known value has is never a target: an unknown value is the last slot.
    open_slot = target_slots[:, 1]
    target_slots[:, 1] = np.where((open_slot >= 2) & (open_slot < 4), 4, open_slot)
    if missing:
        targets[0, 0] = np.nan
        targets[1] = np.nan
        target_slots[1] = -1
    targets[n_inputs == 0] = np.nan
    target_slots[n_inputs == 0] = -1
    return Example(
        start=normal(n, spec.layers, cell.n_parts, spec.hidden),
        dense=normal(n, window, network.layout.n_dense),
        slots=slots(window),
        n_inputs=n_inputs,
        from_initial=np.resize([0, 1, 1, 1, 1, 0], n).astype(np.int32),
        targets=targets,
        target_slots=target_slots,
        n_known=np.tile(np.array([3, 2], np.int32), (n, 1)),
    )


def plain_step(cell: str, parameters: Parameters, layer: int, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor | None]:
    """New memory (H,) of one stream by the textbook formula, and the output gate where the cell has one."""
    weights = parameters.cells[layer]
    h = state[0]
    if cell == "lstm":
        i, f, o, g = (x + h @ weights.recurrent).chunk(4)
        return torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g), torch.sigmoid(o)
    if cell == "gru":
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3), (h @ weights.recurrent).chunk(3)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        return (1 - z) * torch.tanh(xn + r * hn) + z * h, None
    if cell == "rnn":
        return torch.tanh(x + h @ weights.recurrent), None
    inner = torch.tanh(x + torch.cat((h, state[1])) @ weights.recurrent)
    return inner @ weights.out + weights.out_bias, torch.ones_like(h)


def plain_loss(
    spec: ModelSpec, network: Network, flat: Tensor, example: Example, start: Tensor, nudge: Tensor
) -> Tensor:
    """Loss per stream from ``start``, one step at a time; ``nudge`` (B, L, H) is added to the last memory."""
    parameters = Parameters(network.layout, flat)
    n_dense = network.layout.n_dense
    losses = []
    dense, targets = torch.from_numpy(example.dense), torch.from_numpy(example.targets)
    for b in range(len(start)):
        state = list(parameters.initial if example.from_initial[b] else start[b])
        for k in range(spec.window - int(example.n_inputs[b]), spec.window):
            x = dense[b, k] @ parameters.inputs[0][:n_dense]
            offset = n_dense
            for j, field in enumerate(spec.categories):
                slot = int(example.slots[b, k, j])
                if slot >= 0:
                    x = x + parameters.inputs[0][offset + slot]
                offset += field.n_slots
            for layer in range(spec.layers):
                below = x if layer == 0 else state[layer - 1][0] @ parameters.inputs[layer]
                memory, gate = plain_step(spec.cell, parameters, layer, below + parameters.biases[layer], state[layer])
                memory = memory + nudge[b, layer] if k == spec.window - 1 else memory
                state[layer] = memory[None] if gate is None else torch.stack((gate * torch.tanh(memory), memory))
        out = state[-1][0] @ parameters.readout + parameters.readout_bias
        loss = out.new_zeros(())
        for j in range(2):
            if not targets[b, j].isnan():
                loss = loss + torch.nn.functional.huber_loss(out[j], targets[b, j], delta=HUBER)
        at = 2
        for j, field in enumerate(spec.categories):
            slot = int(example.target_slots[b, j])
            allowed = list(range(field.n_slots))
            if field.is_open:
                allowed = [*range(int(example.n_known[b, j])), field.n_slots - 1]
            if slot >= 0:
                logits = out[at : at + field.n_slots]
                loss = loss - logits[slot] + torch.logsumexp(logits[allowed], 0)
            at += field.n_slots
        losses.append(loss)
    return torch.stack(losses)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("n", [6, 37])
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_autograds(make: type[Network], cell: str, window: int, layers: int, missing: bool, n: int) -> None:
    """Loss and all gradients, those of memory and states included, equal those of a plain forward pass."""
    spec = make_spec(cell, window, layers)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=1)
    example = make_example(spec, network, n=n, missing=missing, seed=2)

    found = gradient(network, flat, example, weights=True, initial=True)

    parameters = torch.tensor(flat, requires_grad=True)
    nudge = torch.zeros(n, layers, spec.hidden, dtype=torch.float64, requires_grad=True)
    start = torch.tensor(example.start, requires_grad=True)
    losses = plain_loss(spec, network, parameters, example, start, nudge)
    n_seen = int(((~np.isnan(example.targets)).any(1) | (example.target_slots >= 0).any(1)).sum())
    by_flat, by_nudge, by_start = torch.autograd.grad(losses.sum(), (parameters, nudge, start))
    np.testing.assert_allclose(found.loss, losses.detach(), **CLOSE)
    np.testing.assert_allclose(found.parameters, by_flat / n_seen, **CLOSE)
    # A lower layer's memory also reaches the loss through the layer above it within the same step.
    np.testing.assert_allclose(found.memory, by_nudge, **CLOSE)
    if window == 1:
        before = gradient(network, flat, example, weights=False, initial=False).before
        carried = example.from_initial == 0
        np.testing.assert_allclose(before[carried], by_start[carried], **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_memory_gradient_needs_no_weight_gradient(make: type[Network], cell: str) -> None:
    """With frozen weights the memory's gradient is the same, and nothing is computed for the weights."""
    spec = make_spec(cell, 4, layers=2)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=3)
    example = make_example(spec, network, n=6, missing=True, seed=4)

    learning = gradient(network, flat, example, weights=True, initial=True)
    frozen = gradient(network, flat, example, weights=False, initial=False)

    assert frozen.parameters is None
    np.testing.assert_allclose(frozen.memory, learning.memory, **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_learned_where_nothing_was_observed(make: type[Network], cell: str) -> None:
    """There is no weight gradient then."""
    spec = make_spec(cell, 4)
    network = make(spec, features.n_dense(spec))
    example = make_example(spec, network, n=6, missing=False, seed=4)
    example.targets[:], example.target_slots[:] = np.nan, -1
    assert gradient(network, make_flat(network, seed=3), example, weights=True, initial=True).parameters is None


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_initial_state_can_be_left_alone(make: type[Network], cell: str) -> None:
    """Without ``initial`` no gradient reaches the learned initial state, and all other gradients stay."""
    spec = make_spec(cell, 4)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=5)
    example = make_example(spec, network, n=6, missing=False, seed=6)

    with_initial = gradient(network, flat, example, weights=True, initial=True).parameters
    without = gradient(network, flat, example, weights=True, initial=False).parameters

    assert with_initial is not None
    assert without is not None
    part = network.layout.view(with_initial, "initial")
    assert np.abs(part).sum() > 0
    assert np.abs(network.layout.view(without, "initial")).sum() == 0
    part[...] = 0
    assert np.array_equal(with_initial, without)


@pytest.mark.parametrize("make", NETWORKS)
def test_one_lstm_step_by_hand(make: type[Network]) -> None:
    """One unit, all weights one: the numbers of a calculator."""
    spec = ModelSpec(fields=(FieldSpec("x"),), hidden=1, window=1)
    network = make(spec, n_dense=1)
    state = np.array([[[[0.5], [0.25]]]])  # h, c

    made = network.advance(
        given(network, np.ones(network.layout.size)), state, np.array([[0.5]]), np.empty((1, 0), np.int64)
    )

    # Every gate sees 1*0.5 + 1*0.5 + 1 = 2: sigmoid(2) = 0.8807970780, tanh(2) = 0.9640275801.
    # c = 0.8807970780 * 0.25 + 0.8807970780 * 0.9640275801 = 1.0693119451; h = 0.8807970780 * tanh(c)
    assert made.state[0, 0, 1, 0] == pytest.approx(1.0693119451, abs=1e-9)
    assert made.state[0, 0, 0, 0] == pytest.approx(0.6951266876, abs=1e-9)
    assert made.outputs[0, 0] == pytest.approx(1.6951266876, abs=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_correcting_the_memory_recomputes_the_hidden_state(make: type[Network]) -> None:
    """``h = o * tanh(c)`` of the corrected c, for the LSTM; streams without a window keep their state."""
    spec = make_spec("lstm", 4)
    network = make(spec, features.n_dense(spec))
    flat = make_flat(network, seed=7)
    example = make_example(spec, network, n=6, missing=False, seed=8)
    found = gradient(network, flat, example, weights=False, initial=False)

    made = correct(network, flat, example, found, 0.05)

    begun = example.n_inputs > 0
    output_gate = found.gates[0, begun, 2 * spec.hidden : 3 * spec.hidden]
    hidden, memory = made.corrected[begun, 0, 0], made.corrected[begun, 0, 1]
    np.testing.assert_allclose(memory, (found.last[:, 0, 1] + 0.05 * made.steps[:, 0])[begun], **CLOSE)
    np.testing.assert_allclose(hidden, output_gate * np.tanh(memory), **CLOSE)
    assert np.array_equal(made.corrected[~begun], found.last[~begun])
