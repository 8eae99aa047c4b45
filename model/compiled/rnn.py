"""The plain tanh network's kernels.

The formulas are those of :class:`model.cells.Rnn`, the arguments those of :mod:`.cells`.
"""

from __future__ import annotations

import numpy as np

from model.compiled.kernels import Array, add, add_back, add_product, copy, fill, kernel, skip, tanhs


@kernel
def forward(
    gates: Array, states: Array, extra: Array, corrections: Array, n_inputs: Array, layer: int, recurrent: Array
) -> None:
    """See :class:`model.compiled.cells.Kernels`; the one gate is the candidate, extra is not used."""
    length, n, width = extra.shape
    scratch = np.empty(2 * width, gates.dtype)
    for k in range(length):
        add_product(states[k, :, 0], recurrent, gates[k])
        for b in range(n):
            before, after, gate = states[k, b], states[k + 1, b], gates[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gate, extra[k, b])
                continue
            tanhs(gate, scratch)
            copy(gate, after[0])
            if k < length - 1:
                add(corrections[b, k, layer], after[0])


@kernel
def backward(
    gates: Array,
    states: Array,  # noqa: ARG001  the gate is enough
    extra: Array,
    n_inputs: Array,
    above: Array,
    carry: Array,
    memory: Array,
    projected: Array,
    product: Array,  # noqa: ARG001  the same as projected
    recurrent: Array,
) -> None:
    """See :class:`model.compiled.cells.Kernels`."""
    length, n, width = extra.shape
    one = gates.dtype.type(1)
    for k in range(length - 1, length - 1 - len(projected), -1):
        at = k - length + len(projected)
        for b in range(n):
            add(above[at, b], carry[b, 0])
            if length - k > n_inputs[b]:
                fill(projected[at, b], 0)
                fill(memory[at, b], 0)
                continue
            for u in range(width):
                memory[at, b, u] = carry[b, 0, u]
                projected[at, b, u] = carry[b, 0, u] * (one - gates[k, b, u] * gates[k, b, u])
                carry[b, 0, u] = 0
        add_back(projected[at], recurrent, carry[:, 0])
