"""The correction of the memory: the length of its full step, and the state it leads to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, add, add_product, copy, kernel, log_sum, tanhs

Slots = NDArray[np.int64]


@kernel
def full_step(
    memory: Array,
    slope: Array,
    readout: Array,
    outputs: Array,
    targets: Array,
    slots: Slots,
    n_known: Slots,
    bounds: Slots,
    is_open: NDArray[np.bool_],
    damping: float,
    tiny: float,
    step: Array,
) -> None:
    """Change of the memory that a rate of one would make; see :func:`model.correction.full_step`.

    Args:
        memory: Gradient of each stream's loss, (B, L, H).
        slope: Derivative of the top layer's hidden state with respect to its memory, (B, H).
        readout: (H, O).
        outputs: (B, O).
        targets: (B, R); NaN where missing.
        slots: (B, C); -1 where missing.
        n_known: (B, C).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        damping: Share of the gradient's square that is added to the curvature.
        tiny: Keeps the division defined.
        step: (B, L, H), filled in.
    """
    n, layers, width = memory.shape
    direction = memory[:, layers - 1] * slope
    moved = np.zeros((n, readout.shape[1]), memory.dtype)
    likely = np.empty(readout.shape[1], memory.dtype)
    add_product(direction, readout, moved)
    for b in range(n):
        along = moved[b]
        square, curvature = 0.0, 0.0
        for u in range(width):
            square += memory[b, layers - 1, u] ** 2
        for r in range(targets.shape[1]):
            if not math.isnan(targets[b, r]):
                curvature += along[r] ** 2
        for c in range(slots.shape[1]):
            if slots[b, c] >= 0:
                start, stop = bounds[c], bounds[c + 1]
                log_sum(outputs[b, start:stop], n_known[b, c], is_open[c], likely[start:stop])
                mean = squares = 0.0
                for v in range(start, stop):
                    mean += likely[v] * along[v]
                    squares += likely[v] * along[v] ** 2
                curvature += squares - mean * mean
        scale = square / (curvature + damping * square + tiny)
        for layer in range(layers):
            for u in range(width):
                change = -scale * memory[b, layer, u]
                step[b, layer, u] = change if math.isfinite(change) else 0


@kernel
def correct(last: Array, gate: Array, change: Array, begun: NDArray[np.bool_], layer: int, states: Array) -> None:
    """Correct the memory of one layer, and derive its hidden state from it.

    Args:
        last: State after the window, (B, S, H).
        gate: What the squashed memory is multiplied with, (B, H); not used where the memory is the hidden state.
        change: Of the memory, (B, L, H).
        begun: Streams that have a window; others keep their state, (B,).
        layer: Which of ``change`` and ``states``.
        states: (B, L, S, H), the layer's filled in.
    """
    n, parts, width = last.shape
    scratch = np.empty(2 * width, last.dtype)
    for b in range(n):
        own = states[b, layer]
        for part in range(parts):
            copy(last[b, part], own[part])
        if not begun[b]:
            continue
        add(change[b, layer], own[parts - 1])
        if parts > 1:
            copy(own[1], own[0])
            tanhs(own[0], scratch)
            for u in range(width):
                own[0, u] *= gate[b, u]
