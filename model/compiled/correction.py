"""The correction of the memory: the length of its full step, and the state it leads to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, add_row_product, fill, log_sum, tanhs

Slots = NDArray[np.int64]
Integers = NDArray[np.int32]


def correct(  # noqa: PLR0912  one pass over what a stream has
    memory: Array,
    last: Array,
    gates: Array,
    extra: Array,
    output_gate: int,
    outputs: Array,
    readout: Array,
    targets: Array,
    slots: Integers,
    n_known: Integers,
    n_inputs: Integers,
    bounds: Slots,
    is_open: NDArray[np.bool_],
    rates: Array,
    most: float,
    damping: float,
    tiny: float,
    steps: Array,
    corrected: Array,
    slopes: Array,
) -> None:
    """See :meth:`model.network.Network.correct`.

    Args:
        memory: Gradient of each stream's loss, (B, L, H).
        last: State that is corrected, (B, L, S, H).
        gates: That led to it, (L, B, G*H).
        extra: Likewise; the squashed memory in cells with a memory of its own, (L, B, H).
        output_gate: Which gate the squashed memory is multiplied with; -1 where there is none.
        outputs: (B, O).
        readout: (H, O).
        targets: (B, R); NaN where missing.
        slots: (B, C); -1 where missing.
        n_known: (B, C).
        n_inputs: Streams without any keep their state, (B,).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        rates: (B, L, H).
        most: That a unit of the memory changes by.
        damping: Share of the gradient's square that is added to the curvature.
        tiny: Keeps the division defined.
        steps: (B, L, H), filled in like all that follow.
        corrected: (B, L, S, H).
        slopes: (B, L, H).
    """
    n, layers, parts, width = last.shape
    kind = memory.dtype
    one, limit = kind.type(1), kind.type(most)
    direction, inner = np.empty(width, kind), np.empty(width, kind)
    along, likely = np.empty(outputs.shape[1], kind), np.empty(outputs.shape[1], kind)
    gate_at = output_gate * width
    for b in range(n):
        top = memory[b, layers - 1]
        square, curvature = 0.0, 0.0
        for u in range(width):
            slope = one
            if parts > 1:
                squashed = extra[layers - 1, b, u]
                slope = one - squashed * squashed
            if output_gate >= 0:
                slope *= gates[layers - 1, b, gate_at + u]
            direction[u] = top[u] * slope
            square += top[u] ** 2
        fill(along, 0)
        add_row_product(direction, readout, along)
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
            own = last[b, layer]
            for u in range(width):
                change = kind.type(-scale * memory[b, layer, u])
                change = change if math.isfinite(change) else kind.type(0)
                steps[b, layer, u] = change
                moved = min(max(rates[b, layer, u] * change, -limit), limit) if n_inputs[b] > 0 else kind.type(0)
                inner[u] = own[parts - 1, u] + moved
                corrected[b, layer, parts - 1, u] = inner[u]
            if parts == 1:
                for u in range(width):
                    slopes[b, layer, u] = one
                continue
            tanhs(inner)
            for u in range(width):
                gate = gates[layer, b, gate_at + u] if output_gate >= 0 else one
                slopes[b, layer, u] = gate * (one - inner[u] * inner[u])
                corrected[b, layer, 0, u] = gate * inner[u] if n_inputs[b] > 0 else own[0, u]
