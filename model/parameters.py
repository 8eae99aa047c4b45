"""Shared weights as one flat vector with named views, so that gradient, optimiser and bytes are one array each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cells import CELLS, CellWeights
from model.spec import ModelSpec

Arrays = dict[str, NDArray[Any]]
"""Parameters, or a gradient of them, by name."""

READOUT_STEP = 4.0
"""Step size of the weights that a category's logits are read with, times the learning rate."""

EMBEDDING_STEP = 2.0
"""Step size of the input weights of a category's values, times the learning rate."""


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    offset: int
    shape: tuple[int, ...]
    stop: int


class ParameterLayout:
    """Where each parameter lies in the flat vector.

    Args:
        spec: Gives H, L and the cell.
        n_dense: Dense input features (D).
        n_slots: Slots of all category fields together (V); each is one row of the first layer's input weights.
        n_outputs: Output units (O).
    """

    def __init__(self, spec: ModelSpec, n_dense: int, n_slots: int, n_outputs: int) -> None:
        self.cell = CELLS[spec.cell]
        self.hidden, self.n_layers = spec.hidden, spec.layers
        self.n_dense, self.n_slots, self.n_outputs = n_dense, n_slots, n_outputs
        self.parts: dict[str, _Part] = {}
        self.size = 0
        gates = len(self.cell.gate_names) * spec.hidden
        for layer in range(spec.layers):
            n_inputs = n_dense + n_slots if layer == 0 else spec.hidden
            self._add(f"input.{layer}", n_inputs, gates)
            self._add(f"bias.{layer}", gates)
            self._add(f"recurrent.{layer}", self.cell.n_recurrent * spec.hidden, gates)
            if self.cell.has_out:
                self._add(f"out.{layer}", spec.hidden, spec.hidden)
                self._add(f"out_bias.{layer}", spec.hidden)
        self._add("initial", spec.layers, self.cell.n_parts, spec.hidden)
        self._add("readout", spec.hidden, n_outputs)
        self._add("readout_bias", n_outputs)

    def _add(self, name: str, *shape: int) -> None:
        start, self.size = self.size, self.size + math.prod(shape)
        self.parts[name] = _Part(name, start, shape, self.size)

    @property
    def has_reals(self) -> bool:
        """Whether any output is a real field's."""
        return self.n_outputs > self.n_slots

    @cached_property
    def step_factors(self) -> Tensor:
        """What each parameter's step size is times the learning rate, (P,); not 1 for categories' own weights."""
        factors = torch.ones(self.size)
        first = self.n_outputs - self.n_slots  # the real fields' come before
        self.view(factors, "readout")[:, first:] = READOUT_STEP
        self.view(factors, "readout_bias")[first:] = READOUT_STEP
        self.view(factors, "input.0")[self.n_dense :] = EMBEDDING_STEP
        return factors

    def view(self, flat: Tensor, name: str) -> Tensor:
        """The named parameter as a view into ``flat``."""
        part = self.parts[name]
        return flat[part.offset : part.stop].view(part.shape)

    def arrays(self, flat: NDArray[Any]) -> Arrays:
        """Each parameter as a view into ``flat``."""
        return {part.name: flat[part.offset : part.stop].reshape(part.shape) for part in self.parts.values()}


class Parameters:
    """A flat vector under its layout; the attributes are views into it, made when they are first asked for."""

    def __init__(self, layout: ParameterLayout, flat: Tensor) -> None:
        if flat.shape != (layout.size,):
            raise ValueError(f"expected {layout.size} parameters, got {tuple(flat.shape)}")
        self.layout, self.flat = layout, flat

    @cached_property
    def arrays(self) -> Arrays:
        """The same memory as NumPy's; of parameters on the CPU."""
        return self.layout.arrays(self.flat.numpy())

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
        return self.layout.view(self.flat, "initial")

    @cached_property
    def readout(self) -> Tensor:
        """(H, O)."""
        return self.layout.view(self.flat, "readout")

    @cached_property
    def readout_bias(self) -> Tensor:
        """(O,)."""
        return self.layout.view(self.flat, "readout_bias")

    def _layers(self, name: str) -> list[Tensor]:
        return [self.layout.view(self.flat, f"{name}.{layer}") for layer in range(self.layout.n_layers)]

    @classmethod
    def fresh(cls, layout: ParameterLayout, seed: int) -> Parameters:
        """Initial weights; the same seed gives the same bits.

        Input weights are uniform in +-1/sqrt(H), recurrent weights orthogonal per gate (Saxe et al. 2014), the forget
        gate's bias 1 (Jozefowicz et al. 2015). Readout and initial state are zero: a fresh network predicts no change.
        """
        source = torch.Generator().manual_seed(seed)
        flat = torch.zeros(layout.size)
        made = cls(layout, flat)
        hidden, cell = layout.hidden, layout.cell
        bound = 1 / math.sqrt(hidden)
        for layer in range(layout.n_layers):
            made.inputs[layer].uniform_(-bound, bound, generator=source)
            recurrent = made.cells[layer].recurrent
            for block in (
                recurrent.view(cell.n_recurrent, hidden, len(cell.gate_names), hidden).transpose(1, 2).flatten(0, 1)
            ):
                block.copy_(_orthogonal(hidden, source))
            out = made.cells[layer].out
            if out is not None:
                out.copy_(_orthogonal(hidden, source))
            if "forget" in cell.gate_names:
                start = cell.gate_names.index("forget") * hidden
                made.biases[layer][start : start + hidden] = 1
        return made


def _orthogonal(size: int, source: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(size, size, generator=source))
    signed: Tensor = q * r.diagonal().sign()
    return signed
