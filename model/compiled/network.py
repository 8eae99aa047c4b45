"""A network whose arithmetic is compiled, on the CPU: what each kernel is given, and what it fills in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model import optimiser
from model.compiled.cells import OUTPUT_GATE, Kernels, kernels
from model.compiled.views import places
from model.network import DAMPING, HUBER, TINY, Advanced, Correction, Example, Floats, Gradient, Network
from model.optimiser import Weights
from model.spec import ModelSpec


class CompiledNetwork(Network):
    """The network of a model, computed by one compiled call for each pass.

    Nothing but a weight gradient adds up over streams, so of all other results a stream's bits are the same in any
    batch. Nothing is kept from one call to the next: what is returned is the caller's alone.
    """

    def __init__(self, spec: ModelSpec, n_dense: int) -> None:
        super().__init__(spec, n_dense)
        self._cell = spec.cell
        self._single = kernels(spec.cell, np.dtype(np.float32))
        self._places = places(self.layout)
        self._output_gate = OUTPUT_GATE.get(spec.cell, -1)
        self._n_gates = len(self.cell.gate_names) * spec.hidden
        readout = self.layout.parts["readout"]
        self._readout = slice(readout.offset, readout.stop), readout.shape

    def place(self, weights: Weights) -> Weights:
        """See :meth:`Network.place`."""
        return weights

    def gradient(self, flat: Floats, example: Example, *, weights: bool, initial: bool) -> Gradient:
        """See :meth:`Network.gradient`."""
        n, layers, parts, width = example.start.shape
        kind = flat.dtype
        gradient = np.empty_like(flat) if weights else flat[:0]
        losses, outputs = np.empty(n, kind), np.empty((n, self.layout.n_outputs), kind)
        memory, before = np.empty((n, layers, width), kind), np.empty((n, layers, parts, width), kind)
        first, last = np.empty_like(before), np.empty_like(before)
        gates, extra = np.empty((layers, n, self._n_gates), kind), np.empty((layers, n, width), kind)
        n_seen = self._kernels(flat).gradient(
            *(flat, self._places, example.start, example.dense, example.slots, example.n_inputs, example.from_initial),
            *(example.targets, example.target_slots, example.n_known, self.bounds, self.is_open, HUBER, initial),
            *(gradient, losses, memory, before, outputs, first, last, gates, extra),
        )
        return Gradient(
            loss=losses,
            parameters=gradient if weights and n_seen else None,
            memory=memory,
            before=before[:0] if weights else before,
            outputs=outputs,
            first=first,
            last=last,
            gates=gates,
            extra=extra,
        )

    def correct(
        self, flat: Floats, example: Example, gradient: Gradient, rates: Floats, most: float, into: Correction
    ) -> None:
        """See :meth:`Network.correct`."""
        at, shape = self._readout
        self._kernels(flat).correct(
            *(gradient.memory, gradient.last, gradient.gates, gradient.extra, self._output_gate, gradient.outputs),
            *(flat[at].reshape(shape), example.targets, example.target_slots, example.n_known, example.n_inputs),
            *(self.bounds, self.is_open, rates, most, DAMPING, TINY, into.steps, into.corrected, into.slopes),
        )

    def advance(self, flat: Floats, state: Floats, dense: Floats, slots: NDArray[np.int64]) -> Advanced:
        """See :meth:`Network.advance`."""
        n, layers = state.shape[:2]
        after, outputs = np.empty(state.shape, flat.dtype), np.empty((n, self.layout.n_outputs), flat.dtype)
        gates = np.empty((layers, n, self._n_gates), flat.dtype)
        self._kernels(flat).advance(flat, self._places, state, dense, slots, self.bounds, after, outputs, gates)
        return Advanced(after, outputs, gates)

    def read(self, flat: Floats, state: Floats) -> Floats:
        """See :meth:`Network.read`."""
        readout, bias = (self.layout.view(flat, name) for name in ("readout", "readout_bias"))
        outputs: Floats = state[:, -1, 0] @ readout + bias
        return outputs

    def update(self, weights: Weights, gradient: Floats, rate: float) -> Weights | None:
        """See :meth:`Network.update`."""
        n, beta_1, beta_2 = weights.n_updates + 1, optimiser.BETA_1, optimiser.beta_2(has_reals=self.layout.has_reals)
        flat, first, second = np.empty_like(gradient), np.empty_like(gradient), np.empty_like(gradient)
        taken = self._kernels(gradient).update(
            *(gradient, weights.flat, weights.first, weights.second, flat, first, second),
            *(beta_1, beta_2, 1 - beta_1**n, 1 - beta_2**n, optimiser.EPSILON, rate, self.layout.step_factors),
            *(optimiser.MAX_NORM, optimiser.TINY),
        )
        return Weights(flat, first, second, n) if taken else None

    def _kernels(self, flat: Floats) -> Kernels:
        return self._single if flat.dtype == np.float32 else kernels(self._cell, flat.dtype)
