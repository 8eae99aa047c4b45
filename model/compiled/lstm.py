"""The LSTM's kernels.

The formulas are those of :class:`model.cells.Lstm`, the arguments those of :mod:`.cells`.
"""

from __future__ import annotations

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
    """See :mod:`model.compiled.cells`; gates are input, forget, output, candidate, extra is ``tanh(c)``."""
    length, n, width = extra.shape
    for k in range(length):
        add_product(states[k, :, 0], recurrent, gates[k])
        for b in range(n):
            before, after, gate = states[k, b], states[k + 1, b], gates[k, b]
            if length - k > n_inputs[b]:
                skip(before, after, gate, extra[k, b])
                continue
            sigmoids(gate[: 3 * width])
            tanhs(gate[3 * width :])
            squashed = extra[k, b]
            for u in range(width):
                after[1, u] = gate[u] * gate[3 * width + u] + gate[width + u] * before[1, u]
            copy(after[1], squashed)
            tanhs(squashed)
            for u in range(width):
                after[0, u] = gate[2 * width + u] * squashed[u]


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
            before, gate, grad = states[k, b], gates[k, b], projected[at, b]
            hidden, cell = carry[b, 0], carry[b, 1]
            for u in range(width):
                write, keep = gate[u], gate[width + u]
                read, new = gate[2 * width + u], gate[3 * width + u]
                squashed = extra[k, b, u]
                change = cell[u] + hidden[u] * read * (one - squashed * squashed)
                grad[u] = change * new * write * (one - write)
                grad[width + u] = change * before[1, u] * keep * (one - keep)
                grad[2 * width + u] = hidden[u] * squashed * read * (one - read)
                grad[3 * width + u] = change * write * (one - new * new)
                memory[at, b, u] = change
                cell[u] = change * keep
            fill(hidden, 0)
        if at or to_start:
            add_back(projected[at], recurrent, carry[:, 0])
