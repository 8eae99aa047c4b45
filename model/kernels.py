"""How kernels are compiled, what they take, and the formulas that several of them share.

A kernel is a loop over streams and fields. It is compiled for one signature when its module is imported, without
reordering of arithmetic, on one thread and without the interpreter's lock, so that the same input gives the same bits
whatever shares its batch.

Compiled code is kept on disk under a name that tells what it was made of: the kernel's code, and the constants and
parts that it uses, in whichever file they stand. So it is never stale, and a kernel may use any formula of the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, TypeVar, cast

import numpy as np
from numba import from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

VALUES = types.float64[:, :]
"""One number per stream and field, (B, R)."""

SINGLES_OF_FIELDS = types.float32[:, :, :]
"""Single-precision numbers of each stream and field, (B, R, any); may lie within larger records, see :func:`row`."""

PERIODS = types.int32[:, :, :]
"""Seasons in use, (B, R, any); likewise."""

ITEMS = types.int64[:]
"""Items that each stream had before this one, (B,)."""

NUMBER = types.float64

PER_STREAM = types.float64[:]
"""One number per stream, (B,)."""

SINGLES = types.float32[:, :]
"""Single-precision numbers of each stream, (B, any)."""

SLOTS = types.int64[:, :]
"""One integer per stream and category field, (B, C)."""

TIMES = types.int64[:]
"""Microseconds per stream, (B,)."""

FACTS = types.boolean[:]
"""One truth value per stream, (B,)."""


_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def fields_of(dtype: np.dtype[np.void]) -> Any:
    """Numba's type for records of one field each, (B, R), that may lie within larger records."""
    return types.Array(from_dtype(dtype), 2, "A")


def streams_of(dtype: np.dtype[np.void]) -> Any:
    """Numba's type for records of one stream each, (B,)."""
    return types.Array(from_dtype(dtype), 1, "A")


def kernel(*arguments: Any) -> Callable[[Function], Function]:
    """Compile for these arguments and no result, now; see :func:`compiled`."""
    signature = types.void(*arguments)
    return lambda function: compiled(function, signature, **_OPTIONS)


def compiled(function: Function, signature: Any = None, **options: Any) -> Function:
    """Compile, or load what was compiled before: for a signature now, or without one at the first call.

    Where no directory can be written (neither beside the source nor the user's cache, nor ``NUMBA_CACHE_DIR``), every
    process compiles for itself.
    """
    function.__qualname__ = f"{function.__qualname__}_{fingerprint(function)}"  # names the files on disk
    try:
        made = njit(signature, cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        made = njit(signature, **options)(function)
    return cast("Function", made)


def fingerprint(function: Callable[..., Any]) -> str:
    """Hash of what a kernel or a part computes: its code, and the constants and parts it uses, wherever they stand.

    Raises:
        TypeError: If it uses something whose value cannot be told, such as a constant by its module's name.
    """
    code = function.__code__
    if any(isinstance(constant, CodeType) for constant in code.co_consts):
        raise TypeError(f"{function.__name__} has a function within: a kernel takes numbers and parts")
    made_of = hashlib.sha256(repr((code.co_code, code.co_consts, code.co_names)).encode())
    for name in code.co_names:
        used = function.__globals__.get(name)
        if used is not None and hasattr(used, "py_func"):
            made_of.update(fingerprint(used.py_func).encode())
        elif used is _as_contiguous:
            made_of.update(b"contiguous")
        elif isinstance(used, np.ndarray):
            made_of.update(repr((used.dtype, used.shape)).encode() + used.tobytes())
        elif isinstance(used, (bool, int, float, tuple, np.number)):
            made_of.update(repr(used).encode())
        elif not (used is None or (isinstance(used, ModuleType) and used.__name__ in {"math", "numpy"})):
            raise TypeError(
                f"{function.__name__} uses {name}, a {type(used).__name__}: a kernel takes numbers and parts"
            )
    return made_of.hexdigest()[:16]


def part(function: Function) -> Function:
    """Let kernels call this function; it is compiled with them."""
    return cast("Function", njit(**_OPTIONS)(function))


def _contiguous(_: Any, array: Any) -> Any:
    """The same memory as an array that is known to be contiguous, and that nobody counts the uses of."""
    made = array.copy(layout="C")

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        found = context.make_array(array)(context, builder, value=arguments[0])
        row = context.make_array(made)(context, builder)
        nobody = {name: getattr(found, name).type(None) for name in ("meminfo", "parent")}
        cgutils.copy_struct(row, found, nobody)  # type: ignore[no-untyped-call]
        return row._getvalue()

    return made(array), generate


_as_contiguous: Any = intrinsic(_contiguous)


@part
def row(table: np.ndarray, b: int, f: int) -> np.ndarray:
    """The numbers (any) of stream ``b`` and field ``f`` in a part of larger records, (B, R, any).

    A part is strided from stream to stream, but within one its numbers follow each other. The compiler is told so here,
    as it cannot know: loops over the row are then done several numbers at a time.
    """
    numbers: np.ndarray = _as_contiguous(table[b, f])
    return numbers


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
