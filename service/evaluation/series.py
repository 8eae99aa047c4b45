"""Recorded streams as columns, in the order in which their items reach one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from model.items import MAX_MAGNITUDE, NO_TIME, Item
from model.spec import FieldSpec

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Order = Literal["auto", "time", "file", "lockstep"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, slots=True)
class Series:
    """All streams that share one model; N rows in order of arrival, R real and C category fields.

    Args:
        name: Of the file or the column that it comes from.
        fields: What an item is.
        values: Real fields, (N, R); NaN where missing.
        names: Category fields, (N, C) of texts; ``None`` where missing.
        timestamp_us: (N,); ``NO_TIME`` where there is none.
        streams: Names of the streams, (S,).
        stream: Of each row, an index into ``streams``, (N,).
        batch: The micro-batch that each row arrives in, (N,), rising; a stream is in it once.
        place: What rows are counted by, from 0, (N,): all rows in their order, or, in lockstep, each stream's own.
    """

    name: str
    fields: tuple[FieldSpec, ...]
    values: Floats
    names: NDArray[np.object_]
    timestamp_us: Integers
    streams: tuple[str, ...]
    stream: Integers
    batch: Integers
    place: Integers

    @classmethod
    def of(
        cls,
        name: str,
        fields: Sequence[FieldSpec],
        values: Floats,
        names: NDArray[np.object_],
        timestamp_us: Integers,
        streams: Sequence[str],
        stream: Integers,
        order: Order = "auto",
    ) -> Self:
        """Arrange rows, given in the file's order, as they arrive.

        Args:
            name: Of the file or the column.
            fields: What an item is.
            values: (N, R).
            names: (N, C).
            timestamp_us: (N,).
            streams: (S,).
            stream: (N,).
            order: ``file`` keeps the order; ``time`` sorts by time, and what has the same time arrives together;
                ``lockstep`` takes the first item of every stream, then every second one, and so on. ``auto`` is
                ``file`` for one stream, else ``time`` where every row has one, else ``lockstep``.

        Raises:
            ValueError: If rows are to be sorted by times that they do not have.
        """
        timed = bool(len(timestamp_us)) and bool((timestamp_us != NO_TIME).all())
        if order == "auto":
            order = "file" if len(streams) < 2 else "time" if timed else "lockstep"
        if order == "time" and not timed:
            raise ValueError(f"{name}: cannot be sorted by time, rows have none")
        n = len(stream)
        turn = _turns(stream)
        arrival = (
            np.arange(n) if order == "file" else np.argsort(timestamp_us if order == "time" else turn, kind="stable")
        )
        if order == "lockstep":
            batch, place = turn[arrival], turn[arrival]
        else:
            place = np.arange(n)
            batch = _simultaneous(timestamp_us[arrival], stream[arrival]) if order == "time" else place
        return cls(
            name, tuple(fields), values[arrival], names[arrival], timestamp_us[arrival], tuple(streams),
            stream[arrival], batch, place,
        )  # fmt: skip

    @property
    def reals(self) -> list[str]:
        """Names of the real fields."""
        return [field.name for field in self.fields if field.kind == "real"]

    @property
    def categories(self) -> list[str]:
        """Names of the category fields."""
        return [field.name for field in self.fields if field.kind == "category"]

    @property
    def n_streams(self) -> int:
        """How many streams there are (S)."""
        return len(self.streams)

    @property
    def is_lockstep(self) -> bool:
        """Whether rows are counted per stream."""
        return self.n_streams > 1 and bool(len(self.place)) and int(self.place.max()) + 1 < len(self.place)

    def __len__(self) -> int:
        return len(self.stream)

    def until(self, last: int | None) -> Series:
        """The rows before place ``last``; all of them for ``None``."""
        return self if last is None else self.rows(np.flatnonzero(self.place < last))

    def rows(self, index: Integers) -> Series:
        """Only these rows, in their order."""
        parts = ("values", "names", "timestamp_us", "stream", "batch", "place")
        return replace(self, **{name: getattr(self, name)[index] for name in parts})

    def first_scored(self, first: int | None) -> Integers:
        """Place from which each stream's rows are scored, (S,): ``first``, or a quarter of what there is of it."""
        if first is not None:
            return np.full(self.n_streams, first)
        if self.is_lockstep:
            return np.bincount(self.stream, minlength=self.n_streams) // 4
        return np.full(self.n_streams, len(self) // 4)

    def batches(self) -> Iterator[Integers]:
        """Row numbers of each micro-batch."""
        if len(self):
            yield from np.split(np.arange(len(self)), np.flatnonzero(np.diff(self.batch)) + 1)

    def item(self, row: int) -> Item:
        """One row as an item."""
        time_us = int(self.timestamp_us[row])
        return Item(
            reals=tuple(self.values[row].tolist()),
            categories=tuple(self.names[row]),
            timestamp_us=None if time_us == NO_TIME else time_us,
        )

    def by_stream(self) -> list[Integers]:
        """Row numbers of each stream, in order, S arrays."""
        rows = np.argsort(self.stream, kind="stable")
        return np.split(rows, np.cumsum(np.bincount(self.stream, minlength=self.n_streams))[:-1])

    def last_seen(self) -> tuple[Floats, NDArray[np.object_]]:
        """The last value observed before each row in its stream, (N, R) and (N, C); NaN and ``None`` before any."""
        values, names = np.full_like(self.values, np.nan), np.full_like(self.names, None)
        for rows in self.by_stream():
            values[rows] = _before(self.values[rows], ~np.isnan(self.values[rows]), np.nan)
            names[rows] = _before(self.names[rows], self.names[rows] != None, None)  # noqa: E711 - of each element
        return values, names

    def disturbed(self, noise: float, missing: float, seed: int) -> Series:
        """The same streams as a worse sensor would give them; what is fed is also what is scored.

        Args:
            noise: Standard deviation of Gaussian noise that is added to each real value, as a share of the standard
                deviation of that field in that stream.
            missing: Share of all values that are dropped at random.
            seed: Of both.
        """
        if not noise and not missing:
            return self
        values, names = self.values.copy(), self.names.copy()
        source = np.random.default_rng((0x5EED, seed))  # not the learner's own random numbers
        if noise:
            normal = source.standard_normal(values.shape)
            for rows in self.by_stream():
                values[rows] += noise * spread(values[rows]) * normal[rows]
            values = np.clip(values, -MAX_MAGNITUDE, MAX_MAGNITUDE)
        if missing:
            values[source.random(values.shape) < missing] = np.nan
            names[source.random(names.shape) < missing] = None
        return replace(self, values=values, names=names)

    def apart(self) -> list[Series]:
        """One series per field, each for a model of its own."""
        found = []
        for field in self.fields:
            j = (self.reals if field.kind == "real" else self.categories).index(field.name)
            found.append(
                replace(
                    self,
                    name=f"{self.name}:{field.name}",
                    fields=(field,),
                    values=self.values[:, j : j + 1] if field.kind == "real" else self.values[:, :0],
                    names=self.names[:, :0] if field.kind == "real" else self.names[:, j : j + 1],
                )
            )
        return found


def spread(values: Floats) -> Floats:
    """Standard deviation of each column of (N, R), (R,); 0 for a column without values."""
    seen = ~np.isnan(values)
    n = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, values, 0).sum(0) / n
    return np.asarray(np.sqrt(np.where(seen, np.square(values - mean), 0).sum(0) / n))


