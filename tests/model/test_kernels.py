"""What compiled code is told apart by."""

from collections.abc import Callable
from types import FunctionType

import numpy as np
import pytest
from numba import njit

from model.kernels import fingerprint, part, row

RATE = 0.5
PLACES = np.array([1.0, 2.0])
NAMED = {"rate": 0.5}


@part
def halved(value: float) -> float:
    """A part that uses a constant."""
    return RATE * value


def kernel_like(value: float) -> float:
    """What a kernel may use: parts and constants."""
    return halved(value) + PLACES[0]


def names_a_dictionary() -> float:
    """A kernel cannot use this."""
    return NAMED["rate"]


def holds_a_function() -> float:
    """Nor this."""
    return max(value + 1 for value in (1.0, 2.0))


def with_globals(function: Callable[..., float], **changed: object) -> Callable[..., float]:
    """The same code, where some globals have another value."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**function.__globals__, **changed}, function.__name__)


def test_a_kernel_is_known_by_all_it_uses() -> None:
    """A change of a constant, also of one that only a part uses, or of a part makes another kernel of it."""
    other_part = part(with_globals(halved.py_func, RATE=0.25))  # type: ignore[attr-defined]
    found = {
        fingerprint(kernel_like),
        fingerprint(with_globals(kernel_like, PLACES=np.array([1.5, 2.0]))),
        fingerprint(with_globals(kernel_like, halved=other_part)),
    }
    assert len(found) == 3


def test_a_kernel_that_stays_is_recognised() -> None:
    """Equal code and equal values make the same kernel; what it does not use does not matter."""
    same = with_globals(kernel_like, PLACES=PLACES.copy(), NAMED={})
    assert fingerprint(same) == fingerprint(kernel_like)


@pytest.mark.parametrize("function", [names_a_dictionary, holds_a_function])
def test_what_cannot_be_told_is_refused(function: Callable[..., float]) -> None:
    """Rather than to run compiled code that may be stale."""
    with pytest.raises(TypeError, match="a kernel takes numbers and parts"):
        fingerprint(function)


@njit
def double_row(table: np.ndarray, b: int, f: int) -> float:
    """Double a row in place; what its numbers came to before."""
    numbers, total = row(table, b, f), 0.0
    for i in range(numbers.size):
        total += numbers[i]
        numbers[i] *= 2
    return total


def test_a_row_is_the_memory_of_the_part() -> None:
    """Of records that are larger than the part, a row is read and changed in its place, and nothing else is."""
    records = np.zeros(3, [("before", np.float64), ("part", np.float32, (2, 5)), ("after", np.int32)])
    records["part"] = np.arange(30, dtype=np.float32).reshape(3, 2, 5)
    expected = records.copy()
    expected["part"][1, 1] *= 2
    assert double_row(records["part"], 1, 1) == sum(range(15, 20))
    assert records.tobytes() == expected.tobytes()
