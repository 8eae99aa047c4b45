"""The products with input weights and readout, and their gradients."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.compiled.kernels import Array, add, add_back, add_product, copy, fill, kernel

BLAS_ROWS = 32
"""Rows of a weight gradient's product (streams by window positions) from which torch's matrix product is faster."""


@kernel
def project(
    dense: Array, slots: NDArray[np.int64], offsets: NDArray[np.int64], matrix: Array, bias: Array, out: Array
) -> None:
    """The first layer's input product: dense inputs, and for each category value its row of the matrix.

    Args:
        dense: (B, K, D).
        slots: (B, K, C); -1 where missing.
        offsets: Row of each category field's first slot, (C,).
        matrix: (D+V, J).
        bias: (J,).
        out: (K, B, J), filled in.
    """
    n, length, n_dense = dense.shape
    for k in range(length):
        for b in range(n):
            copy(bias, out[k, b])
        add_product(dense[:, k], matrix[:n_dense], out[k])
        for b in range(n):
            for c in range(offsets.size):
                if slots[b, k, c] >= 0:
                    add(matrix[offsets[c] + slots[b, k, c]], out[k, b])


@kernel
def product(x: Array, matrix: Array, bias: Array, out: Array) -> None:
    """``out`` (T, B, J): the hidden part of the states x (T, B, S, I) times the matrix (I, J), plus bias (J,)."""
    for t in range(out.shape[0]):
        for b in range(out.shape[1]):
            copy(bias, out[t, b])
        add_product(x[t, :, 0], matrix, out[t])


@kernel
def back(grad: Array, matrix: Array, out: Array) -> None:
    """``out`` (T, B, I): the gradient (T, B, J) of a product with the matrix (I, J), with respect to what went in."""
    for t in range(out.shape[0]):
        for b in range(out.shape[1]):
            fill(out[t, b], 0)
        add_back(grad[t], matrix, out[t])


@kernel
def add_to_rows(grad: Array, slots: NDArray[np.int64], offsets: NDArray[np.int64], matrix: Array) -> None:
    """Add the gradient (K, B, J) of :func:`project` to the rows of the matrix (D+V, J) that it took."""
    for k in range(grad.shape[0]):
        for b in range(grad.shape[1]):
            for c in range(offsets.size):
                if slots[b, k, c] >= 0:
                    add(grad[k, b], matrix[offsets[c] + slots[b, k, c]])


@kernel
def _few_outer(x: Array, grad: Array, out: Array) -> None:
    n, width = grad.shape
    whole = n - n % 4
    for i in range(out.shape[0]):
        row = out[i]
        fill(row, 0)
        for r in range(0, whole, 4):
            a, b, c, d = x[r, i], x[r + 1, i], x[r + 2, i], x[r + 3, i]
            for j in range(width):
                row[j] = row[j] + a * grad[r, j] + b * grad[r + 1, j] + c * grad[r + 2, j] + d * grad[r + 3, j]
        for r in range(whole, n):
            a = x[r, i]
            for j in range(width):
                row[j] += a * grad[r, j]


def outer(x: Array, grad: Array, out: Array) -> None:
    """Gradient of a matrix, ``out`` (I, J): the sum over N rows of the products of x (N, I) and grad (N, J)."""
    if len(x) < BLAS_ROWS:
        _few_outer(x, grad, out)
    else:
        torch.mm(torch.from_numpy(x).T, torch.from_numpy(grad), out=torch.from_numpy(out))


@kernel
def sum_rows(grad: Array, out: Array) -> None:
    """Gradient of a bias, ``out`` (J,): the sum of the rows of grad (N, J)."""
    fill(out, 0)
    for r in range(grad.shape[0]):
        add(grad[r], out)
