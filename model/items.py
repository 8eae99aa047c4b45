"""What is observed: one record of named fields, checked against the spec."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from model.spec import MAX_VALUE_LENGTH, FieldSpec, ModelSpec

MAX_MAGNITUDE = 1e100
"""Largest absolute value of a real field: its square, and that of a difference of two, stay finite."""

_ECHO = 40  # characters of what was sent that an error repeats

_LOST = "(lost value {})"

NO_TIME = np.iinfo(np.int64).min
"""Stands for "no timestamp" among integer microseconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item that fits its spec.

    Args:
        reals: Real fields in spec order; NaN where missing.
        categories: Category fields in spec order; ``None`` where missing.
        timestamp_us: Microseconds since 1970 UTC; ``None`` if the item has no time.
    """

    reals: tuple[float, ...]
    categories: tuple[str | None, ...]
    timestamp_us: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Many items of one spec as columns.

    Args:
        reals: Real fields in spec order, (N, R) float64; NaN where missing.
        categories: For each category field in spec order its N values; ``None`` where missing.
        timestamp_us: Microseconds since 1970 UTC, (N,) int64; :data:`NO_TIME` where an item has no time.
    """

    reals: NDArray[np.float64]
    categories: tuple[list[str | None], ...]
    timestamp_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.reals)

    def __getitem__(self, i: int) -> Item:
        time_us = int(self.timestamp_us[i])
        return Item(
            reals=tuple(self.reals[i].tolist()),
            categories=tuple(column[i] for column in self.categories),
            timestamp_us=None if time_us == NO_TIME else time_us,
        )

    @classmethod
    def of(cls, spec: ModelSpec, items: Sequence[Item]) -> Items:
        """The columns of items that fit the spec."""
        times = [NO_TIME if item.timestamp_us is None else item.timestamp_us for item in items]
        return cls(
            reals=np.array([item.reals for item in items], np.float64).reshape(len(items), len(spec.reals)),
            categories=tuple([item.categories[j] for item in items] for j in range(len(spec.categories))),
            timestamp_us=np.array(times, np.int64),
        )

    @classmethod
    def gather(cls, parts: Sequence[tuple[Items, Sequence[int]]]) -> Items:
        """Chosen rows of columns of one spec, one after the other.

        Args:
            parts: At least one; each has columns, and which of their rows are meant.
        """
        if len(parts) == 1:
            items, rows = parts[0]
            return cls(
                reals=items.reals[rows],
                categories=tuple([column[row] for row in rows] for column in items.categories),
                timestamp_us=items.timestamp_us[rows],
            )
        first, n = parts[0][0], sum(len(rows) for _, rows in parts)
        reals, times = np.empty((n, first.reals.shape[1])), np.empty(n, np.int64)
        begin = 0
        for items, rows in parts:
            end = begin + len(rows)
            reals[begin:end], times[begin:end] = items.reals[rows], items.timestamp_us[rows]
            begin = end
        columns = tuple(
            [items.categories[j][row] for items, rows in parts for row in rows] for j in range(len(first.categories))
        )
        return cls(reals, columns, times)


def parse_item(spec: ModelSpec, values: Mapping[str, object], timestamp_us: int | None = None) -> Item:
    """Check a record against the spec.

    Args:
        spec: Names the fields; those absent from ``values`` are missing.
        values: Field name to number, text, or ``None`` for missing.
        timestamp_us: Microseconds since 1970 UTC.

    Raises:
        ValueError: If a field is unknown, of the wrong type, not finite, too large, or not in a closed vocabulary.
    """
    for name in values:
        if name not in spec.field_names:
            raise ValueError(f"field {name[:_ECHO]!r} is not one of the model's {len(spec.fields)}")
    return Item(
        reals=tuple(_real(field, values.get(field.name)) for field in spec.reals),
        categories=tuple(_category(field, values.get(field.name)) for field in spec.categories),
        timestamp_us=timestamp_us,
    )


def item_values(spec: ModelSpec, item: Item) -> dict[str, float | str | None]:
    """The record that an item was parsed from: every field in spec order, missing ones as ``None``."""
    reals, categories = iter(item.reals), iter(item.categories)
    values: dict[str, float | str | None] = {}
    for field in spec.fields:
        if field.kind == "real":
            number = next(reals)
            values[field.name] = None if math.isnan(number) else number
        else:
            values[field.name] = next(categories)
    return values


