"""The products with input weights and readout, and their gradients; all arrays are contiguous."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, add, add_product, part

Slots = NDArray[np.int64]


@part
def product(x: Array, n: int, slots: Slots, offsets: Slots, weights: Array, bias: Array, out: Array) -> None:
    """``out`` (N, J): inputs times weights (n+V, J), plus bias (J,); for each category value its row of the weights.

    Args:
        x: (N, n or more); its first ``n`` columns are the inputs.
        n: Inputs.
        slots: (N, C); -1 where missing.
        offsets: Row of each category field's first slot, (C,).
        weights: (n+V, J).
        bias: (J,).
        out: (N, J), filled in.
    """
    for r in range(out.shape[0]):
        for j in range(bias.size):
            out[r, j] = bias[j]
    add_product(x[:, :n], weights, out)
    for r in range(out.shape[0]):
        for c in range(slots.shape[1]):
            if slots[r, c] >= 0:
                add(weights[offsets[c] + slots[r, c]], out[r])


@part
def add_to_rows(grad: Array, slots: Slots, offsets: Slots, weights: Array) -> None:
    """Add the gradient (N, J) of :func:`product` to the rows of the weights (D+V, J) that it took."""
    for r in range(grad.shape[0]):
        for c in range(offsets.size):
            if slots[r, c] >= 0:
                add(grad[r], weights[offsets[c] + slots[r, c]])


@part
def add_rows(grad: Array, out: Array) -> None:
    """Add the rows of grad (N, J), the gradient of a bias, to ``out`` (J,)."""
    for r in range(grad.shape[0]):
        add(grad[r], out)


@part
def add_outer(x: Array, grad: Array, out: Array) -> None:
    """Add to ``out`` (I, J) the sum over N rows of the products of x (N, I or more) and grad (N, J).

    Four rows of each at a time, so that what is read is used four times.
    """
    n, width = grad.shape
    whole, high = n - n % 4, out.shape[0] - out.shape[0] % 4
    for i in range(0, high, 4):
        out1, out2, out3, out4 = out[i], out[i + 1], out[i + 2], out[i + 3]
        for r in range(0, whole, 4):
            a1, b1, c1, d1 = x[r, i], x[r + 1, i], x[r + 2, i], x[r + 3, i]
            a2, b2, c2, d2 = x[r, i + 1], x[r + 1, i + 1], x[r + 2, i + 1], x[r + 3, i + 1]
            a3, b3, c3, d3 = x[r, i + 2], x[r + 1, i + 2], x[r + 2, i + 2], x[r + 3, i + 2]
            a4, b4, c4, d4 = x[r, i + 3], x[r + 1, i + 3], x[r + 2, i + 3], x[r + 3, i + 3]
            for j in range(width):
                a, b, c, d = grad[r, j], grad[r + 1, j], grad[r + 2, j], grad[r + 3, j]
                out1[j] = out1[j] + a1 * a + b1 * b + c1 * c + d1 * d
                out2[j] = out2[j] + a2 * a + b2 * b + c2 * c + d2 * d
                out3[j] = out3[j] + a3 * a + b3 * b + c3 * c + d3 * d
                out4[j] = out4[j] + a4 * a + b4 * b + c4 * c + d4 * d
        for r in range(whole, n):
            _add_multiple(x[r, i], grad[r], out1)
            _add_multiple(x[r, i + 1], grad[r], out2)
            _add_multiple(x[r, i + 2], grad[r], out3)
            _add_multiple(x[r, i + 3], grad[r], out4)
    for i in range(high, out.shape[0]):
        for r in range(n):
            _add_multiple(x[r, i], grad[r], out[i])


@part
def _add_multiple(factor: float, row: Array, out: Array) -> None:
    for j in range(out.size):
        out[j] += factor * row[j]
