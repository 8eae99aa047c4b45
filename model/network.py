"""What a network computes, whatever computes it: a window of inputs in, the next item's outputs and gradients out.

Symbols: B streams, K window length, D dense inputs, C category fields, L layers, S state parts, H hidden, G gates,
O outputs, P parameters.

What belongs to a stream is an array of NumPy's. Shared weights lie where the network computes: they are arrays on the
CPU, where :class:`model.compiled.network.CompiledNetwork` computes, and tensors for
:class:`model.tensor_network.TensorNetwork`, which takes any device and is what the kernels are tested against.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.optimiser import Weights
from model.parameters import ParameterLayout
from model.spec import ModelSpec

HUBER = 2.0
"""Error in scales beyond which a real field's loss grows linearly, so that no outlier drags the weights far."""

DAMPING = 0.01
"""Share of the gradient's square that is added to the curvature: a step stays finite where the outputs hardly depend
on the memory."""

TINY = 1e-12

Floats = NDArray[Any]
"""Of 32- or, in tests, 64-bit floats; all of a call are of one type."""

Flat = Any
"""Parameters or a gradient of them, (P,): an array or a tensor, as the network computes with."""


@dataclass(slots=True)
class Example:
    """What one weight update learns from: a window of inputs and the item that followed it.

    Args:
        start: State before the window's first input, (B, L, S, H).
        dense: The window's dense inputs, right-aligned, (B, K, D).
        slots: Slot of each category field's value, (B, K, C) int32; -1 where missing.
        n_inputs: Inputs that exist, (B,) int32, 0 to K.
        from_initial: Not 0 where the window begins with the stream's first item, (B,) int32; then ``start`` is not
            used.
        targets: Scaled values of the real fields, (B, R); NaN where missing.
        target_slots: Slots of the category fields, (B, C) int32; -1 where missing.
        n_known: Values known when the prediction was made, (B, C) int32.
    """

    start: Floats
    dense: Floats
    slots: NDArray[np.int32]
    n_inputs: NDArray[np.int32]
    from_initial: NDArray[np.int32]
    targets: Floats
    target_slots: NDArray[np.int32]
    n_known: NDArray[np.int32]


@dataclass(slots=True)
class Gradient:
    """Result of :meth:`Network.gradient`.

    Args:
        loss: Per stream, (B,); 0 where nothing was observed.
        parameters: Of the mean loss over the streams that observed something, (P,); ``None`` where there were none.
        memory: Of each stream's own loss, with respect to the memory after the window, (B, L, H).
        before: Likewise, with respect to the state before the newest input, (B, L, S, H); empty where weights learn.
        outputs: After the window, (B, O).
        first: State after the window's first input, (B, L, S, H).
        last: State after the window, (B, L, S, H).
        gates: Activations of the last step in the cell's own order, (L, B, G*H).
        extra: What else the cell keeps of it, (L, B, H).
    """

    loss: Floats
    parameters: Flat | None
    memory: Floats
    before: Floats
    outputs: Floats
    first: Floats
    last: Floats
    gates: Floats
    extra: Floats


@dataclass(slots=True)
class Correction:
    """What :meth:`Network.correct` fills in; views into beliefs will do.

    Args:
        steps: Change of the memory that rates of one would make, (B, L, H).
        corrected: The state after the correction, (B, L, S, H); streams without a window keep theirs.
        slopes: Derivative of its hidden state with respect to its memory, unit by unit, (B, L, H); of no meaning where
            there was no window.
    """

    steps: Floats
    corrected: Floats
    slopes: Floats


@dataclass(slots=True)
class Advanced:
    """Result of :meth:`Network.advance`.

    Args:
        state: After the input, (B, L, S, H).
        outputs: Scaled increments of the real fields, then logits per category, (B, O).
        gates: Activations in the cell's own order, (L, B, G*H).
    """

    state: Floats
    outputs: Floats
    gates: Floats


class Network(ABC):
    """The recurrent network of a model; holds no weights."""

    def __init__(self, spec: ModelSpec, n_dense: int) -> None:
        self.layout = ParameterLayout.of(spec, n_dense)
        self.cell = self.layout.cell
        self.n_reals = len(spec.reals)
        self.slices: list[tuple[int, int]] = []  # of each category field among the outputs
        at = self.n_reals
        for field in spec.categories:
            self.slices.append((at, at + field.n_slots))
            at += field.n_slots
        self.is_open = np.array([field.is_open for field in spec.categories], np.bool_)
        self.bounds = np.array([self.n_reals, *(stop for _, stop in self.slices)], np.int64)
        """Where each category field's logits begin among the outputs, and the end, (C+1,)."""

    @abstractmethod
    def place(self, weights: Weights) -> Weights:
        """The same weights where this network computes; they may share memory with those given."""

    @abstractmethod
    def gradient(self, flat: Flat, example: Example, *, weights: bool, initial: bool) -> Gradient:
        """Loss of the example, and its gradients.

        The loss of a stream is the Huber loss of each scaled real field (half the squared error up to ``HUBER``,
        linear beyond), plus the negative log likelihood of each category field, over the fields that were observed.

        Args:
            flat: Parameters, not changed.
            example: Not changed.
            weights: Whether to compute ``Gradient.parameters``.
            initial: Whether gradient reaches the learned initial state.
        """

    @abstractmethod
    def correct(
        self, flat: Flat, example: Example, gradient: Gradient, rates: Floats, most: float, into: Correction
    ) -> None:
        """Correct the memory: which way and how far.

        The full step is a Cauchy step along the gradient: its square over the curvature along it.

        Args:
            flat: Parameters, not changed.
            example: That the gradient is of.
            gradient: At the states that are to be corrected.
            rates: Share of the full step that is taken, (B, L, H).
            most: That one correction changes a unit of the memory by.
            into: Filled in.
        """

    @abstractmethod
    def advance(self, flat: Flat, state: Floats, dense: Floats, slots: NDArray[np.int64]) -> Advanced:
        """One step from the state (B, L, S, H) on dense inputs (B, D) and category values (B, C), -1 where missing."""

    @abstractmethod
    def read(self, flat: Flat, state: Floats) -> Floats:
        """Outputs (B, O) of a state (B, L, S, H)."""

    @abstractmethod
    def update(self, weights: Weights, gradient: Flat, rate: float) -> Weights | None:
        """One guarded Adam step (Kingma & Ba 2015), the gradient's norm clipped.

        Args:
            weights: Not changed.
            gradient: (P,).
            rate: Step size; the layout's ``step_factors`` times this for each parameter.

        Returns:
            The new weights, or ``None`` where the gradient or the result is not finite: such a step is not taken.
        """
