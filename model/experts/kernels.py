"""How the experts' kernels are compiled, and the two formulas that they share.

A kernel is a loop over streams and fields. It is compiled for one signature when its module is imported, without
reordering of arithmetic and on one thread, so that the same input gives the same bits whatever shares its batch.

Compiled code is kept on disk and told stale by the time of its own source file alone. So a kernel uses nothing of other
files but the formulas here and the sizes of a record, which are part of its signature; other constants are arguments.
A formula here that changes needs a new name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import from_dtype, njit, types

Function = TypeVar("Function", bound=Callable[..., Any])

VALUES = types.float64[:, :]
"""One number per stream and field, (B, R)."""

FORECASTS = types.float64[:, :, :]
"""One number per stream, field and expert, (B, R, E)."""

ROWS = types.float32[:, :, ::1]
"""One vector per stream and field, contiguous, (B, R, any)."""

HISTORY = types.float32[:, :, :]
"""One number per stream, field and past item or period, (B, R, any); may lie within larger records."""

PERIODS = types.int32[:, :, :]
"""Seasons in use, (B, R, any); likewise."""

ITEMS = types.int64[:]
"""Items that each stream had before this one, (B,)."""

NUMBER = types.float64


def fields_of(dtype: np.dtype[np.void]) -> Any:
    """Numba's type for records of one field each, (B, R), that may lie within larger records."""
    return types.Array(from_dtype(dtype), 2, "A")


def kernel(*arguments: Any) -> Callable[[Function], Function]:
    """Compile for these arguments and no result, now, or load what was compiled before.

    Where no directory can be written (neither beside the source nor the user's cache, nor ``NUMBA_CACHE_DIR``), every
    process compiles for itself.
    """
    signature = types.void(*arguments)

    def compile_now(function: Function) -> Function:
        try:
            compiled = njit(signature, cache=True, error_model="numpy")(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            compiled = njit(signature, error_model="numpy")(function)
        return cast("Function", compiled)

    return compile_now


def part(function: Function) -> Function:
    """Let kernels of the same file call this function; it is compiled with them."""
    return cast("Function", njit(error_model="numpy")(function))


@part
def clip(value: float, most: float) -> float:
    """The value, between minus ``most`` and ``most``."""
    return min(max(value, -most), most)


@part
def packed(i: int, j: int, n: int) -> int:
    """Where row i, column j of a symmetric n by n matrix lies among the rows of its upper triangle."""
    if i > j:
        i, j = j, i
    return i * n - i * (i - 1) // 2 + j - i
