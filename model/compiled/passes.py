"""A network's passes, one kernel each: the gradient through a window, and a step ahead.

These are patterns: ``forward``, ``backward`` and the facts about a cell are those of the LSTM here, and
:mod:`model.compiled.cells` binds the same code to those of each cell. Arrays within a pass are time first; streams go
through it in blocks, so that what is kept for the way back stays near the processor however large the batch is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, add_back, fill
from model.compiled.linear import add_outer, add_rows, add_to_rows, product
from model.compiled.loss import loss
from model.compiled.lstm import backward, forward
from model.compiled.views import ends, of_layer

BLOCK = 16
"""Streams that go through a pass together."""

N_PARTS, HAS_OUT, HAS_OWN_PRODUCT, N_RECURRENT = 2, 0, 0, 1

Slots = NDArray[np.int64]
Integers = NDArray[np.int32]


def gradient(  # noqa: PLR0912, PLR0915  one pass: all that it keeps would have to be handed around
    flat: Array,
    places: Slots,
    start: Array,
    dense: Array,
    slots: Integers,
    n_inputs: Integers,
    fresh: Integers,
    targets: Array,
    target_slots: Integers,
    n_known: Integers,
    bounds: Slots,
    is_open: NDArray[np.bool_],
    huber: float,
    initial: bool,
    grad: Array,
    losses: Array,
    memory: Array,
    before: Array,
    outputs: Array,
    first: Array,
    last: Array,
    gates: Array,
    extra: Array,
) -> int:
    """Loss and gradients of windows; see :class:`model.network.Example` and :class:`model.network.Gradient`.

    Without a weight gradient only the newest step is gone back through: earlier ones cannot change the memory.

    Args:
        flat: Parameters, (P,).
        places: Where each parameter begins in ``flat``.
        start: (B, L, S, H).
        dense: (B, K, D).
        slots: (B, K, C).
        n_inputs: (B,).
        fresh: Not 0 where the window begins at the learned initial state, (B,).
        targets: (B, R).
        target_slots: (B, C).
        n_known: (B, C).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        huber: Error from which the loss is linear.
        initial: Whether gradient reaches the initial state.
        grad: Of the parameters, (P,), filled in; (0,) for none.
        losses: (B,), filled in like all that follow.
        memory: (B, L, H).
        before: (B, L, S, H); not filled in where there is a weight gradient.
        outputs: (B, O).
        first: (B, L, S, H).
        last: (B, L, S, H).
        gates: Of the last step, (L, B, G*H).
        extra: Likewise, (L, B, H).

    Returns:
        Streams that observed something.
    """
    n, layers, _, width = start.shape
    length, n_dense, n_fields = dense.shape[1], dense.shape[2], slots.shape[2]
    n_gates, n_outputs = gates.shape[2], outputs.shape[1]
    rows = n_dense + n_outputs - bounds[0], N_RECURRENT * width
    steps = length if grad.size else 1
    begin, readout, readout_bias = ends(flat, places, layers, N_PARTS, width, n_outputs)
    learned = grad if grad.size else flat  # then it is not written to
    grad_begin, grad_readout, grad_readout_bias = ends(learned, places, layers, N_PARTS, width, n_outputs)
    kind = flat.dtype
    offsets = np.empty(n_fields, np.int64)
    for c in range(n_fields):
        offsets[c] = bounds[c] + n_dense - bounds[0]
    fill(grad, 0)
    n_seen = 0
    for low in range(0, n, BLOCK):
        m = min(n - low, BLOCK)
        counts, none = np.empty(m, np.int64), np.empty((length * m, 0), np.int64)
        x, taken = np.empty((length * m, n_dense), kind), np.empty((length * m, n_fields), np.int64)
        states = np.empty((layers, length + 1, m, N_PARTS, width), kind)
        activations = np.empty((layers, length, m, n_gates), kind)
        kept = np.empty((layers, length, m, width), kind)
        to_start = grad.size == 0
        for b in range(m):
            counts[b] = n_inputs[low + b]
            to_start = to_start or (initial and fresh[low + b] != 0)
            for k in range(length):
                for i in range(n_dense):
                    x[k * m + b, i] = dense[low + b, k, i]
                for c in range(n_fields):
                    taken[k * m + b, c] = slots[low + b, k, c]
            for layer in range(layers):
                for s in range(N_PARTS):
                    for u in range(width):
                        states[layer, 0, b, s, u] = (
                            begin[layer * N_PARTS + s, u] if fresh[low + b] else start[low + b, layer, s, u]
                        )
        for layer in range(layers):
            into, bias, recurrent, out, out_bias = of_layer(flat, places, layer, rows, width, n_gates, HAS_OUT)
            own = activations[layer].reshape(length * m, n_gates)
            if layer:
                below = states[layer - 1, 1:].reshape(length * m, N_PARTS * width)
                product(below, width, none, offsets, into, bias, own)
            else:
                product(x, n_dense, taken, offsets, into, bias, own)
            forward(activations[layer], states[layer], kept[layer], counts, recurrent, out, out_bias)
            for b in range(m):
                for u in range(n_gates):
                    gates[layer, low + b, u] = activations[layer, length - 1, b, u]
                for u in range(width):
                    extra[layer, low + b, u] = kept[layer, length - 1, b, u]
                    for s in range(N_PARTS):
                        first[low + b, layer, s, u] = states[layer, 1, b, s, u]
                        last[low + b, layer, s, u] = states[layer, length, b, s, u]
        top = states[layers - 1, length].reshape(m, N_PARTS * width)
        grad_read = np.empty((m, n_outputs), kind)
        product(top, width, none, offsets, readout, readout_bias, outputs[low : low + m])
        n_seen += loss(outputs, targets, target_slots, n_known, bounds, is_open, huber, low, losses, grad_read)
        above, memories = np.zeros((steps, m, width), kind), np.empty((steps, m, width), kind)
        projected = np.empty((steps, m, n_gates), kind)
        own_product = np.empty((steps, m, n_gates), kind) if HAS_OWN_PRODUCT else projected
        add_back(grad_read, readout, above[steps - 1])
        if grad.size:
            add_outer(top, grad_read, grad_readout)
            add_rows(grad_read, grad_readout_bias)
        grad_own = projected.reshape(steps * m, n_gates)
        for layer in range(layers - 1, -1, -1):
            into, _, recurrent, out, out_bias = of_layer(flat, places, layer, rows, width, n_gates, HAS_OUT)
            carry = np.zeros((m, N_PARTS, width), kind)
            backward(
                activations[layer],
                states[layer],
                kept[layer],
                counts,
                above,
                carry,
                memories,
                projected,
                own_product,
                to_start,
                recurrent,
                out,
                out_bias,
            )
            for b in range(m):
                for u in range(width):
                    memory[low + b, layer, u] = memories[steps - 1, b, u]
                    for s in range(N_PARTS):
                        if not grad.size:
                            before[low + b, layer, s, u] = carry[b, s, u]
                        elif initial and fresh[low + b]:
                            grad_begin[layer * N_PARTS + s, u] += carry[b, s, u]
            if grad.size:
                grad_into, grad_bias, grad_recurrent, grad_out, grad_out_bias = of_layer(
                    grad, places, layer, rows, width, n_gates, HAS_OUT
                )
                past = states[layer, :length].reshape(length * m, N_PARTS * width)
                add_outer(past, own_product.reshape(steps * m, n_gates), grad_recurrent)
                add_rows(grad_own, grad_bias)
                if HAS_OUT:
                    memory_rows = memories.reshape(steps * m, width)
                    add_outer(activations[layer].reshape(length * m, n_gates), memory_rows, grad_out)
                    add_rows(memory_rows, grad_out_bias)
                if layer:
                    add_outer(states[layer - 1, 1:].reshape(length * m, N_PARTS * width), grad_own, grad_into)
                else:
                    add_outer(x, grad_own, grad_into[:n_dense])
                    add_to_rows(grad_own, taken, offsets, grad_into)
            if layer:
                below = above.reshape(steps * m, width)
                for r in range(steps * m):
                    fill(below[r], 0)
                add_back(grad_own, into, below)
    if n_seen > 1:
        share = kind.type(n_seen)
        for i in range(grad.size):
            grad[i] /= share
    return n_seen


def advance(  # noqa: PLR0912  likewise
    flat: Array,
    places: Slots,
    start: Array,
    dense: Array,
    slots: Slots,
    bounds: Slots,
    after: Array,
    outputs: Array,
    gates: Array,
) -> None:
    """One step ahead; see :meth:`model.network.Network.advance`.

    Args:
        flat: Parameters, (P,).
        places: Where each parameter begins in ``flat``.
        start: (B, L, S, H).
        dense: (B, D).
        slots: (B, C).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        after: (B, L, S, H), filled in like all that follow.
        outputs: (B, O).
        gates: (L, B, G*H).
    """
    n, layers, _, width = start.shape
    n_dense, n_fields, n_gates, n_outputs = dense.shape[1], slots.shape[1], gates.shape[2], outputs.shape[1]
    rows = n_dense + n_outputs - bounds[0], N_RECURRENT * width
    _, readout, readout_bias = ends(flat, places, layers, N_PARTS, width, n_outputs)
    kind = flat.dtype
    offsets = np.empty(n_fields, np.int64)
    for c in range(n_fields):
        offsets[c] = bounds[c] + n_dense - bounds[0]
    for low in range(0, n, BLOCK):
        m = min(n - low, BLOCK)
        counts, none = np.ones(m, np.int64), np.empty((m, 0), np.int64)
        x, taken = np.empty((m, n_dense), kind), np.empty((m, n_fields), np.int64)
        states, extra = np.empty((layers, 2, m, N_PARTS, width), kind), np.empty((1, m, width), kind)
        for b in range(m):
            for i in range(n_dense):
                x[b, i] = dense[low + b, i]
            for c in range(n_fields):
                taken[b, c] = slots[low + b, c]
            for layer in range(layers):
                for s in range(N_PARTS):
                    for u in range(width):
                        states[layer, 0, b, s, u] = start[low + b, layer, s, u]
        for layer in range(layers):
            into, bias, recurrent, out, out_bias = of_layer(flat, places, layer, rows, width, n_gates, HAS_OUT)
            own = gates[layer, low : low + m]
            if layer:
                product(states[layer - 1, 1].reshape(m, N_PARTS * width), width, none, offsets, into, bias, own)
            else:
                product(x, n_dense, taken, offsets, into, bias, own)
            forward(own.reshape(1, m, n_gates), states[layer], extra, counts, recurrent, out, out_bias)
            for b in range(m):
                for s in range(N_PARTS):
                    for u in range(width):
                        after[low + b, layer, s, u] = states[layer, 1, b, s, u]
        top = states[layers - 1, 1].reshape(m, N_PARTS * width)
        product(top, width, none, offsets, readout, readout_bias, outputs[low : low + m])
