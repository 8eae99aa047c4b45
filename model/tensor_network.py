"""The network in torch, for any device: the path that the compiled one is tested against.

The gradient is written out rather than taken by autograd: several times faster on small batches. Autograd is the
oracle of the tests. Symbols as in :mod:`model.network`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import hardshrink

from model import optimiser
from model.cells import CellGradient, CellWeights, Tape
from model.network import DAMPING, HUBER, TINY, Advanced, Correction, Example, Floats, Gradient, Network
from model.optimiser import Weights
from model.parameters import ParameterLayout
from model.spec import ModelSpec


class Parameters:
    """A flat tensor under its layout; the attributes are views into it, made when they are first asked for."""

    def __init__(self, layout: ParameterLayout, flat: Tensor) -> None:
        self.layout, self.flat = layout, flat

    @cached_property
    def inputs(self) -> list[Tensor]:
        """Of each layer, (I, G*H)."""
        return self._layers("input")

    @cached_property
    def biases(self) -> list[Tensor]:
        """Of each layer, (G*H,)."""
        return self._layers("bias")

    @cached_property
    def cells(self) -> list[CellWeights]:
        """Recurrent weights of each layer."""
        if not self.layout.cell.has_out:
            return [CellWeights(recurrent) for recurrent in self._layers("recurrent")]
        parts = (self._layers(name) for name in ("recurrent", "out", "out_bias"))
        return [CellWeights(*layer) for layer in zip(*parts, strict=True)]

    @cached_property
    def initial(self) -> Tensor:
        """(L, S, H)."""
        return self._view("initial")

    @cached_property
    def readout(self) -> Tensor:
        """(H, O)."""
        return self._view("readout")

    @cached_property
    def readout_bias(self) -> Tensor:
        """(O,)."""
        return self._view("readout_bias")

    def _layers(self, name: str) -> list[Tensor]:
        return [self._view(f"{name}.{layer}") for layer in range(self.layout.n_layers)]

    def _view(self, name: str) -> Tensor:
        view: Tensor = self.layout.view(self.flat, name)
        return view


@dataclass(slots=True)
class _Inputs:
    """What :class:`model.network.Example` holds of B streams' inputs, as tensors: dense (B, T, D), slots (B, T, C)."""

    dense: Tensor
    slots: Tensor


@dataclass(slots=True)
class _Example:
    """A :class:`model.network.Example` as tensors on the device of the weights."""

    start: Tensor
    inputs: _Inputs
    n_inputs: Tensor
    from_initial: Tensor
    targets: Tensor
    target_slots: Tensor
    n_known: Tensor


