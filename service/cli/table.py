"""A CSV file as rows of streams: which column is the time, which the stream, and what kind of field each other one is.

The file is read twice, once to learn its columns and once for its rows, and is never held in memory.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

import click

from model.spec import MAX_VALUES, FieldSpec

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity"})
"""Cells, in lower case, that stand for no value; infinities are refused everywhere, and no measurement."""

TIME_NAMES = frozenset({"timestamp", "time", "date", "datetime", "ts"})
"""Column names, in lower case, that are taken for the time if their cells can be read as times."""

DELIMITERS = ",;\t|"
MIN_CAPACITY = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One item of one stream.

    Args:
        stream: The stream's id.
        item: Field name to number or text; ``None`` where missing.
        timestamp_us: Microseconds since 1970 UTC; ``None`` where the file has no time.
    """

    stream: str
    item: dict[str, float | str | None]
    timestamp_us: int | None

    @property
    def timestamp(self) -> str | None:
        """The time as ISO 8601; ``None`` where the file has none."""
        return None if self.timestamp_us is None else _iso(self.timestamp_us)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file whose columns are known.

    Args:
        path: ``.csv`` or ``.csv.gz``.
        fields: One per column that is neither the time nor the stream, in the file's order.
        time_column: Header of the time column; ``None`` where the file has none.
        stream_column: Header of the column that names the stream; ``None`` where ``stream`` names it.
        stream: The one stream's id.
        n_rows: Rows that :meth:`rows` gives.
    """

    path: Path
    fields: tuple[FieldSpec, ...]
    time_column: str | None
    stream_column: str | None
    stream: str
    n_rows: int

    def rows(self) -> Iterator[Row]:
        """Every row, in the file's order.

        Raises:
            click.ClickException: If the file cannot be read, or a cell does not fit its column.
        """
        with open_rows(self.path) as (header, lines):
            places = [(spec.name, header.index(spec.name), spec.kind == "real") for spec in self.fields]
            time = None if self.time_column is None else header.index(self.time_column)
            stream = None if self.stream_column is None else header.index(self.stream_column)
            for number, cells in enumerate(islice(lines, self.n_rows), start=1):
                yield Row(
                    stream=self.stream if stream is None else self._stream(number, cells[stream]),
                    item={name: self._value(number, name, cells[at], is_real) for name, at, is_real in places},
                    timestamp_us=None if time is None else self._time(number, cells[time]),
                )

    def _stream(self, number: int, cell: str) -> str:
        stream = cell.strip()
        if stream in {"", ".", ".."} or "/" in stream or not stream.isprintable():
            raise _bad_cell(self.path, number, self.stream_column, f"{cell!r} cannot name a stream")
        return stream

    def _value(self, number: int, name: str, cell: str, is_real: bool) -> float | str | None:
        if is_missing(cell):
            return None
        if not is_real:
            return cell.strip()
        value = parse_number(cell)
        if value is None:
            raise _bad_cell(self.path, number, name, f"{cell!r} is no number; --category {name} makes it a category")
        return value

    def _time(self, number: int, cell: str) -> int | None:
        if is_missing(cell):
            return None
        time_us = parse_time_us(cell)
        if time_us is None:
            raise _bad_cell(self.path, number, self.time_column, f"{cell!r} is no time")
        return time_us


def read_table(
    path: Path,
    *,
    stream_column: str | None = None,
    stream: str | None = None,
    time_column: str | None = None,
    fields: Sequence[str] | None = None,
    categories: Collection[str] = (),
    like: Sequence[FieldSpec] | None = None,
    limit: int | None = None,
) -> Table:
    """Learn the columns of a CSV file.

    Numeric columns are real, all others categories with an open vocabulary that has room for what the file holds.
    Columns without any value are left out, and so are further columns of times.

    Args:
        path: ``.csv`` or ``.csv.gz``, with a header; cells are separated by ``,`` ``;`` ``|`` or tabs.
        stream_column: Names the stream of each row; ``None`` if all rows are one stream.
        stream: The one stream's id; ``None`` for the file's name.
        time_column: Of the times, ISO 8601 (UTC where it has no zone) or seconds, ms, us or ns since 1970; ``None`` to
            look for one.
        fields: Columns to take; ``None`` for all.
        categories: Columns that are categories even if they look like numbers.
        like: Fields of a model that exists: columns take their kinds, and other columns are left out.
        limit: Rows to take from the top; ``None`` for all.

    Raises:
        click.ClickException: In one line, if the file or a column cannot be read.
    """
    named = [name for name in (stream_column, time_column, *(fields or ()), *categories) if name is not None]
    columns, n_rows = _learn_columns(path, named, limit)
    if time_column is None:
        time_column = next((name for name, c in columns.items() if name != stream_column and c.is_time(name)), None)
    elif not columns[time_column].all_times:
        raise click.ClickException(f"{path}: column {time_column!r} holds what is no time")
    names = [name for name in columns if name not in (stream_column, time_column)]
    if fields is not None:
        names = [name for name in names if name in fields]
    else:
        names = [name for name in names if columns[name].n_values and not columns[name].all_iso]
    if like is None:
        try:
            specs = [columns[name].spec(name, name in categories) for name in names]
        except ValueError as error:
            raise click.ClickException(f"{path}: {error}") from error
    else:
        kinds = {spec.name: spec for spec in like}
        specs = [kinds[name] for name in columns if name in kinds and (fields is None or name in fields)]
    if not specs:
        wanted = "" if like is None else f" that the model has ({', '.join(repr(spec.name) for spec in like)})"
        raise click.ClickException(f"{path}: no column{wanted} to predict")
    return Table(path, tuple(specs), time_column, stream_column, stream or stem(path), n_rows)


def is_missing(cell: str) -> bool:
    """Whether a cell stands for no value."""
    return cell.strip().lower() in MISSING


def parse_time_us(cell: str) -> int | None:
    """Microseconds since 1970 UTC of a time, ``None`` if it is none.

    ISO 8601, UTC where it has no zone; or a count since 1970 whose size tells its unit: s, ms, us or ns.
    """
    number = parse_number(cell)
    if number is None:
        return _parse_iso_us(cell)
    for unit_us, most in ((1e6, 1e11), (1e3, 1e14), (1.0, 1e17), (1e-3, 1e20)):
        if abs(number) < most:
            return round(number * unit_us)
    return None


@dataclass(slots=True)
class _Column:
    """What the cells of a column have in common."""

    all_numbers: bool = True
    all_times: bool = True
    all_iso: bool = True
    n_values: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, cell: str) -> None:
        if is_missing(cell):
            return
        self.n_values += 1
        self.all_numbers = self.all_numbers and parse_number(cell) is not None
        self.all_iso = self.all_iso and _parse_iso_us(cell) is not None
        self.all_times = self.all_times and (self.all_iso or parse_time_us(cell) is not None)
        if len(self.distinct) <= MAX_VALUES:
            self.distinct.add(cell.strip())

    def is_time(self, name: str) -> bool:
        if not self.n_values:
            return False
        return self.all_iso or (self.all_times and name.strip().lower() in TIME_NAMES)

    def spec(self, name: str, is_category: bool) -> FieldSpec:
        if self.all_numbers and not is_category:
            return FieldSpec(name)
        # a power of two, so that a file that grew by some values still fits the same model
        room = 1 << max(len(self.distinct), MIN_CAPACITY).bit_length()
        return FieldSpec(name, "category", capacity=min(room, MAX_VALUES))


def _learn_columns(path: Path, named: Sequence[str], limit: int | None) -> tuple[dict[str, _Column], int]:
    """Every column by its header, and the number of rows; ``named`` columns must be there."""
    with open_rows(path) as (header, lines):
        for name in named:
            if name not in header:
                raise click.ClickException(f"{path}: no column {name!r}; there are {', '.join(map(repr, header))}")
        columns, n_rows = {name: _Column() for name in header}, 0
        for cells in islice(lines, limit):
            n_rows += 1
            for column, cell in zip(columns.values(), cells, strict=True):
                column.add(cell)
    if n_rows == 0:
        raise click.ClickException(f"{path}: no rows")
    return columns, n_rows


@contextmanager
def open_rows(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header, and the cells of every line after it that is not empty, as many as the header's."""
    try:
        with _text(path) as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=first.count)
            header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
            if not any(header):
                raise click.ClickException(f"{path}: no header")
            if len(set(header)) != len(header):
                raise click.ClickException(f"{path}: each column needs a name of its own, got {', '.join(header)}")
            yield header, _cells(path, csv.reader(file, delimiter=delimiter), len(header))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise click.ClickException(f"{path} cannot be read: {reason}") from error


def _cells(path: Path, lines: Iterator[list[str]], n_columns: int) -> Iterator[list[str]]:
    for number, cells in enumerate((cells for cells in lines if cells), start=1):
        if len(cells) > n_columns:
            raise click.ClickException(f"{path}, row {number}: {len(cells)} cells under {n_columns} columns")
        yield cells + [""] * (n_columns - len(cells))


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def stem(path: Path) -> str:
    """The name of a file without what says its format."""
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".csv") or "replay"


def parse_number(cell: str) -> float | None:
    """A finite number; ``None`` if the cell is none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _parse_iso_us(cell: str) -> int | None:
    if "-" not in cell:  # "20260101" is a number before it is a day
        return None
    try:
        time = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _iso(timestamp_us: int) -> str:
    seconds, microseconds = divmod(timestamp_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds).isoformat()


def _bad_cell(path: Path, number: int, column: str | None, reason: str) -> click.ClickException:
    return click.ClickException(f"{path}, row {number}, column {column!r}: {reason}")
