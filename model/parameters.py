"""Shared weights as one flat vector with named views, so that gradient, optimiser and bytes are one array each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cells import CELLS
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

    @classmethod
    def of(cls, spec: ModelSpec, n_dense: int) -> ParameterLayout:
        """That of a model's network."""
        n_slots = sum(field.n_slots for field in spec.categories)
        return cls(spec, n_dense, n_slots, len(spec.reals) + n_slots)

    @cached_property
    def step_factors(self) -> NDArray[np.float32]:
        """What each parameter's step size is times the learning rate, (P,); not 1 for categories' own weights."""
        factors = np.ones(self.size, np.float32)
        first = self.n_outputs - self.n_slots  # the real fields' come before
        self.view(factors, "readout")[:, first:] = READOUT_STEP
        self.view(factors, "readout_bias")[first:] = READOUT_STEP
        self.view(factors, "input.0")[self.n_dense :] = EMBEDDING_STEP
        return factors

    def view(self, flat: Any, name: str) -> Any:
        """The named parameter as a view into ``flat``, an array or a tensor."""
        part = self.parts[name]
        return flat[part.offset : part.stop].reshape(part.shape)

    def arrays(self, flat: NDArray[Any]) -> Arrays:
        """Each parameter as a view into ``flat``."""
        return {name: self.view(flat, name) for name in self.parts}

    def fresh(self, seed: int) -> NDArray[np.float32]:
        """Initial weights, (P,); the same seed gives the same bits.

        Input weights are uniform in +-1/sqrt(H), recurrent weights orthogonal per gate (Saxe et al. 2014), the forget
        gate's bias 1 (Jozefowicz et al. 2015). Readout and initial state are zero: a fresh network predicts no change.
        """
        source = torch.Generator().manual_seed(seed)
        flat = torch.zeros(self.size)
        hidden, cell = self.hidden, self.cell
        bound = 1 / math.sqrt(hidden)
        for layer in range(self.n_layers):
            self.view(flat, f"input.{layer}").uniform_(-bound, bound, generator=source)
            recurrent = self.view(flat, f"recurrent.{layer}")
            for block in (
                recurrent.view(cell.n_recurrent, hidden, len(cell.gate_names), hidden).transpose(1, 2).flatten(0, 1)
            ):
                block.copy_(_orthogonal(hidden, source))
            if cell.has_out:
                self.view(flat, f"out.{layer}").copy_(_orthogonal(hidden, source))
            if "forget" in cell.gate_names:
                start = cell.gate_names.index("forget") * hidden
                self.view(flat, f"bias.{layer}")[start : start + hidden] = 1
        return np.array(flat.numpy())


def _orthogonal(size: int, source: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(size, size, generator=source))
    signed: Tensor = q * r.diagonal().sign()
    return signed
