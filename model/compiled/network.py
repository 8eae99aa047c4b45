"""A network whose CPU arithmetic is compiled: which kernel runs on which arrays.

Data flow of a gradient, arrays time first: inputs are projected into ``gates``; each layer's kernel turns these into
activations and fills in ``states``; readout, loss and its gradient; then back, layer by layer, into the gradients of
the gates' inputs, of which the weight gradients are products. Advancing is the same with a window of one input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cells import Tape
from model.compiled import correction, linear
from model.compiled.cells import CELL_KERNELS
from model.compiled.kernels import Array
from model.compiled.loss import loss
from model.network import HUBER, Example, Gradient, Inputs, Network
from model.parameters import Arrays, Parameters
from model.spec import ModelSpec


@dataclass(slots=True)
class _Roll:
    """A network rolled over a window.

    Args:
        states: Before the window and after each input, (L, K+1, B, S, H).
        gates: (L, K, B, G*H).
        extra: What else the cell's gradient needs, (L, K, B, H).
    """

    states: Array
    gates: Array
    extra: Array

    @property
    def tapes(self) -> list[Tape]:
        """Each layer's last step."""
        return [
            Tape(*(torch.from_numpy(array) for array in (states[-2], states[-1], gates[-1], extra[-1])))
            for states, gates, extra in zip(self.states, self.gates, self.extra, strict=True)
        ]


