"""The written-out gradients, torch's and the compiled one, against autograd, in float64, for every cell."""

import pytest
import torch
from torch import Tensor

from model import features
from model.compiled.network import CompiledNetwork
from model.network import HUBER, Example, Inputs, Network
from model.parameters import Parameters
from model.spec import FieldSpec, ModelSpec

CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 rounding over some hundred operations
CELLS = ["lstm", "gru", "rnn", "fused"]
NETWORKS = [Network, CompiledNetwork]

FIELDS = (
    FieldSpec("load"),
    FieldSpec("heat"),
    FieldSpec("state", "category", ("idle", "busy", "off")),
    FieldSpec("activity", "category", capacity=4),
)


def make_spec(cell: str, window: int, layers: int = 1) -> ModelSpec:
    """Two real fields, a closed and an open category; five units."""
    return ModelSpec(fields=FIELDS, cell=cell, hidden=5, layers=layers, window=window)


def make_parameters(network: Network, seed: int) -> Parameters:
    """Random weights in float64."""
    source = torch.Generator().manual_seed(seed)
    flat = 0.5 * torch.randn(network.layout.size, generator=source, dtype=torch.float64)
    return Parameters(network.layout, flat)


def make_example(spec: ModelSpec, network: Network, *, n: int, missing: bool, seed: int) -> Example:
    """Streams at different points of their first window and beyond it."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    def slots(length: int) -> Tensor:
        drawn = torch.stack(
            [torch.randint(0, field.n_slots, (n, length), generator=source) for field in spec.categories], -1
        )
        return torch.where(torch.rand(drawn.shape, generator=source) < 0.4, -1, drawn) if missing else drawn

    cell, window = network.cell, spec.window
    n_inputs = torch.tensor([window, window, 1, max(1, window - 1), 0, window])[:n]
    targets, target_slots = normal(n, 2), slots(1)[:, 0]
    # A slot that no known value has is never a target: an unknown value is the last slot.
    n_known = torch.tensor([[3, 2]]).expand(n, -1)
    open_slot = target_slots[:, 1]
    target_slots[:, 1] = torch.where((open_slot >= 2) & (open_slot < 4), 4, open_slot)
    if missing:
        targets[0, 0] = torch.nan
        targets[1] = torch.nan
        target_slots[1] = -1
    targets[n_inputs == 0] = torch.nan
    target_slots[n_inputs == 0] = -1
    return Example(
        start=normal(n, spec.layers, cell.n_parts, spec.hidden),
        corrections=0.3 * normal(n, window - 1, spec.layers, spec.hidden),
        inputs=Inputs(normal(n, window, network.layout.n_dense), slots(window)),
        n_inputs=n_inputs,
        from_initial=torch.tensor([False, True, True, True, True, False])[:n],
        targets=targets,
        target_slots=target_slots,
        n_known=n_known,
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


def plain_loss(spec: ModelSpec, network: Network, flat: Tensor, example: Example, nudge: Tensor) -> Tensor:
    """Loss per stream, one stream and one step at a time; ``nudge`` (B, L, H) is added to the last memory."""
    parameters = Parameters(network.layout, flat)
    n_dense = network.layout.n_dense
    losses = []
    for b in range(len(example.start)):
        state = list(parameters.initial if example.from_initial[b] else example.start[b])
        for k in range(spec.window - int(example.n_inputs[b]), spec.window):
            x = example.inputs.dense[b, k] @ parameters.inputs[0][:n_dense]
            offset = n_dense
            for j, field in enumerate(spec.categories):
                slot = int(example.inputs.slots[b, k, j])
                if slot >= 0:
                    x = x + parameters.inputs[0][offset + slot]
                offset += field.n_slots
            for layer in range(spec.layers):
                below = x if layer == 0 else state[layer - 1][0] @ parameters.inputs[layer]
                memory, gate = plain_step(spec.cell, parameters, layer, below + parameters.biases[layer], state[layer])
                last = k == spec.window - 1
                memory = memory + (nudge[b, layer] if last else example.corrections[b, k, layer])
                state[layer] = memory[None] if gate is None else torch.stack((gate * torch.tanh(memory), memory))
        out = state[-1][0] @ parameters.readout + parameters.readout_bias
        loss = out.new_zeros(())
        for j in range(2):
            if not example.targets[b, j].isnan():
                loss = loss + torch.nn.functional.huber_loss(out[j], example.targets[b, j], delta=HUBER)
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
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_autograds(make: type[Network], cell: str, window: int, layers: int, missing: bool) -> None:
    """Loss, weight gradient, initial-state gradient and memory gradient equal those of a plain forward pass."""
    spec = make_spec(cell, window, layers)
    network = make(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=1)
    example = make_example(spec, network, n=6, missing=missing, seed=2)

    found = network.gradient(parameters, example, weights=True, initial=True)

    flat = parameters.flat.clone().requires_grad_()
    nudge = torch.zeros(6, layers, spec.hidden, dtype=torch.float64, requires_grad=True)
    losses = plain_loss(spec, network, flat, example, nudge)
    seen = (~example.targets.isnan()).any(1) | (example.target_slots >= 0).any(1)
    by_flat, by_nudge = torch.autograd.grad(losses.sum(), (flat, nudge))
    torch.testing.assert_close(found.loss, losses.detach(), **CLOSE)
    torch.testing.assert_close(found.parameters, by_flat / seen.sum(), **CLOSE)
    # A lower layer's memory also reaches the loss through the layer above it within the same step.
    torch.testing.assert_close(found.memory, by_nudge, **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_memory_gradient_needs_no_weight_gradient(make: type[Network], cell: str) -> None:
    """With frozen weights the memory's gradient is the same, and nothing is computed for the weights."""
    spec = make_spec(cell, 4, layers=2)
    network = make(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=3)
    example = make_example(spec, network, n=6, missing=True, seed=4)

    learning = network.gradient(parameters, example, weights=True, initial=True)
    frozen = network.gradient(parameters, example, weights=False, initial=False)

    assert frozen.parameters is None
    torch.testing.assert_close(frozen.memory, learning.memory, **CLOSE)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("cell", CELLS)
