"""The plain tanh network's kernels.

The formulas are those of :class:`model.cells.Rnn`, the arguments those of :mod:`.cells`.
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
    out: Array,  # noqa: ARG001  this cell has none
    out_bias: Array,  # noqa: ARG001  likewise
) -> None:
    """See :mod:`model.compiled.cells`; the one gate is the candidate, extra is not used."""
    length, n, _ = extra.shape
    for k in range(length):
        add_product(states[k, :, 0], recurrent, gates[k])
        for b in range(n):
            before, after, gate = states[k, b], states[k + 1, b], gates[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gate, extra[k, b])
                continue
            tanhs(gate)
            copy(gate, after[0])


@part
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
                fill(memory[at, b], 0)
                continue
            for u in range(width):
                memory[at, b, u] = carry[b, 0, u]
                projected[at, b, u] = carry[b, 0, u] * (one - gates[k, b, u] * gates[k, b, u])
                carry[b, 0, u] = 0
        if at or to_start:
            add_back(projected[at], recurrent, carry[:, 0])
