"""The recurrent cells: one step forward, and the gradient back through it, written out.

Symbols: B streams, H hidden units, G gates, R recurrent inputs (H, or 2H for ``fused``), S parts of the state.

A state is (B, S, H): part 0 is the hidden state h; part 1, where there is one, the cell state c. The **memory** is the
part that a belief's correction changes: c where there is one, else h. A cell derives h anew from a corrected c, through
its output gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(slots=True)
class CellWeights:
    """One layer's recurrent weights.

    Args:
        recurrent: (R, G*H).
        out: (H, H), ``fused`` only.
        out_bias: (H,), ``fused`` only.
    """

    recurrent: Tensor
    out: Tensor | None = None
    out_bias: Tensor | None = None


@dataclass(slots=True)
class CellGradient:
    """Gradients of one step, per stream except where weights are summed over streams.

    Args:
        projected: With respect to the projected input, (B, G*H).
        recurrent: With respect to the recurrent product, (B, G*H).
        state: With respect to the state before the step, (B, S, H).
        memory: With respect to the memory after the step, (B, H).
        out: With respect to ``CellWeights.out``, summed over streams.
        out_bias: With respect to ``CellWeights.out_bias``, summed over streams.
    """

    projected: Tensor
    recurrent: Tensor
    state: Tensor
    memory: Tensor
    out: Tensor | None = None
    out_bias: Tensor | None = None


@dataclass(slots=True)
class Tape:
    """What one forward step leaves for its gradient.

    Args:
        before: State before the step, (B, S, H).
        after: State after the step, (B, S, H).
        gates: Activations in the cell's own order, (B, G*H).
        extra: Whatever else the cell needs again, (B, H).
    """

    before: Tensor
    after: Tensor
    gates: Tensor
    extra: Tensor


class Cell(Protocol):
    """One step forward, and the gradient back through it."""

    @property
    def n_parts(self) -> int:
        """Parts of the state (S)."""
        ...

    @property
    def n_recurrent(self) -> int:
        """Recurrent inputs in units of H."""
        ...

    @property
    def has_out(self) -> bool:
        """Whether the layer has ``CellWeights.out``."""
        ...

    @property
    def gate_names(self) -> tuple[str, ...]:
        """Names of the G blocks of ``Tape.gates``, in order."""
        ...

    def recurrent_input(self, state: Tensor) -> Tensor:
        """What is multiplied with the recurrent weights, (B, R)."""
        ...

    def forward(self, weights: CellWeights, projected: Tensor, state: Tensor) -> Tape:
        """Advance the state by one input.

        Args:
            weights: The layer's.
            projected: The input times the input weights plus bias, (B, G*H).
            state: (B, S, H); not changed.
        """
        ...

    def backward(self, weights: CellWeights, tape: Tape, grad_after: Tensor) -> CellGradient:
        """Gradients of a loss, given its gradient with respect to ``tape.after``, (B, S, H)."""
        ...

    def hidden_slope(self, tape: Tape, after: Tensor) -> Tensor:
        """Derivative of the hidden state with respect to the memory, unit by unit, (B, H).

        Args:
            tape: Of the step.
            after: State after it, corrected or not, (B, S, H).
        """
        ...

    def correct(self, tape: Tape, correction: Tensor) -> Tensor:
        """The state after the step had this correction been added to the memory as it now stands, (B, S, H)."""
        ...


class Lstm:
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

    n_parts, n_recurrent, has_out = 2, 1, False
    gate_names = ("input", "forget", "output", "candidate")

    def recurrent_input(self, state: Tensor) -> Tensor:
        """The hidden state."""
        return state[:, 0]

    def forward(self, weights: CellWeights, projected: Tensor, state: Tensor) -> Tape:
        """See :class:`Cell`."""
        width = state.shape[-1]
        gates = torch.addmm(projected, state[:, 0], weights.recurrent)  # (B, 4H): input, forget, output, candidate
        gates[:, : 3 * width].sigmoid_()
        gates[:, 3 * width :].tanh_()
        keep, write, read, new = _split(gates, "forget", "input", "output", "candidate")
        memory = torch.addcmul(write * new, keep, state[:, 1])
        squashed = memory.tanh()
        return Tape(state, torch.stack((read * squashed, memory), 1), gates, squashed)

    def backward(self, weights: CellWeights, tape: Tape, grad_after: Tensor) -> CellGradient:
        """See :class:`Cell`."""
        keep, write, read, new = _split(tape.gates, "forget", "input", "output", "candidate")
        grad_hidden, squashed = grad_after[:, 0], tape.extra
        memory = torch.addcmul(grad_after[:, 1], grad_hidden * read, 1 - squashed * squashed)
        pre = torch.cat(
            (
                memory * new * write * (1 - write),
                memory * tape.before[:, 1] * keep * (1 - keep),
                grad_hidden * squashed * read * (1 - read),
                memory * write * (1 - new * new),
            ),
            1,
        )  # (B, 4H)
        return CellGradient(pre, pre, torch.stack((pre @ weights.recurrent.T, memory * keep), 1), memory)

    def hidden_slope(self, tape: Tape, after: Tensor) -> Tensor:
        """``o * (1 - tanh(c)^2)``."""
        squashed = after[:, 1].tanh()
        return _split(tape.gates, "output")[0] * (1 - squashed * squashed)

    def correct(self, tape: Tape, correction: Tensor) -> Tensor:
        """``c + correction``, and h through the output gate."""
        read = _split(tape.gates, "output")[0]
        memory = tape.after[:, 1] + correction
        return torch.stack((read * memory.tanh(), memory), 1)


class Gru:
    """Gated recurrent unit (Cho et al. 2014), the reset gate applied after the recurrent product."""

    n_parts, n_recurrent, has_out = 1, 1, False
    gate_names = ("reset", "update", "candidate")

    def recurrent_input(self, state: Tensor) -> Tensor:
        """The hidden state."""
        return state[:, 0]

    def forward(self, weights: CellWeights, projected: Tensor, state: Tensor) -> Tape:
        """See :class:`Cell`."""
        width = state.shape[-1]
        hidden = state[:, 0]
        product = hidden @ weights.recurrent  # (B, 3H): reset, update, candidate
        gates = projected + product
        gates[:, : 2 * width].sigmoid_()
        inner = product[:, 2 * width :]
        gates[:, 2 * width :] = torch.tanh(projected[:, 2 * width :] + gates[:, :width] * inner)
        update, new = gates[:, width : 2 * width], gates[:, 2 * width :]
        memory = new + update * (hidden - new)
        return Tape(state, memory.unsqueeze(1), gates, inner)

    def backward(self, weights: CellWeights, tape: Tape, grad_after: Tensor) -> CellGradient:
        """See :class:`Cell`."""
        reset, update, new = tape.gates.chunk(3, 1)
        grad, hidden = grad_after[:, 0], tape.before[:, 0]
        grad_new = grad * (1 - update) * (1 - new * new)
        grad_update = grad * (hidden - new) * update * (1 - update)
        grad_reset = grad_new * tape.extra * reset * (1 - reset)
        recurrent = torch.cat((grad_reset, grad_update, grad_new * reset), 1)
        before = grad * update + recurrent @ weights.recurrent.T
        return CellGradient(torch.cat((grad_reset, grad_update, grad_new), 1), recurrent, before.unsqueeze(1), grad)

    def hidden_slope(self, tape: Tape, after: Tensor) -> Tensor:  # noqa: ARG002  # other cells need it
        """One: the memory is the hidden state."""
        return torch.ones_like(after[:, 0])

    def correct(self, tape: Tape, correction: Tensor) -> Tensor:
        """``h + correction``."""
        return tape.after + correction.unsqueeze(1)


class Rnn:
    """Plain tanh network (Elman 1990)."""

    n_parts, n_recurrent, has_out = 1, 1, False
    gate_names = ("candidate",)

    def recurrent_input(self, state: Tensor) -> Tensor:
        """The hidden state."""
        return state[:, 0]

    def forward(self, weights: CellWeights, projected: Tensor, state: Tensor) -> Tape:
        """See :class:`Cell`."""
        new = torch.addmm(projected, state[:, 0], weights.recurrent).tanh_()
        return Tape(state, new.unsqueeze(1), new, new)

    def backward(self, weights: CellWeights, tape: Tape, grad_after: Tensor) -> CellGradient:
        """See :class:`Cell`."""
        grad = grad_after[:, 0]
        pre = grad * (1 - tape.gates * tape.gates)
        return CellGradient(pre, pre, (pre @ weights.recurrent.T).unsqueeze(1), grad)

    def hidden_slope(self, tape: Tape, after: Tensor) -> Tensor:  # noqa: ARG002  # other cells need it
        """One: the memory is the hidden state."""
        return torch.ones_like(after[:, 0])

    def correct(self, tape: Tape, correction: Tensor) -> Tensor:
        """``h + correction``."""
        return tape.after + correction.unsqueeze(1)


class Fused:
    """One dense network from input, hidden and cell state to the new memory: the LSTM's question without its gates.

    ``z = tanh(W x + U [h, c] + b)``, ``c' = V z + v``, ``h' = tanh(c')``.
    """

    n_parts, n_recurrent, has_out = 2, 2, True
    gate_names = ("candidate",)

    def recurrent_input(self, state: Tensor) -> Tensor:
        """Hidden and cell state side by side."""
        return state.flatten(1)

    def forward(self, weights: CellWeights, projected: Tensor, state: Tensor) -> Tape:
        """See :class:`Cell`."""
        inner = torch.addmm(projected, state.flatten(1), weights.recurrent).tanh_()  # (B, H)
        memory = torch.addmm(_given(weights.out_bias), inner, _given(weights.out))
        squashed = memory.tanh()
        return Tape(state, torch.stack((squashed, memory), 1), inner, squashed)

    def backward(self, weights: CellWeights, tape: Tape, grad_after: Tensor) -> CellGradient:
        """See :class:`Cell`."""
        inner, squashed = tape.gates, tape.extra
        memory = torch.addcmul(grad_after[:, 1], grad_after[:, 0], 1 - squashed * squashed)
        pre = (memory @ _given(weights.out).T) * (1 - inner * inner)
        before = (pre @ weights.recurrent.T).view(len(pre), 2, -1)
        return CellGradient(pre, pre, before, memory, inner.T @ memory, memory.sum(0))

    def hidden_slope(self, tape: Tape, after: Tensor) -> Tensor:  # noqa: ARG002  # other cells need it
        """``1 - tanh(c)^2``."""
        return 1 - after[:, 0] * after[:, 0]

    def correct(self, tape: Tape, correction: Tensor) -> Tensor:
        """``c + correction`` and its tanh."""
        memory = tape.after[:, 1] + correction
        return torch.stack((memory.tanh(), memory), 1)


CELLS: dict[str, Cell] = {"lstm": Lstm(), "gru": Gru(), "rnn": Rnn(), "fused": Fused()}

_LSTM_GATES = {name: i for i, name in enumerate(Lstm.gate_names)}


def _split(gates: Tensor, *names: str) -> list[Tensor]:
    """The named LSTM gates, each (B, H)."""
    width = gates.shape[1] // len(_LSTM_GATES)
    return [gates[:, _LSTM_GATES[name] * width : (_LSTM_GATES[name] + 1) * width] for name in names]


def _given(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("this cell needs output weights")
    return tensor
