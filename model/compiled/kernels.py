"""How the network's kernels are compiled, and the formulas that they share.

A kernel is compiled when it is first asked for with a type of number, on one thread and without the interpreter's lock,
and is kept on disk under a name that tells what it was made of, as those of :mod:`model.kernels` are.

A stream's bits must not depend on its company. So every sum runs within a stream, and streams are never told apart by
where they lie in the batch: the order of additions, and which are fused with a product, is that of the code.
Sums that only a weight gradient needs run over streams, and depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.kernels import compiled

Function = TypeVar("Function", bound=Callable[..., Any])
Array = NDArray[Any]
"""Of 32- or 64-bit floats; one call's are all of one type."""

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": {"contract"}}  # products are fused
_ONLY_FOR_KERNELS: dict[str, Any] = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}  # a fifth of the time to compile


def kernel(function: Function) -> Function:
    """Compile at the first call; see :func:`model.kernels.compiled`."""
    return compiled(function, **_OPTIONS)


def kernel_of(function: Function, signature: Any) -> Function:
    """Compile for this signature now; see :func:`model.kernels.compiled`."""
    return compiled(function, signature, **_OPTIONS)


def part(function: Function) -> Function:
    """Let kernels call this function, and only them; it is compiled with them."""
    return cast("Function", njit(**_OPTIONS, **_ONLY_FOR_KERNELS)(function))


def summing_part(function: Function) -> Function:
    """Like :func:`part`, for sums along rows: several of their terms are added at once."""
    options = _OPTIONS | _ONLY_FOR_KERNELS | {"fastmath": {"contract", "reassoc"}}
    return cast("Function", njit(**options)(function))


@part
def exponential(value: Any) -> Any:
    """In single precision, without calling a function: an exponent is kept within plus or minus 87.

    It is 2 to the n times a polynomial in what is left, which lies within half the logarithm of 2 (Cody & Waite 1980;
    the polynomial is that of Moshier's Cephes). Adding ``shift`` rounds to n and leaves n in the lowest bits.
    """
    single = np.float32
    v = single(value)
    v = single(87) if v > single(87) else v
    v = single(-87) if v < single(-87) else v
    shift = single(12582912.0)
    raised = v * single(1.4426950408889634) + shift
    n = raised - shift
    r = v - n * single(0.693359375) - n * single(-2.12194440e-4)
    p = (single(1.9875691500e-4) * r + single(1.3981999507e-3)) * r + single(8.3334519073e-3)
    p = ((p * r + single(4.1665795894e-2)) * r + single(1.6666665459e-1)) * r + single(5.0000001201e-1)
    bits = np.int32((single(raised).view(np.int32) << 23) + (127 << 23))
    return (p * r * r + r + single(1)) * np.int32(bits).view(np.float32)


@part
def sigmoids(x: Array) -> None:
    """Replace each of x (N,) by ``1 / (1 + exp(-x))``."""
    one = x.dtype.type(1)
    for i in range(x.size):
        x[i] = one / (one + (math.exp(-x[i]) if x.itemsize > 4 else exponential(-x[i])))


@part
def tanhs(x: Array) -> None:
    """Replace each of x (N,) by its hyperbolic tangent.

    Near 0, where the exponential would cancel, the rational approximation of Cody & Waite, "Software Manual for the
    Elementary Functions" (1980).
    """
    kind = x.dtype.type
    one, two, near = kind(1), kind(2), kind(0.625)
    for i in range(x.size):
        v, z = x[i], x[i] * x[i]
        above = (kind(-9.64399179425052238628e-1) * z - kind(9.92877231001918586564e1)) * z - kind(
            1614.68768441708447952
        )
        below = ((z + kind(112.811678491632931402)) * z + kind(2235.48839060100448583)) * z + kind(
            4844.06305325125486048
        )
        raised = math.exp(two * v) if x.itemsize > 4 else exponential(two * v)
        is_far = abs(v) > near
        up, down = -two if is_far else v * z * above, one + raised if is_far else below
        x[i] = (one if is_far else v) + up / down


@part
def fill(out: Array, value: float) -> None:
    """Set all of ``out`` (N,) to the value. Loops like this one compile much faster than assignments of slices."""
    for i in range(out.size):
        out[i] = value


@part
def copy(x: Array, out: Array) -> None:
    """Set ``out`` (N,) to x (N,)."""
    for i in range(out.size):
        out[i] = x[i]


@part
def add(x: Array, out: Array) -> None:
    """Add x (N,) to ``out`` (N,)."""
    for i in range(out.size):
        out[i] += x[i]