class CompiledNetwork(Network):
    """The network of a model; weights on another device than the CPU are left to torch.

    Nothing but a weight gradient adds up over streams, so of all other results a stream's bits are the same in any
    batch.
    """

    def __init__(self, spec: ModelSpec, n_dense: int) -> None:
        super().__init__(spec, n_dense)
        self._kernels = CELL_KERNELS[spec.cell]
        self._bounds = np.array([self.n_reals, *(stop for _, stop in self.slices)], np.int64)
        self._rows = self._bounds[:-1] + (n_dense - self.n_reals)  # each field's first among the input weights
        self._is_open = np.array(self.is_open, np.bool_)

    def advance(self, parameters: Parameters, state: Tensor, inputs: Inputs) -> list[Tape]:
        """See :meth:`Network.advance`."""
        if not serves(state):
            return super().advance(parameters, state, inputs)
        n, layers, _, width = state.shape
        start = state.numpy()
        none = np.empty((n, 0, layers, width), start.dtype)
        return self._roll(parameters.arrays, start, none, inputs, np.ones(n, np.int64)).tapes

    def read(self, parameters: Parameters, state: Tensor) -> Tensor:
        """See :meth:`Network.read`."""
        if not serves(state):
            return super().read(parameters, state)
        return torch.from_numpy(self._read(parameters.arrays, np.ascontiguousarray(state.numpy()[:, -1])))

    def gradient(self, parameters: Parameters, example: Example, *, weights: bool, initial: bool) -> Gradient:
        """See :meth:`Network.gradient`."""
        if not serves(example.start):
            return super().gradient(parameters, example, weights=weights, initial=initial)
        arrays = parameters.arrays
        fresh, n_inputs = example.from_initial.numpy(), _array(example.n_inputs)
        start = np.where(fresh[:, None, None, None], arrays["initial"], example.start.numpy())
        roll = self._roll(arrays, start, _array(example.corrections), example.inputs, n_inputs)
        read = self._read(arrays, roll.states[-1, -1])
        losses, grad_read = np.empty(len(read), read.dtype), np.empty_like(read)
        n_seen = loss(read, *self._observed(example), HUBER, losses, grad_read)
        flat = np.zeros(self.layout.size, read.dtype) if weights and n_seen else None
        grads = None if flat is None else self.layout.arrays(flat)
        memory = self._gradients(arrays, roll, grad_read, example.inputs, n_inputs, grads, fresh if initial else None)
        if flat is not None:
            flat /= n_seen
        return Gradient(
            loss=torch.from_numpy(losses),
            parameters=None if flat is None else torch.from_numpy(flat),
            memory=torch.from_numpy(memory),
            outputs=torch.from_numpy(read),
            first=torch.from_numpy(roll.states[:, 1].swapaxes(0, 1)),
            tapes=roll.tapes,
        )

    def full_step(
        self, parameters: Parameters, gradient: Gradient, example: Example, damping: float, tiny: float
    ) -> Tensor:
        """See :func:`model.correction.full_step`; on the CPU only."""
        memory = gradient.memory.numpy()
        step, slope = np.empty_like(memory), self._gate(gradient.tapes[-1])
        if self.cell.n_parts > 1:
            squashed = gradient.tapes[-1].extra.numpy()
            slope = slope * (1 - squashed * squashed)
        readout = parameters.arrays["readout"]
        read, observed = gradient.outputs.numpy(), self._observed(example)
        correction.full_step(memory, slope, readout, read, *observed, damping, tiny, step)
        return torch.from_numpy(step)

    def correct(self, gradient: Gradient, change: Tensor, begun: Tensor) -> Tensor:
        """See :func:`model.correction.apply`; on the CPU only."""
        n, layers, width = change.shape
        made = np.empty((n, layers, self.cell.n_parts, width), change.numpy().dtype)
        for layer, tape in enumerate(gradient.tapes):
            correction.correct(tape.after.numpy(), self._gate(tape), _array(change), begun.numpy(), layer, made)
        return torch.from_numpy(made)

    def _roll(
        self, weights: Arrays, start: Array, corrections: Array, inputs: Inputs, n_inputs: NDArray[np.int64]
    ) -> _Roll:
        """Roll forward from ``start`` (B, L, S, H), which is not changed."""
        n, layers, parts, width = start.shape
        dense, slots = _array(inputs.dense), _array(inputs.slots)
        length = dense.shape[1]
        states = np.empty((layers, length + 1, n, parts, width), start.dtype)
        gates = np.empty((layers, length, n, weights["bias.0"].size), start.dtype)
        extra = np.empty((layers, length, n, width), start.dtype)
        states[:, 0] = start.swapaxes(0, 1)
        for layer in range(layers):
            matrix, bias = weights[f"input.{layer}"], weights[f"bias.{layer}"]
            if layer:
                linear.product(states[layer - 1, 1:], matrix, bias, gates[layer])
            else:
                linear.project(dense, slots, self._rows, matrix, bias, gates[0])
            recurrent = self._recurrent(weights, layer)
            self._kernels.forward(gates[layer], states[layer], extra[layer], corrections, n_inputs, layer, *recurrent)
        return _Roll(states, gates, extra)

    def _read(self, weights: Arrays, top: Array) -> Array:
        """Outputs (B, O) of the top layer's states (B, S, H)."""
        read = np.empty((1, len(top), self.layout.n_outputs), top.dtype)
        linear.product(top[None], weights["readout"], weights["readout_bias"], read)
        outputs: Array = read[0]
        return outputs

    def _gradients(
        self,
        weights: Arrays,
        roll: _Roll,
        grad_read: Array,
        inputs: Inputs,
        n_inputs: NDArray[np.int64],
        grads: Arrays | None,
        fresh: NDArray[np.bool_] | None,
    ) -> Array:
        """Gradient of the memory (B, L, H); fills in ``grads``, summed over streams, unless ``None``.

        Without weights to learn only the newest step is gone back through: earlier ones cannot change the memory.
        ``fresh`` (B,) tells which windows begin at the initial state; ``None`` where that does not learn.
        """
        layers, length, n, width = roll.extra.shape
        kind = grad_read.dtype
        steps = 1 if grads is None else length
        above = np.zeros((steps, n, width), kind)
        linear.back(grad_read[None], weights["readout"], above[-1:])
        if grads is not None:
            linear.outer(roll.states[-1, -1, :, 0], grad_read, grads["readout"])
            linear.sum_rows(grad_read, grads["readout_bias"])
        found = np.empty((n, layers, width), kind)
        for layer in reversed(range(layers)):
            carry = np.zeros((n, self.cell.n_parts, width), kind)
            memory, projected = np.empty((steps, n, width), kind), np.empty((steps, *roll.gates.shape[2:]), kind)
            product = np.empty_like(projected) if self._kernels.has_own_product else projected
            tape = roll.gates[layer], roll.states[layer], roll.extra[layer], n_inputs
            recurrent = self._recurrent(weights, layer)
            self._kernels.backward(*tape, above, carry, memory, projected, product, *recurrent)
            found[:, layer] = memory[-1]
            if grads is not None:
                self._layer_gradient(grads, layer, roll, inputs, memory, projected, product)
                if fresh is not None and fresh.any():
                    grads["initial"][layer] = carry[fresh].sum(0)
            if layer:
                above = np.empty((steps, n, width), kind)
                linear.back(projected, weights[f"input.{layer}"], above)
        return found

    def _layer_gradient(
        self, grads: Arrays, layer: int, roll: _Roll, inputs: Inputs, memory: Array, projected: Array, product: Array
    ) -> None:
        """Fill in the gradient of a layer's weights from those of its memory (K, B, H) and gates (K, B, G*H)."""
        rows = projected.reshape(-1, projected.shape[2])
        before = roll.states[layer, :-1, :, : self.cell.n_recurrent]
        linear.outer(_rows(before), product.reshape(rows.shape), grads[f"recurrent.{layer}"])
        linear.sum_rows(rows, grads[f"bias.{layer}"])
        if self.cell.has_out:
            linear.outer(_rows(roll.gates[layer]), _rows(memory), grads[f"out.{layer}"])
            linear.sum_rows(_rows(memory), grads[f"out_bias.{layer}"])
        matrix = grads[f"input.{layer}"]
        if layer:
            linear.outer(_rows(roll.states[layer - 1, 1:, :, 0]), rows, matrix)
        else:
            linear.outer(_rows(inputs.dense.numpy().swapaxes(0, 1)), rows, matrix[: self.layout.n_dense])
            linear.add_to_rows(projected, _array(inputs.slots), self._rows, matrix)

    def _recurrent(self, weights: Arrays, layer: int) -> list[Any]:
        names = ("recurrent", "out", "out_bias") if self.cell.has_out else ("recurrent",)
        return [weights[f"{name}.{layer}"] for name in names]

    def _observed(self, example: Example) -> tuple[Array, Array, Array, Array, Array]:
        """Targets, slots, known values, and where each category's outputs lie, as the kernels take them."""
        known = _array(example.n_known)
        return _array(example.targets), _array(example.target_slots), known, self._bounds, self._is_open

    def _gate(self, tape: Tape) -> Array:
        """What the squashed memory is multiplied with to give the hidden state, (B, H)."""
        extra, at = tape.extra.numpy(), self._kernels.output_gate
        if at is None:
            return np.ones_like(extra)
        width = extra.shape[1]
        return np.ascontiguousarray(tape.gates.numpy()[:, at * width : (at + 1) * width])


def serves(tensor: Tensor) -> bool:
    """Whether the compiled path computes on this tensor: on the CPU it does, whatever the batch's size."""
    return tensor.device.type == "cpu"


def _array(tensor: Tensor) -> Array:
    array: Array = np.ascontiguousarray(tensor.numpy())
    return array


def _rows(array: Array) -> Array:
    """(K, B, ...) as contiguous rows (K*B, J)."""
    return np.ascontiguousarray(array).reshape(array.shape[0] * array.shape[1], -1)
