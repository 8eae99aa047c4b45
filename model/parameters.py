"""Shared weights as one flat vector with named views, so that gradient, optimiser and bytes are one array each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.cells import CELLS, CellWeights
from model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    offset: int
    shape: tuple[int, ...]


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
        self.n_dense, self.n_outputs = n_dense, n_outputs
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
        self.parts[name] = _Part(name, self.size, shape)
        self.size += math.prod(shape)

    def view(self, flat: Tensor, name: str) -> Tensor:
        """The named parameter as a view into ``flat``."""
        part = self.parts[name]
        return flat[part.offset : part.offset + math.prod(part.shape)].view(part.shape)


class Parameters:
    """A flat vector under its layout; the attributes are views into it."""

    def __init__(self, layout: ParameterLayout, flat: Tensor) -> None:
        if flat.shape != (layout.size,):
            raise ValueError(f"expected {layout.size} parameters, got {tuple(flat.shape)}")
        self.layout, self.flat = layout, flat
        layers = range(layout.n_layers)
        self.inputs = [layout.view(flat, f"input.{i}") for i in layers]
        self.biases = [layout.view(flat, f"bias.{i}") for i in layers]
        self.cells = [
            CellWeights(
                layout.view(flat, f"recurrent.{i}"),
                layout.view(flat, f"out.{i}") if layout.cell.has_out else None,
                layout.view(flat, f"out_bias.{i}") if layout.cell.has_out else None,
            )
            for i in layers
        ]
        self.initial = layout.view(flat, "initial")  # (L, S, H)
        self.readout = layout.view(flat, "readout")  # (H, O)
        self.readout_bias = layout.view(flat, "readout_bias")  # (O,)

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