def test_initial_state_can_be_left_alone(make: type[Network], cell: str) -> None:
    """Without ``initial`` no gradient reaches the learned initial state, and all other gradients stay."""
    spec = make_spec(cell, 4)
    network = make(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=5)
    example = make_example(spec, network, n=6, missing=False, seed=6)

    with_initial = network.gradient(parameters, example, weights=True, initial=True).parameters
    without = network.gradient(parameters, example, weights=True, initial=False).parameters

    assert with_initial is not None
    assert without is not None
    part = network.layout.view(with_initial, "initial")
    assert part.abs().sum() > 0
    assert network.layout.view(without, "initial").abs().sum() == 0
    part.zero_()
    assert torch.equal(with_initial, without)


@pytest.mark.parametrize("make", NETWORKS)
def test_one_lstm_step_by_hand(make: type[Network]) -> None:
    """One unit, all weights one: the numbers of a calculator."""
    spec = ModelSpec(fields=(FieldSpec("x"),), hidden=1, window=1)
    network = make(spec, n_dense=1)
    parameters = Parameters(network.layout, torch.ones(network.layout.size, dtype=torch.float64))
    state = torch.tensor([[[[0.5], [0.25]]]], dtype=torch.float64)  # h, c
    inputs = Inputs(torch.tensor([[[0.5]]], dtype=torch.float64), torch.empty((1, 1, 0), dtype=torch.int64))

    (tape,) = network.advance(parameters, state, inputs)

    # Every gate sees 1*0.5 + 1*0.5 + 1 = 2: sigmoid(2) = 0.8807970780, tanh(2) = 0.9640275801.
    # c = 0.8807970780 * 0.25 + 0.8807970780 * 0.9640275801 = 1.0693119451; h = 0.8807970780 * tanh(c)
    assert tape.after[0, 1, 0].item() == pytest.approx(1.0693119451, abs=1e-9)
    assert tape.after[0, 0, 0].item() == pytest.approx(0.6951266876, abs=1e-9)


@pytest.mark.parametrize("make", NETWORKS)
def test_correcting_the_memory_recomputes_the_hidden_state(make: type[Network]) -> None:
    """``h = o * tanh(c)`` of the corrected c, for the LSTM; the loss falls along the memory's gradient."""
    spec = make_spec("lstm", 4)
    network = make(spec, features.n_dense(spec))
    parameters = make_parameters(network, seed=7)
    example = make_example(spec, network, n=6, missing=False, seed=8)
    found = network.gradient(parameters, example, weights=False, initial=False)

    corrected = network.cell.correct(found.tapes[0], -1e-3 * found.memory[:, 0])

    output_gate = found.tapes[0].gates[:, 2 * spec.hidden : 3 * spec.hidden]
    torch.testing.assert_close(corrected[:, 0], output_gate * corrected[:, 1].tanh(), **CLOSE)
    outputs = network.read(parameters, corrected.unsqueeze(1))
    loss, _ = network._loss(outputs, example)
    learned = found.loss > 0
    assert bool((loss[learned] < found.loss[learned]).all())
