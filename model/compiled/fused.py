"""The fused cell's kernels.

The formulas are those of :class:`model.cells.Fused`, the arguments those of :mod:`.cells`.
"""

from __future__ import annotations

import numpy as np

from model.compiled.kernels import Array, add, add_back, add_product, copy, fill, kernel, skip, tanhs


@kernel
def forward(
    gates: Array,
    states: Array,
    extra: Array,
    corrections: Array,
    n_inputs: Array,
    layer: int,
    recurrent: Array,
    out: Array,
    out_bias: Array,
) -> None:
    """See :class:`model.compiled.cells.Kernels`; the one gate is the candidate, extra is ``tanh(c)``."""
    length, n, width = extra.shape
    scratch = np.empty(2 * width, gates.dtype)
    for b in range(n):
        for k in range(length):
            before, after, gate = states[k, b], states[k + 1, b], gates[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gate, extra[k, b])
                continue
            add_product(before.reshape(2 * width), recurrent, gate)
            tanhs(gate, scratch)
            copy(out_bias, after[1])
            add_product(gate, out, after[1])
            if k < length - 1:
                add(corrections[b, k, layer], after[1])
            copy(after[1], after[0])
            tanhs(after[0], scratch)
            copy(after[0], extra[k, b])


@kernel
def backward(
    gates: Array,
    states: Array,  # noqa: ARG001  gates and extra are enough
    extra: Array,
    n_inputs: Array,
    above: Array,
    carry: Array,
    memory: Array,
    projected: Array,
    product: Array,  # noqa: ARG001  the same as projected
    recurrent: Array,
    out: Array,
    out_bias: Array,  # noqa: ARG001  linear
) -> None:
    """See :class:`model.compiled.cells.Kernels`."""
    length, n, width = extra.shape
    one = gates.dtype.type(1)
    for b in range(n):
        for k in range(length - 1, length - 1 - len(projected), -1):
            at = k - length + len(projected)
            add(above[at, b], carry[b, 0])
            fill(projected[at, b], 0)
            if length - k > n_inputs[b]:
                fill(memory[at, b], 0)
                continue
            for u in range(width):
                squashed = extra[k, b, u]
                memory[at, b, u] = carry[b, 1, u] + carry[b, 0, u] * (one - squashed * squashed)
            add_back(memory[at, b], out, projected[at, b])
            for u in range(width):
                projected[at, b, u] *= one - gates[k, b, u] * gates[k, b, u]
            before = carry[b].reshape(2 * width)
            fill(before, 0)
            add_back(projected[at, b], recurrent, before)
