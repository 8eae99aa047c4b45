"""What a model has counted: one table of contexts for all its category fields and streams."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model import codec
from model.ngrams import learning, lookup
from model.spec import ModelSpec

ORDER = 5
"""Tokens of the longest context (N)."""

MAX_ROWS = 1 << 19
"""Most rows of a model's table, 32 bytes each; then contexts not met for longest give way."""

KINDS = (ORDER + 1) * lookup.CLASSES
"""Kinds of context (S), by the longest that was met before and its number of successors."""

_Used: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_MIN_ROWS = 1 << 6
_FILLED = 0.5  # of the rows, before their number is doubled
_START = (0.75, 0.9, 0.1)  # discounts of single and larger counts, concentration
_ARRAYS = ("rows", "singles", "state", "smoothing", "squares", "exponents", "curvature", "weights")
ENCODED = (*_ARRAYS[1:], "places", "rows")
"""What the arrays of :meth:`Counts.encode` are, in order: parts of :class:`Counts`, then places and content of the rows
in use."""

_LESSON = ("tokens", "observed", "named", "n_known", "kinds", "slopes", "likelihood")
_START_EXPONENTS = (0.4, 0.6)  # of network and counts


@dataclass(slots=True)
class Shape:
    """What of a spec the table depends on: where each category field's slots start (C + 1), and which are open."""

    starts: NDArray[np.int64]
    is_open: NDArray[np.bool_]

    @classmethod
    def of(cls, spec: ModelSpec) -> Shape:
        """The shape of a model's table."""
        starts = np.cumsum([0, *(f.n_slots for f in spec.categories)], dtype=np.int64)
        return cls(starts, np.array([f.is_open for f in spec.categories], np.bool_))

    @property
    def n_fields(self) -> int:
        """Category fields (C)."""
        return len(self.is_open)

    @property
    def n_slots(self) -> int:
        """Slots of all category fields (V)."""
        return int(self.starts[-1])