def _real(field: FieldSpec, value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"field {field.name!r} takes a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"field {field.name!r}: NaN and infinities are refused; send null for a missing value")
    if abs(number) > MAX_MAGNITUDE:
        raise ValueError(f"field {field.name!r}: the absolute value is over {MAX_MAGNITUDE:g}")
    return number


def _category(field: FieldSpec, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"field {field.name!r} takes a text, got {type(value).__name__}")
    if field.values is not None and value not in field.known_values:
        raise ValueError(f"field {field.name!r}: {value[:_ECHO]!r} is not one of its values")
    if not 1 <= len(value) <= MAX_VALUE_LENGTH:
        raise ValueError(f"field {field.name!r}: a value takes 1 to {MAX_VALUE_LENGTH} characters")
    return value


class Vocabulary:
    """The values each category field knows, in the order they were met; grows up to the field's capacity.

    A closed field knows its ``values`` from the start. In an open field the last slot stands for every value that is
    not known (yet), so that novelty has a probability of its own.

    Where damage cost a value its name, its slot is kept, since beliefs refer to it: no item is of such a value, and
    ``values`` holds what people are shown in its place.

    Args:
        spec: The model's.
        met: As :meth:`add` takes them, those of closed fields included.
    """

    def __init__(self, spec: ModelSpec, met: Sequence[Sequence[str | None]] = ()) -> None:
        self._fields = spec.categories
        self.values: list[list[str]] = [list(f.values or ()) for f in self._fields]
        self._slots: list[dict[str, int]] = [{v: i for i, v in enumerate(values)} for values in self.values]
        if met:
            self.add(met)

    @property
    def n_known(self) -> np.ndarray:
        """Known values per category field, (C,) int64."""
        return np.array([len(values) for values in self.values], dtype=np.int64)

    def slots(self, items: Items) -> NDArray[np.int64]:
        """Slot of each item's value per category field, (B, C) int64; -1 where missing, the last slot where unknown."""
        slots = np.empty((len(items), len(self._fields)), dtype=np.int64)
        for j, (field, known, column) in enumerate(zip(self._fields, self._slots, items.categories, strict=True)):
            unknown = field.n_slots - 1
            slots[:, j] = [-1 if value is None else known.get(value, unknown) for value in column]
        return slots

    def novel(self, items: Items) -> list[list[str]]:
        """Values per field that the items bring and an open field has room for, in order of appearance."""
        return [
            [value for value in dict.fromkeys(column) if value is not None and value not in known][:room]
            if room
            else []
            for column, known, room in zip(items.categories, self._slots, self._room, strict=True)
        ]

    @property
    def _room(self) -> list[int]:
        """How many more values each field takes."""
        return [
            0 if field.capacity is None else max(0, field.capacity - len(values))
            for field, values in zip(self._fields, self.values, strict=True)
        ]

    def admits(self, values: object, *, nameless: bool = False) -> TypeGuard[list[list[str]]]:
        """Whether these are texts for each field, as read from a record, that the fields know or have room for.

        Args:
            values: As they were read.
            nameless: Whether open fields may have some that lost their name.
        """
        if not isinstance(values, list) or len(values) != len(self._fields):
            return False
        for field, known, slots, new in zip(self._fields, self.values, self._slots, values, strict=True):
            if not isinstance(new, list):
                return False
            names = [v for v in new if v is not None]
            if len(names) < len(new) and not (nameless and field.is_open):
                return False
            if not all(isinstance(v, str) and 1 <= len(v) <= MAX_VALUE_LENGTH for v in names):
                return False
            n_after = len(known) + len(set(names) - slots.keys()) + len(new) - len(names)
            if n_after > max(len(known), field.capacity or 0):
                return False
        return True

    @property
    def met(self) -> list[list[str | None]]:
        """The values per field in the order of their slots; ``None`` for one whose name was lost."""
        return [
            [value if slots.get(value) == slot else None for slot, value in enumerate(values)]
            for values, slots in zip(self.values, self._slots, strict=True)
        ]

    def add(self, values: Sequence[Sequence[str | None]]) -> None:
        """Append values per field; those already known are passed over, and ``None`` takes a slot without a name."""
        for j, new in enumerate(values):
            for value in new:
                slot = len(self.values[j])
                if value is None:
                    self.values[j].append(_LOST.format(slot + 1))
                elif value not in self._slots[j]:
                    self._slots[j][value] = slot
                    self.values[j].append(value)

    def padded(self, n_known: Sequence[int]) -> Vocabulary:
        """A copy in which each open field knows at least so many values, if need be some without a name."""
        missing = [
            max(0, min(n, field.capacity) - len(values)) if field.capacity is not None else 0
            for field, values, n in zip(self._fields, self.values, n_known, strict=True)
        ]
        return self.grown([[None] * n for n in missing])

    def named_by(self, other: Vocabulary) -> Vocabulary:
        """A copy that has from ``other`` the names that it lost, and the values that come after its own.

        Args:
            other: Of the same model at another time, so that both have each value in the same slot.
        """
        merged: list[list[str | None]] = []
        for ours, theirs in zip(self.met, other.met, strict=True):
            own = set(ours)
            names = (None if name in own else name for name in theirs)
            merged.append([name or other_name for name, other_name in zip_longest(ours, names)])
        return self._of([[] for _ in merged], [{} for _ in merged]).grown(merged)

    def grown(self, values: Sequence[Sequence[str | None]]) -> Vocabulary:
        """A copy with ``values`` added; self where there are none."""
        if not any(values):
            return self
        copy = self._of([list(v) for v in self.values], [dict(s) for s in self._slots])
        copy.add(values)
        return copy

    def _of(self, values: list[list[str]], slots: list[dict[str, int]]) -> Vocabulary:
        """A vocabulary of the same fields."""
        other = object.__new__(Vocabulary)
        other._fields, other.values, other._slots = self._fields, values, slots
        return other