@part
def add_row_product(x: Array, matrix: Array, out: Array) -> None:
    """Add x (I,) times the matrix (I, J) to ``out`` (J,)."""
    whole = x.size - x.size % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(out.size):
            out[j] = out[j] + a * matrix[i, j] + b * matrix[i + 1, j] + c * matrix[i + 2, j] + d * matrix[i + 3, j]
    for i in range(whole, x.size):
        for j in range(out.size):
            out[j] += x[i] * matrix[i, j]


@part
def add_product(x: Array, matrix: Array, out: Array) -> None:
    """Add x (N, I) times the matrix (I, J) to ``out`` (N, J), whose rows are contiguous.

    Two rows at a time, so that the matrix is read half as often; each number is summed up in the same order as alone.
    """
    n, size = x.shape
    whole = size - size % 4
    for r in range(0, n - 1, 2):
        x1, x2, out1, out2 = x[r], x[r + 1], out[r], out[r + 1]
        for i in range(0, whole, 4):
            a1, b1, c1, d1 = x1[i], x1[i + 1], x1[i + 2], x1[i + 3]
            a2, b2, c2, d2 = x2[i], x2[i + 1], x2[i + 2], x2[i + 3]
            for j in range(out1.size):
                a, b, c, d = matrix[i, j], matrix[i + 1, j], matrix[i + 2, j], matrix[i + 3, j]
                out1[j] = out1[j] + a1 * a + b1 * b + c1 * c + d1 * d
                out2[j] = out2[j] + a2 * a + b2 * b + c2 * c + d2 * d
        for i in range(whole, size):
            for j in range(out1.size):
                out1[j] += x1[i] * matrix[i, j]
                out2[j] += x2[i] * matrix[i, j]
    if n % 2:
        add_row_product(x[n - 1], matrix, out[n - 1])


@summing_part
def _pair_back(pair: Array, matrix: Array, sums: Array) -> None:
    """Set ``sums`` (2, I) to the pair (2, J) times the transposed matrix (I, J)."""
    zero = pair.dtype.type(0)
    n, width = matrix.shape
    whole = n - n % 4
    for i in range(0, whole, 4):
        a1 = b1 = c1 = d1 = zero
        a2 = b2 = c2 = d2 = zero
        for j in range(width):
            a, b, c, d = matrix[i, j], matrix[i + 1, j], matrix[i + 2, j], matrix[i + 3, j]
            one, two = pair[0, j], pair[1, j]
            a1, b1, c1, d1 = a1 + one * a, b1 + one * b, c1 + one * c, d1 + one * d
            a2, b2, c2, d2 = a2 + two * a, b2 + two * b, c2 + two * c, d2 + two * d
        sums[0, i], sums[0, i + 1], sums[0, i + 2], sums[0, i + 3] = a1, b1, c1, d1
        sums[1, i], sums[1, i + 1], sums[1, i + 2], sums[1, i + 3] = a2, b2, c2, d2
    for i in range(whole, n):
        a1 = a2 = zero
        for j in range(width):
            a1, a2 = a1 + pair[0, j] * matrix[i, j], a2 + pair[1, j] * matrix[i, j]
        sums[0, i], sums[1, i] = a1, a2


@part
def add_back(grad: Array, matrix: Array, out: Array) -> None:
    """Add grad (N, J) times the transposed matrix (I, J) to ``out`` (N, I).

    Rows are always taken in pairs, the last one beside whatever was there, so that each is summed by the same code.
    """
    n = grad.shape[0]
    pair, sums = np.zeros((2, matrix.shape[1]), grad.dtype), np.empty((2, matrix.shape[0]), grad.dtype)
    for r in range(0, n, 2):
        copy(grad[r], pair[0])
        if r + 1 < n:
            copy(grad[r + 1], pair[1])
        _pair_back(pair, matrix, sums)
        add(sums[0], out[r])
        if r + 1 < n:
            add(sums[1], out[r + 1])


@part
def skip(before: Array, after: Array, gates: Array, extra: Array) -> None:
    """A position without an input: the state (S, H) stays, and nothing is left of a step."""
    for s in range(before.shape[0]):
        copy(before[s], after[s])
    fill(gates, 0)
    fill(extra, 0)


@part
def log_sum(logits: Array, n_known: int, is_open: bool, likely: Array) -> float:
    """Log of the sum of the exponentials; ``likely`` (V,) becomes the probabilities.

    Slots of an open field that no value has yet are left out; its last one is that of the values not known.
    """
    most = logits[-1]
    stop = min(n_known, logits.size - 1) if is_open else logits.size - 1
    for v in range(stop):
        most = max(most, logits[v])
    fill(likely, 0)
    total = 0.0
    for v in range(logits.size):
        if v < stop or v == logits.size - 1:
            likely[v] = math.exp(logits[v] - most)
            total += likely[v]
    for v in range(logits.size):
        likely[v] /= total
    total_log: float = most + math.log(total)
    return total_log