class TensorNetwork(Network):
    """The network of a model, computed by torch where its weights are put.

    Args:
        spec: The model's.
        n_dense: Dense inputs (D).
        device: Of the weights.
    """

    def __init__(self, spec: ModelSpec, n_dense: int, device: torch.device | str = "cpu") -> None:
        super().__init__(spec, n_dense)
        self.device = torch.device(device)

    def place(self, weights: Weights) -> Weights:
        """See :meth:`Network.place`."""
        parts = weights.flat, weights.first, weights.second
        flat, first, second = (torch.as_tensor(part).to(self.device) for part in parts)
        return replace(weights, flat=flat, first=first, second=second)

    @torch.no_grad()
    def gradient(self, flat: Tensor, example: Example, *, weights: bool, initial: bool) -> Gradient:
        """See :meth:`Network.gradient`."""
        parameters, given = Parameters(self.layout, flat), self._tensors(example, flat)
        start = torch.where(given.from_initial[:, None, None, None], parameters.initial, given.start)
        scan = self._scan(parameters, start, given)
        outputs = torch.addmm(parameters.readout_bias, scan[-1][-1].after[:, 0], parameters.readout)
        loss, grad_outputs = self._loss(outputs, given)
        memory = torch.empty(
            (len(loss), len(scan), start.shape[-1]), dtype=outputs.dtype, device=outputs.device
        )  # (B, L, H)
        grad_flat = None
        n_seen = int((~given.targets.isnan()).any(1).logical_or((given.target_slots >= 0).any(1)).sum())
        if weights and n_seen:
            grad_flat = torch.zeros_like(flat)
        before = torch.empty_like(start)
        self._back(parameters, given, scan, grad_outputs, memory, before, grad_flat, initial=initial, whole=weights)
        if grad_flat is not None:
            grad_flat /= n_seen
        first, last = (torch.stack([tapes[k].after for tapes in scan], 1) for k in (0, -1))
        return Gradient(
            loss=_array(loss),
            parameters=grad_flat,
            memory=_array(memory),
            before=_array(before[:0] if weights else before),
            outputs=_array(outputs),
            first=_array(first),
            last=_array(last),
            gates=_array(torch.stack([tapes[-1].gates for tapes in scan])),
            extra=_array(torch.stack([tapes[-1].extra for tapes in scan])),
        )

    @torch.no_grad()
    def correct(
        self, flat: Tensor, example: Example, gradient: Gradient, rates: Floats, most: float, into: Correction
    ) -> None:
        """See :meth:`Network.correct`."""
        parameters, given = Parameters(self.layout, flat), self._tensors(example, flat)
        memory, outputs, last = (
            self._tensor(part, flat) for part in (gradient.memory, gradient.outputs, gradient.last)
        )
        tapes = [
            Tape(last[:, i], last[:, i], self._tensor(gates, flat), self._tensor(extra, flat))
            for i, (gates, extra) in enumerate(zip(gradient.gates, gradient.extra, strict=True))
        ]
        step = self._full_step(parameters, given, memory, outputs, tapes[-1])
        change = (self._tensor(rates, flat) * step).clamp(-most, most)
        made = torch.stack([self.cell.correct(tape, change[:, i]) for i, tape in enumerate(tapes)], 1)
        corrected = torch.where((given.n_inputs > 0)[:, None, None, None], made, last)
        slopes = [self.cell.hidden_slope(tape, corrected[:, i]) for i, tape in enumerate(tapes)]
        into.steps[...] = _array(step)
        into.corrected[...] = _array(corrected)
        into.slopes[...] = _array(torch.stack(slopes, 1))

    @torch.no_grad()
    def advance(self, flat: Tensor, state: Floats, dense: Floats, slots: NDArray[np.int64]) -> Advanced:
        """See :meth:`Network.advance`."""
        parameters, before = Parameters(self.layout, flat), self._tensor(state, flat)
        given = _Inputs(self._tensor(dense, flat)[:, None], self._integers(slots)[:, None])
        tapes: list[Tape] = []
        projected = self._project_inputs(parameters, given)[:, 0]
        for layer, weights in enumerate(parameters.cells):
            if layer:
                projected = torch.addmm(parameters.biases[layer], tapes[-1].after[:, 0], parameters.inputs[layer])
            tapes.append(self.cell.forward(weights, projected, before[:, layer]))
        outputs = torch.addmm(parameters.readout_bias, tapes[-1].after[:, 0], parameters.readout)
        return Advanced(
            _array(torch.stack([tape.after for tape in tapes], 1)),
            _array(outputs),
            _array(torch.stack([tape.gates for tape in tapes])),
        )

    @torch.no_grad()
    def read(self, flat: Tensor, state: Floats) -> Floats:
        """See :meth:`Network.read`."""
        parameters = Parameters(self.layout, flat)
        top = self._tensor(state[:, -1, 0], flat)
        return _array(torch.addmm(parameters.readout_bias, top, parameters.readout))

    @torch.no_grad()
    def update(self, weights: Weights, gradient: Tensor, rate: float) -> Weights | None:
        """See :meth:`Network.update`."""
        n, beta_1, beta_2 = weights.n_updates + 1, optimiser.BETA_1, optimiser.beta_2(has_reals=self.layout.has_reals)
        norm = float(torch.linalg.vector_norm(gradient))
        if not norm < float("inf"):  # also false for NaN
            return None
        if norm > optimiser.MAX_NORM:
            gradient = gradient * (optimiser.MAX_NORM / norm)
        first = hardshrink(torch.lerp(weights.first, gradient, 1 - beta_1), optimiser.TINY)
        second = torch.addcmul(weights.second * beta_2, gradient, gradient, value=1 - beta_2)
        second = hardshrink(second, optimiser.TINY)
        root = (second / (1 - beta_2**n)).sqrt_().add_(optimiser.EPSILON)
        step = self._step_factors.to(first) * first
        flat = torch.addcdiv(weights.flat, step, root, value=-rate / (1 - beta_1**n))
        if not bool(torch.isfinite(flat.sum())):
            return None
        return Weights(flat, first, second, n)

    @cached_property
    def _step_factors(self) -> Tensor:
        return torch.from_numpy(self.layout.step_factors).to(self.device)

    def _log_probabilities(self, outputs: Tensor, n_known: Tensor, category: int) -> Tensor:
        """Log probabilities (B, V) of one category field's slots; slots not yet given to a value have none."""
        start, stop = self.slices[category]
        logits = outputs[:, start:stop]
        if self.is_open[category]:
            slot = torch.arange(stop - start, device=outputs.device)
            free = (slot >= n_known[:, category, None]) & (slot < stop - start - 1)
            logits = logits.masked_fill(free, -torch.inf)
        return torch.log_softmax(logits, 1)

    def _full_step(
        self, parameters: Parameters, example: _Example, memory: Tensor, outputs: Tensor, tape: Tape
    ) -> Tensor:
        """Change of the memory, (B, L, H), that rates of one would make."""
        top = memory[:, -1]  # (B, H)
        along = (top * self.cell.hidden_slope(tape, tape.after)) @ parameters.readout  # (B, O)
        curvature = torch.where(example.targets.isnan(), 0, along[:, : self.n_reals].square()).sum(1)
        for j, (start, stop) in enumerate(self.slices):
            likely = self._log_probabilities(outputs, example.n_known, j).exp()
            moved = along[:, start:stop]
            spread = (likely * moved.square()).sum(1) - (likely * moved).sum(1).square()
            curvature = curvature + torch.where(example.target_slots[:, j] >= 0, spread, 0)
        square = top.square().sum(1)
        scale = square / (curvature + DAMPING * square + TINY)
        return (-scale[:, None, None] * memory).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _tensors(self, example: Example, flat: Tensor) -> _Example:
        return _Example(
            start=self._tensor(example.start, flat),
            inputs=_Inputs(self._tensor(example.dense, flat), self._integers(example.slots)),
            n_inputs=self._integers(example.n_inputs),
            from_initial=self._integers(example.from_initial) != 0,
            targets=self._tensor(example.targets, flat),
            target_slots=self._integers(example.target_slots),
            n_known=self._integers(example.n_known),
        )

    def _tensor(self, array: Floats, flat: Tensor) -> Tensor:
        """A copy on the device, whatever the array's memory layout, in the weights' precision."""
        return torch.from_numpy(np.array(array, order="C")).to(self.device, flat.dtype)

    def _integers(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array, np.int64, order="C")).to(self.device)

    def _project_inputs(self, parameters: Parameters, inputs: _Inputs) -> Tensor:
        """The first layer's input product, (B, T, G*H); category values pick rows, no one-hot is multiplied."""
        matrix, n_dense = parameters.inputs[0], self.layout.n_dense
        projected = inputs.dense @ matrix[:n_dense] + parameters.biases[0]
        for j, (start, _) in enumerate(self.slices):
            slots = inputs.slots[:, :, j]
            rows = matrix[(slots.clamp_min(0) + (n_dense + start - self.n_reals))]
            projected = projected + rows * (slots >= 0).unsqueeze(-1)
        return projected

    def _scan(self, parameters: Parameters, start: Tensor, example: _Example) -> list[list[Tape]]:
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

    def _loss(self, outputs: Tensor, example: _Example) -> tuple[Tensor, Tensor]:
        """Loss per stream (B,) and its gradient with respect to the outputs (B, O)."""
        n = self.n_reals
        error = (outputs[:, :n] - example.targets).nan_to_num(nan=0.0)
        bounded = error.clamp(-HUBER, HUBER)
        loss, grads = (bounded * (error - 0.5 * bounded)).sum(1), [bounded]
        for j in range(len(self.slices)):
            log_p = self._log_probabilities(outputs, example.n_known, j)
            slot = example.target_slots[:, j, None]
            seen = slot >= 0
            slot = slot.clamp_min(0)
            loss = loss - torch.where(seen, log_p.gather(1, slot), 0).squeeze(1)
            grads.append(log_p.exp().scatter_add(1, slot, torch.full_like(log_p[:, :1], -1)) * seen)
        return loss, torch.cat(grads, 1)

    def _back(
        self,
        parameters: Parameters,
        example: _Example,
        scan: list[list[Tape]],
        grad_outputs: Tensor,
        memory: Tensor,
        before: Tensor,
        grad_flat: Tensor | None,
        *,
        initial: bool,
        whole: bool,
    ) -> None:
        """Fill ``memory`` (B, L, H), ``before`` (B, L, S, H) and, unless ``None``, ``grad_flat`` (P,), summed over all.

        Unless the ``whole`` window is gone back through, its newest step is: earlier ones cannot change the memory.
        """
        grads = None if grad_flat is None else Parameters(self.layout, grad_flat)
        length = len(scan[0])
        exists = _exists(example, length)
        newest = length - 1
        oldest = 0 if whole else newest
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

    def _input_gradient(self, grads: Parameters, inputs: _Inputs, grad_projected: Tensor) -> None:
        matrix, n_dense = grads.inputs[0], self.layout.n_dense
        flat = grad_projected.flatten(0, 1)  # (B*K, G*H)
        matrix[:n_dense] = inputs.dense.flatten(0, 1).T @ flat
        for j, (start, _) in enumerate(self.slices):
            slots = inputs.slots[:, :, j].flatten()
            rows = slots.clamp_min(0) + (n_dense + start - self.n_reals)
            matrix.index_add_(0, rows, flat * (slots >= 0).unsqueeze(-1))


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.cpu().numpy()
    return array


def _exists(example: _Example, length: int) -> Tensor | None:
    """Which window positions hold an input, (B, K) bool; ``None`` where all do."""
    if bool((example.n_inputs == length).all()):
        return None
    position = torch.arange(length, device=example.n_inputs.device)
    return position >= length - example.n_inputs[:, None]
