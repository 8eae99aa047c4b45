"""Inputs in, cells, outputs out: one step ahead in time, and the gradient through a window of inputs.

Symbols: B streams, K window length, D dense inputs, C category fields, L layers, S state parts, H hidden, O outputs.
The gradient is written out rather than taken by autograd: several times faster on small batches. Autograd is the
oracle of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.cells import CellGradient, Tape
from model.parameters import ParameterLayout, Parameters
from model.spec import ModelSpec

HUBER = 2.0
"""Error in scales beyond which a real field's loss grows linearly, so that no outlier drags the weights far."""


@dataclass(slots=True)
class Inputs:
    """Network inputs of T items of each of B streams.

    Args:
        dense: (B, T, D).
        slots: Slot of each category field's value, (B, T, C) int64; -1 where missing.
    """

    dense: Tensor
    slots: Tensor


@dataclass(slots=True)
class Example:
    """What one weight update learns from: a window of inputs and the item that followed it.

    Args:
        start: State before the window's first input, (B, L, S, H).
        inputs: The window, right-aligned, T = K.
        n_inputs: Inputs that exist, (B,) int64, 0 to K.
        from_initial: Whether the window begins with the stream's first item, (B,) bool; then ``start`` is not used.
        targets: Scaled values of the real fields, (B, R); NaN where missing.
        target_slots: Slots of the category fields, (B, C) int64; -1 where missing.
        n_known: Values known when the prediction was made, (B, C) int64.
    """

    start: Tensor
    inputs: Inputs
    n_inputs: Tensor
    from_initial: Tensor
    targets: Tensor
    target_slots: Tensor
    n_known: Tensor


@dataclass(slots=True)
class Gradient:
    """Result of :meth:`Network.gradient`.

    Args:
        loss: Per stream, (B,); 0 where nothing was observed.
        parameters: Of the mean loss over the streams that observed something, (P,); ``None`` where there were none.
        memory: Of each stream's own loss, with respect to the memory after the window, (B, L, H).
        before: Likewise, with respect to the state before the inputs that were gone back through, (B, L, S, H): those
            of the window, or only its newest where no weights learn.
        outputs: After the window, (B, O).
        first: State after the window's first input, (B, L, S, H).
        tapes: Each layer's last step.
    """

    loss: Tensor
    parameters: Tensor | None
    memory: Tensor
    before: Tensor
    outputs: Tensor
    first: Tensor
    tapes: list[Tape]

    @property
    def last(self) -> Tensor:
        """State after the window, (B, L, S, H)."""
        return torch.stack([tape.after for tape in self.tapes], 1)


