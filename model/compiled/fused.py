"""The fused cell's kernels.

The formulas are those of :class:`model.cells.Fused`, the arguments those of :mod:`.cells`.
"""

from __future__ import annotations

from model.compiled.kernels import Array, add, add_back, add_product, copy, fill, part, skip, tanhs


@part
def forward(
    gates: Array,
    states: Array,
    extra: Array,
    n_inputs: Array,
    recurrent: Array,
    out: Array,
    out_bias: Array,
) -> None:
    """See :mod:`model.compiled.cells`; the one gate is the candidate, extra is ``tanh(c)``."""
    length, n, width = extra.shape
    for k in range(length):
        add_product(states[k].reshape(n, 2 * width), recurrent, gates[k])
        for b in range(n):
            if length - k > n_inputs[b]:
                fill(gates[k, b], 0)
            tanhs(gates[k, b])
            copy(out_bias, extra[k, b])
        add_product(gates[k], out, extra[k])
        for b in range(n):
            before, after, squashed = states[k, b], states[k + 1, b], extra[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gates[k, b], squashed)
                continue
            copy(squashed, after[1])
            tanhs(squashed)
            copy(squashed, after[0])


@part
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
    to_start: bool,
    recurrent: Array,
    out: Array,
    out_bias: Array,  # noqa: ARG001  linear
) -> None:
    """See :mod:`model.compiled.cells`."""
    length, n, width = extra.shape
    one = gates.dtype.type(1)
    for k in range(length - 1, length - 1 - len(projected), -1):
        at = k - length + len(projected)
        for b in range(n):
            add(above[at, b], carry[b, 0])
            fill(projected[at, b], 0)
            if length - k > n_inputs[b]:
                fill(memory[at, b], 0)
                continue
            for u in range(width):
                squashed = extra[k, b, u]
                memory[at, b, u] = carry[b, 1, u] + carry[b, 0, u] * (one - squashed * squashed)
        add_back(memory[at], out, projected[at])
        for b in range(n):
            if length - k > n_inputs[b]:
                continue
            fill(carry[b, 0], 0)
            fill(carry[b, 1], 0)
            for u in range(width):
                projected[at, b, u] *= one - gates[k, b, u] * gates[k, b, u]
        if at or to_start:
            add_back(projected[at], recurrent, carry.reshape(n, 2 * width))
