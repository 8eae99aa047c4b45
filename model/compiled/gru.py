"""The GRU's kernels.

The formulas are those of :class:`model.cells.Gru`, the arguments those of :mod:`.cells`.
"""

from __future__ import annotations

import numpy as np

from model.compiled.kernels import Array, add, add_back, add_product, copy, fill, part, sigmoids, skip, tanhs


@part
def forward(
    gates: Array,
    states: Array,
    extra: Array,
    n_inputs: Array,
    recurrent: Array,
    out: Array,  # noqa: ARG001  this cell has none
    out_bias: Array,  # noqa: ARG001  likewise
) -> None:
    """See :mod:`model.compiled.cells`; gates are reset, update, candidate.

    Extra is the candidate's share of the recurrent product, before the reset gate.
    """
    length, n, width = extra.shape
    product = np.empty((n, 3 * width), gates.dtype)
    for k in range(length):
        for b in range(n):
            fill(product[b], 0)
        add_product(states[k, :, 0], recurrent, product)
        for b in range(n):
            before, after, gate = states[k, b], states[k + 1, b], gates[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gate, extra[k, b])
                continue
            add(product[b, : 2 * width], gate[: 2 * width])
            sigmoids(gate[: 2 * width])
            copy(product[b, 2 * width :], extra[k, b])
            for u in range(width):
                gate[2 * width + u] += gate[u] * extra[k, b, u]
            tanhs(gate[2 * width :])
            for u in range(width):
                new = gate[2 * width + u]
                after[0, u] = new + gate[width + u] * (before[0, u] - new)


@part
def backward(
    gates: Array,
    states: Array,
    extra: Array,
    n_inputs: Array,
    above: Array,
    carry: Array,
    memory: Array,
    projected: Array,
    product: Array,
    to_start: bool,
    recurrent: Array,
    out: Array,  # noqa: ARG001  this cell has none
    out_bias: Array,  # noqa: ARG001  likewise
) -> None:
    """See :mod:`model.compiled.cells`."""
    length, n, width = extra.shape
    one = gates.dtype.type(1)
    for k in range(length - 1, length - 1 - len(projected), -1):
        at = k - length + len(projected)
        for b in range(n):
            add(above[at, b], carry[b, 0])
            if length - k > n_inputs[b]:
                fill(projected[at, b], 0)
                fill(product[at, b], 0)
                fill(memory[at, b], 0)
                continue
            gate, grad = gates[k, b], carry[b, 0]
            for u in range(width):
                reset, update, new = gate[u], gate[width + u], gate[2 * width + u]
                grad_new = grad[u] * (one - update) * (one - new * new)
                grad_update = grad[u] * (states[k, b, 0, u] - new) * update * (one - update)
                grad_reset = grad_new * extra[k, b, u] * reset * (one - reset)
                projected[at, b, u] = product[at, b, u] = grad_reset
                projected[at, b, width + u] = product[at, b, width + u] = grad_update
                projected[at, b, 2 * width + u] = grad_new
                product[at, b, 2 * width + u] = grad_new * reset
                memory[at, b, u] = grad[u]
                grad[u] = grad[u] * update
        if at or to_start:
            add_back(product[at], recurrent, carry[:, 0])