@dataclass(slots=True)
class Counts:
    """The table and what is learned about using it. Changes in place, by :meth:`learn` alone.

    One thread may learn while others look: each looks at a :meth:`copy`, and learning and copying exclude each other.

    Args:
        shape: Of the model.
        rows: See :mod:`model.ngrams.lookup`, (R, 8); R is a power of two.
        singles: Counts without context, (V,).
        state: Rows in use, values counted.
        smoothing: Logits of the discounts and logarithm of the concentration, by field, order and class, (C, N, 3, 3).
        squares: Summed squares of their gradients.
        exponents: Of network and counts in the blend, by field and kind of context, (C, S, 2).
        curvature: Of the log loss along them, summed with forgetting.
        weights: Of network, counts and blend that a new stream starts with, (C, 3).
    """

    shape: Shape
    rows: NDArray[np.uint32]
    singles: NDArray[np.uint32]
    state: NDArray[np.int64]
    smoothing: NDArray[np.float64]
    squares: NDArray[np.float64]
    exponents: NDArray[np.float64]
    curvature: NDArray[np.float64]
    weights: NDArray[np.float64]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def fresh(cls, spec: ModelSpec) -> Counts:
        """A table that has counted nothing."""
        shape = Shape.of(spec)
        n = shape.n_fields
        single, larger, concentration = _START
        start = (_logit(single), _logit(larger / 2), np.log(concentration))
        smoothing = np.tile(start, (n, ORDER, lookup.CLASSES, 1))
        return cls(
            shape,
            rows=np.zeros((_MIN_ROWS, lookup.ROW), np.uint32),
            singles=np.zeros(shape.n_slots, np.uint32),
            state=np.zeros(2, np.int64),
            smoothing=smoothing,
            squares=np.full(smoothing.shape, learning.START_SQUARES),
            exponents=np.tile(_START_EXPONENTS, (n, KINDS, 1)),
            curvature=np.zeros((n, KINDS, 2)),
            weights=np.tile(learning.START, (n, 1)),
        )

    @property
    def used(self) -> _Used:
        """What a prediction is made from, as the kernels take it."""
        return self.rows, self.singles, self.smoothing, self.exponents, self.shape.starts, self.shape.is_open

    def copy(self) -> Counts:
        """The same as it is now; what either learns from then on the other does not know."""
        with self._lock:
            return Counts(self.shape, **{name: getattr(self, name).copy() for name in _ARRAYS})

    def learn(self, lessons: np.ndarray) -> None:
        """Count what streams observed, and learn from it how to weigh counts.

        Args:
            lessons: One per stream, see :func:`model.ngrams.mix.lesson_dtype`; the order matters.
        """
        parts = [np.ascontiguousarray(lessons[name]) for name in _LESSON]
        with self._lock:
            self._make_room(int((lessons["observed"] >= 0).sum()) * ORDER)
            learning.learn(*self.used, self.state, self.squares, self.curvature, self.weights, *parts)

    def encode(self) -> tuple[dict[str, int], list[np.ndarray]]:
        """What :meth:`decode` reads: numbers that go before, and arrays. Of the rows only those in use."""
        with self._lock:
            places = np.flatnonzero(self.rows[:, 0])
            return {"n_rows": len(self.rows), "n_used": len(places)}, [
                *(array.copy() for array in self._arrays()),
                places.astype(np.uint32),
                self.rows[places],
            ]

    @classmethod
    def decode(cls, spec: ModelSpec, meta: Any, payload: memoryview) -> Counts:
        """Read back what :meth:`encode` gave.

        Raises:
            DamagedRecord: If it is not a table of this spec.
        """
        counts = cls.fresh(spec)
        others = counts._arrays()
        n_rows, n_used = (meta.get(name) for name in ("n_rows", "n_used")) if isinstance(meta, dict) else (None, None)
        if not (codec.is_count(n_rows) and codec.is_count(n_used)):
            raise _damaged("it has no counts")
        if not (_MIN_ROWS <= n_rows <= MAX_ROWS and n_rows & (n_rows - 1) == 0 and n_used <= n_rows):
            raise _damaged(f"a table of {n_used} in {n_rows} rows")
        if len(payload) != sum(array.nbytes for array in others) + n_used * 4 * (1 + lookup.ROW):
            raise _damaged("its counts are not of the model's layout")
        at = 0
        for array in others:
            array[...] = np.frombuffer(payload, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes
        places = np.frombuffer(payload, np.uint32, n_used, at)
        if n_used and (int(places[-1]) >= n_rows or (np.diff(places.astype(np.int64)) <= 0).any()):
            raise _damaged("its rows are out of place")
        counts.rows = np.zeros((n_rows, lookup.ROW), np.uint32)
        counts.rows[places] = np.frombuffer(payload, np.uint32, n_used * lookup.ROW, at + places.nbytes).reshape(
            -1, lookup.ROW
        )
        counts._check(n_used)
        return counts

    def _arrays(self) -> list[np.ndarray]:
        """All but the rows."""
        return [getattr(self, name) for name in _ARRAYS[1:]]

    def _check(self, n_used: int) -> None:
        """Return if kernels can count and predict with what was read: nothing divides by 0, every share is one.

        Raises:
            DamagedRecord: If a part is not as learning leaves it; names it.
        """
        for name, (least, most) in learning.BOUNDS.items():
            array = getattr(self, name)
            if not ((array >= least) & (array <= most)).all():
                raise _damaged(f"its counts.{name} is out of its bounds")
        if not lookup.are_shares(self.weights):
            raise _damaged("its counts.weights are not shares of 1")
        in_use, n_counted = self.state.tolist()
        if in_use != n_used or not 0 <= n_counted <= codec.MAX_COUNT:
            raise _damaged("its counts.state is not of its rows")
        if not lookup.are_rows(self.rows[self.rows.any(1)], n_used):
            raise _damaged("its counts.rows are not rows that were counted in")

    def _make_room(self, n_more: int) -> None:
        """Double the table until so many more rows fit, or it may not grow further."""
        n_rows = len(self.rows)
        while n_rows < MAX_ROWS and self.state[0] + n_more > _FILLED * n_rows:
            n_rows *= 2
        if n_rows > len(self.rows):
            larger = np.zeros((n_rows, lookup.ROW), np.uint32)
            learning.move(self.rows, larger)
            self.rows, self.state[0] = larger, np.count_nonzero(larger[:, 0])


def _damaged(why: str) -> codec.DamagedRecord:
    return codec.DamagedRecord(codec.Kind.WEIGHTS, why)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