def _turns(stream: Integers) -> Integers:
    """How many rows of its stream come before each row, (N,)."""
    rows = np.argsort(stream, kind="stable")
    counts = np.bincount(stream)
    turn = np.empty(len(stream), np.int64)
    turn[rows] = np.arange(len(stream)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turn


def _simultaneous(times: Integers, stream: Integers) -> Integers:
    """Batch of each row: consecutive rows of one time, as long as no stream comes twice."""
    batch, current = np.empty(len(times), np.int64), 0
    inside: set[int] = set()
    for i, (time, one) in enumerate(zip(times.tolist(), stream.tolist(), strict=True)):
        if i and (time != times[i - 1] or one in inside):
            current += 1
            inside.clear()
        inside.add(one)
        batch[i] = current
    return batch


def _before(column: np.ndarray, seen: NDArray[np.bool_], nothing: object) -> np.ndarray:
    """Of each row of (N, F) the last one seen before it."""
    at = np.where(seen, np.arange(len(column))[:, None], -1)
    last = np.maximum.accumulate(at, axis=0)
    last = np.concatenate([np.full((1, column.shape[1]), -1), last[:-1]]) if len(column) else last
    found = np.take_along_axis(column, np.maximum(last, 0), 0) if column.size else column.copy()
    found[last < 0] = nothing
    return found