class Network:
    """The recurrent network of a model; holds no weights."""

    def __init__(self, spec: ModelSpec, n_dense: int) -> None:
        self.n_reals = len(spec.reals)
        self.slices: list[tuple[int, int]] = []  # of each category field among the outputs
        at = self.n_reals
        for field in spec.categories:
            self.slices.append((at, at + field.n_slots))
            at += field.n_slots
        self.is_open = [field.is_open for field in spec.categories]
        self.layout = ParameterLayout(spec, n_dense, at - self.n_reals, at)
        self.cell = self.layout.cell

    def advance(self, parameters: Parameters, state: Tensor, inputs: Inputs) -> list[Tape]:
        """One step from ``state`` (B, L, S, H) on inputs with T = 1; a tape per layer."""
        tapes: list[Tape] = []
        projected = self._project_inputs(parameters, inputs)[:, 0]
        for layer, weights in enumerate(parameters.cells):
            if layer:
                projected = torch.addmm(parameters.biases[layer], tapes[-1].after[:, 0], parameters.inputs[layer])
            tapes.append(self.cell.forward(weights, projected, state[:, layer]))
        return tapes

    def read(self, parameters: Parameters, state: Tensor) -> Tensor:
        """Outputs (B, O) of a state (B, L, S, H): scaled increments of the real fields, then logits per category."""
        return torch.addmm(parameters.readout_bias, state[:, -1, 0], parameters.readout)

    def log_probabilities(self, outputs: Tensor, n_known: Tensor, category: int) -> Tensor:
        """Log probabilities (B, V) of one category field's slots; slots not yet given to a value have none."""
        start, stop = self.slices[category]
        logits = outputs[:, start:stop]
        if self.is_open[category]:
            slot = torch.arange(stop - start, device=outputs.device)
            free = (slot >= n_known[:, category, None]) & (slot < stop - start - 1)
            logits = logits.masked_fill(free, -torch.inf)
        return torch.log_softmax(logits, 1)

    def gradient(self, parameters: Parameters, example: Example, *, weights: bool, initial: bool) -> Gradient:
        """Loss of the example, and its gradients.

        The loss of a stream is the Huber loss of each scaled real field (half the squared error up to ``HUBER``,
        linear beyond), plus the negative log likelihood of each category field, over the fields that were observed.

        Args:
            parameters: Not changed.
            example: Not changed.
            weights: Whether to compute ``Gradient.parameters``.
            initial: Whether gradient reaches the learned initial state.
        """
        start = torch.where(example.from_initial[:, None, None, None], parameters.initial, example.start)
        scan = self._scan(parameters, start, example)
        outputs = torch.addmm(parameters.readout_bias, scan[-1][-1].after[:, 0], parameters.readout)
        loss, grad_outputs = self._loss(outputs, example)
        memory = torch.empty(
            (len(loss), len(scan), start.shape[-1]), dtype=outputs.dtype, device=outputs.device
        )  # (B, L, H)
        grad_flat = None
        n_seen = int((~example.targets.isnan()).any(1).logical_or((example.target_slots >= 0).any(1)).sum())
        if weights and n_seen:
            grad_flat = torch.zeros_like(parameters.flat)
        before = torch.empty_like(start)
        self._back(parameters, example, scan, grad_outputs, memory, before, grad_flat, initial=initial)
        if grad_flat is not None:
            grad_flat /= n_seen
        first = torch.stack([tapes[0].after for tapes in scan], 1)
        return Gradient(loss, grad_flat, memory, before, outputs, first, [tapes[-1] for tapes in scan])

    def _project_inputs(self, parameters: Parameters, inputs: Inputs) -> Tensor:
        """The first layer's input product, (B, T, G*H); category values pick rows, no one-hot is multiplied."""
        matrix, n_dense = parameters.inputs[0], self.layout.n_dense
        projected = inputs.dense @ matrix[:n_dense] + parameters.biases[0]
        for j, (start, _) in enumerate(self.slices):
            slots = inputs.slots[:, :, j]
            rows = matrix[(slots.clamp_min(0) + (n_dense + start - self.n_reals))]
            projected = projected + rows * (slots >= 0).unsqueeze(-1)
        return projected

    def _scan(self, parameters: Parameters, start: Tensor, example: Example) -> list[list[Tape]]:
        """Roll the window forward from ``start``, layer by layer; tapes [layer][k]."""
        length = example.inputs.dense.shape[1]
        exists = _exists(example, length)
        scan: list[list[Tape]] = []
        projected = self._project_inputs(parameters, example.inputs)
        for layer, weights in enumerate(parameters.cells):
            if layer:
                below = torch.stack([tape.after[:, 0] for tape in scan[-1]], 1)  # (B, K, H)
                projected = below @ parameters.inputs[layer] + parameters.biases[layer]
            state, tapes = start[:, layer], []
            for k in range(length):
                tape = self.cell.forward(weights, projected[:, k], state)
                if exists is not None:
                    tape.after = torch.where(exists[:, k, None, None], tape.after, state)
                tapes.append(tape)
                state = tape.after
            scan.append(tapes)
        return scan

    def _loss(self, outputs: Tensor, example: Example) -> tuple[Tensor, Tensor]:
        """Loss per stream (B,) and its gradient with respect to the outputs (B, O)."""
        n = self.n_reals
        error = (outputs[:, :n] - example.targets).nan_to_num(nan=0.0)
        bounded = error.clamp(-HUBER, HUBER)
        loss, grads = (bounded * (error - 0.5 * bounded)).sum(1), [bounded]
        for j in range(len(self.slices)):
            log_p = self.log_probabilities(outputs, example.n_known, j)
            slot = example.target_slots[:, j, None]
            seen = slot >= 0
            slot = slot.clamp_min(0)
            loss = loss - torch.where(seen, log_p.gather(1, slot), 0).squeeze(1)
            grads.append(log_p.exp().scatter_add(1, slot, torch.full_like(log_p[:, :1], -1)) * seen)
        return loss, torch.cat(grads, 1)

    def _back(
        self,
        parameters: Parameters,
        example: Example,
        scan: list[list[Tape]],
        grad_outputs: Tensor,
        memory: Tensor,
        before: Tensor,
        grad_flat: Tensor | None,
        *,
        initial: bool,
    ) -> None:
        """Fill ``memory`` (B, L, H), ``before`` (B, L, S, H) and, unless ``None``, ``grad_flat`` (P,), summed over all.

        Without weights to learn only the newest step is gone back through: earlier ones cannot change the memory.
        """
        grads = None if grad_flat is None else Parameters(self.layout, grad_flat)
        length = len(scan[0])
        exists = _exists(example, length)
        newest = length - 1
        oldest = 0 if grads is not None else newest
        from_above = {newest: grad_outputs @ parameters.readout.T}  # k -> gradient of h, (B, H)
        if grads is not None:
            torch.mm(scan[-1][newest].after[:, 0].T, grad_outputs, out=grads.readout)
            torch.sum(grad_outputs, 0, out=grads.readout_bias)
        for layer in reversed(range(len(scan))):
            tapes = scan[layer]
            steps: list[CellGradient] = []
            carry = torch.zeros_like(tapes[newest].after)  # (B, S, H)
            for k in range(newest, oldest - 1, -1):
                if k in from_above:
                    carry = torch.cat((carry[:, :1] + from_above[k].unsqueeze(1), carry[:, 1:]), 1)
                # A position without an input passes its gradient on untouched.
                here = None if exists is None else exists[:, k, None, None]
                step = self.cell.backward(parameters.cells[layer], tapes[k], carry if here is None else carry * here)
                carry = step.state if here is None else torch.where(here, step.state, carry)
                steps.append(step)
            memory[:, layer], before[:, layer] = steps[0].memory, carry
            steps.reverse()
            grad_projected = torch.stack([step.projected for step in steps], 1)  # (B, K or 1, G*H)
            if grads is not None:
                self._recurrent_gradient(grads, layer, tapes, steps)
                torch.sum(grad_projected, (0, 1), out=grads.biases[layer])
                if initial:
                    grads.initial[layer] = (carry * example.from_initial[:, None, None]).sum(0)
            if layer:
                if grads is not None:
                    below = torch.stack([tape.after[:, 0] for tape in scan[layer - 1]], 1)
                    torch.mm(below.flatten(0, 1).T, grad_projected.flatten(0, 1), out=grads.inputs[layer])
                into = grad_projected @ parameters.inputs[layer].T  # (B, K or 1, H)
                from_above = {oldest + i: grad for i, grad in enumerate(into.unbind(1))}
            elif grads is not None:
                self._input_gradient(grads, example.inputs, grad_projected)

    def _recurrent_gradient(self, grads: Parameters, layer: int, tapes: list[Tape], steps: list[CellGradient]) -> None:
        before = torch.stack([self.cell.recurrent_input(tape.before) for tape in tapes], 1)  # (B, K, R)
        product = torch.stack([step.recurrent for step in steps], 1)  # (B, K, G*H)
        cell = grads.cells[layer]
        torch.mm(before.flatten(0, 1).T, product.flatten(0, 1), out=cell.recurrent)
        for step in steps:
            if cell.out is not None and step.out is not None:
                cell.out += step.out
            if cell.out_bias is not None and step.out_bias is not None:
                cell.out_bias += step.out_bias

    def _input_gradient(self, grads: Parameters, inputs: Inputs, grad_projected: Tensor) -> None:
        matrix, n_dense = grads.inputs[0], self.layout.n_dense
        flat = grad_projected.flatten(0, 1)  # (B*K, G*H)
        matrix[:n_dense] = inputs.dense.flatten(0, 1).T @ flat
        for j, (start, _) in enumerate(self.slices):
            slots = inputs.slots[:, :, j].flatten()
            rows = slots.clamp_min(0) + (n_dense + start - self.n_reals)
            matrix.index_add_(0, rows, flat * (slots >= 0).unsqueeze(-1))


def _exists(example: Example, length: int) -> Tensor | None:
    """Which window positions hold an input, (B, K) bool; ``None`` where all do."""
    if bool((example.n_inputs == length).all()):
        return None
    position = torch.arange(length, device=example.n_inputs.device)
    return position >= length - example.n_inputs[:, None]
