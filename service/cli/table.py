"""A file as rows of streams: which column is the time, which the stream, and what kind of field each other one is.

A file is read twice, once to learn its columns and once for its rows, and is never held in memory. Standard input is
read once, and its columns are learned from its first rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import click

from model.spec import FieldSpec
from service.cells import is_missing, iso, parse_number, parse_text, parse_time_us
from service.cli.columns import Column, fields_of, learn_columns
from service.cli.formats import STANDARD_INPUT, Format, Records, label, open_records, stem

INFER_ROWS = 1000
"""Rows of standard input from which the fields of a new model are told."""

LIVE_ROOM = 2
"""Doublings of a category's capacity where only the first rows are known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One item of one stream.

    Args:
        stream: The stream's id.
        item: Field name to number or text; ``None`` where missing.
        timestamp_us: Microseconds since 1970 UTC; ``None`` where the file has no time.
        sequence: Its position in its stream, from 1; ``None`` where the file does not say.
    """

    stream: str
    item: dict[str, float | str | None]
    timestamp_us: int | None
    sequence: int | None = None

    @property
    def timestamp(self) -> str | None:
        """The time as ISO 8601; ``None`` where the file has none."""
        return None if self.timestamp_us is None else iso(self.timestamp_us)


@dataclass(frozen=True, slots=True)
class Table:
    """A file whose columns are known.

    Args:
        path: Where it is; ``-`` for standard input.
        fields: One per column that is none of those below, in the file's order.
        time_column: Name of the time column; ``None`` where the file has none.
        stream_column: Name of the column that names the stream; ``None`` where ``stream`` names it.
        sequence_column: Name of the column that holds each row's position in its stream; ``None`` to count.
        stream: The one stream's id.
        n_rows: Rows that :meth:`rows` gives; ``None`` where only its end will tell.
        limit: Most rows that it gives; ``None`` for all.
        opened: Opens the records; those of standard input can be opened once.
    """

    path: Path
    fields: tuple[FieldSpec, ...]
    time_column: str | None
    stream_column: str | None
    sequence_column: str | None
    stream: str
    n_rows: int | None
    limit: int | None
    opened: Callable[[], AbstractContextManager[Records]]

    @property
    def label(self) -> str:
        """What messages call it."""
        return label(self.path)

    def rows(self) -> Iterator[Row]:
        """Every row, in the file's order.

        Raises:
            click.ClickException: If the file cannot be read, or a cell does not fit its column.
        """
        kinds = [(spec.name, spec.kind == "real") for spec in self.fields]
        time, stream, sequence = self.time_column, self.stream_column, self.sequence_column
        with self.opened() as records:
            for number, cells in enumerate(islice(records.rows, self.limit), start=1):
                yield Row(
                    stream=self.stream if stream is None else self._stream(number, cells.get(stream)),
                    item={name: self._value(number, name, cells.get(name), is_real) for name, is_real in kinds},
                    timestamp_us=None if time is None else self._time(number, cells.get(time)),
                    sequence=None if sequence is None else self._sequence(number, cells.get(sequence)),
                )

    def _stream(self, number: int, cell: object) -> str:
        stream = parse_text(cell)
        if stream is None or stream in {"", ".", ".."} or "/" in stream or not stream.isprintable():
            raise self._bad_cell(number, self.stream_column, f"{cell!r} cannot name a stream")
        return stream

    def _value(self, number: int, name: str, cell: object, is_real: bool) -> float | str | None:
        if is_missing(cell):
            return None
        value = parse_number(cell) if is_real else parse_text(cell)
        if value is None:
            hint = f"is no number; --category {name} makes it a category" if is_real else "is no value"
            raise self._bad_cell(number, name, f"{cell!r} {hint}")
        return value

    def _time(self, number: int, cell: object) -> int | None:
        if is_missing(cell):
            return None
        time_us = parse_time_us(cell)
        if time_us is None:
            raise self._bad_cell(number, self.time_column, f"{cell!r} is no time")
        return time_us

    def _sequence(self, number: int, cell: object) -> int:
        value = parse_number(cell)
        if value is None or value < 1 or not value.is_integer():
            raise self._bad_cell(number, self.sequence_column, f"{cell!r} is no position from 1 on")
        return int(value)

    def _bad_cell(self, number: int, column: str | None, reason: str) -> click.ClickException:
        return click.ClickException(f"{self.label}, row {number}, column {column!r}: {reason}")


def read_table(
    path: Path,
    *,
    given: Format | None = None,
    stream_column: str | None = None,
    stream: str | None = None,
    time_column: str | None = None,
    sequence_column: str | None = None,
    fields: Sequence[str] | None = None,
    categories: Collection[str] = (),
    like: Sequence[FieldSpec] | None = None,
    limit: int | None = None,
    infer_rows: int = INFER_ROWS,
) -> Table:
    """Learn the columns of a file.

    Numeric columns are real, all others categories with an open vocabulary that has room for what the file holds.
    Columns without any value are left out, and so are further columns of times, and of lists and the like.

    Args:
        path: CSV or NDJSON, both perhaps with ``.gz``, or Parquet; ``-`` for standard input. CSV has a header; its
            cells are separated by ``,`` ``;`` ``|`` or tabs.
        given: What it holds; ``None`` to find out.
        stream_column: Names the stream of each row; ``None`` if all rows are one stream.
        stream: The one stream's id; ``None`` for the file's name.
        time_column: Of the times, ISO 8601 (UTC where it has no zone) or seconds, ms, us or ns since 1970; ``None`` to
            look for one.
        sequence_column: Of each row's position in its stream; ``None`` to count.
        fields: Columns to take; ``None`` for all.
        categories: Columns that are categories even if they look like numbers.
        like: Fields of a model that exists: columns take their kinds, and other columns are left out.
        limit: Rows to take from the top; ``None`` for all.
        infer_rows: Rows of standard input that are read to tell the fields of a new model.

    Raises:
        click.ClickException: In one line, if the file or a column cannot be read.
    """
    name, live = label(path), path == STANDARD_INPUT
    opened: Callable[[], AbstractContextManager[Records]] = partial(open_records, path, given)
    head = limit
    if live:
        head = min(infer_rows if like is None else 1, limit or infer_rows)
        opened = Once(opened, head)
    with opened() as records:
        columns, n_rows = learn_columns(records.names, islice(records.rows, head), typed=records.typed)
        later = records.names is None  # what the first records lack may come in a later one
    if n_rows == 0:
        raise click.ClickException(f"{name}: no rows")
    if like is not None and later and any(spec.name in columns for spec in like):
        columns.update({spec.name: Column() for spec in like if spec.name not in columns})
    _check_named(name, columns, (stream_column, time_column, sequence_column, *(fields or ()), *categories))
    if time_column is None:
        aside = (stream_column, sequence_column)
        time_column = next((c for c in columns if c not in aside and columns[c].is_time(c)), None)
    elif not columns[time_column].all_times:
        raise click.ClickException(f"{name}: column {time_column!r} holds what is no time")
    names = [column for column in columns if column not in (stream_column, sequence_column, time_column)]
    if like is None:
        try:
            specs = fields_of(columns, names, fields, categories, room=LIVE_ROOM if live else 0)
        except ValueError as error:
            raise click.ClickException(f"{name}: {error}") from error
    else:
        kinds = {spec.name: spec for spec in like}
        specs = tuple(kinds[c] for c in names if c in kinds and (fields is None or c in fields))
    if not specs:
        wanted = "" if like is None else f" that the model has ({', '.join(repr(spec.name) for spec in like)})"
        raise click.ClickException(f"{name}: no column{wanted} to predict")
    n_known = None if live else n_rows
    one = stream or stem(path)
    return Table(path, specs, time_column, stream_column, sequence_column, one, n_known, limit, opened)


class Once:
    """Records that can be read once, of which the first are looked at before.

    Args:
        opened: Opens them.
        n_head: How many are looked at; they are kept until they are read.
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Records]], n_head: int) -> None:
        with ExitStack() as stack:
            self._records = stack.enter_context(opened())
            self._head = list(islice(self._records.rows, n_head))
            self._open = stack.pop_all()
        self._looked = False

    @contextmanager
    def __call__(self) -> Iterator[Records]:
        """First those that are looked at, then all."""
        if not self._looked:
            self._looked = True
            yield replace(self._records, rows=iter(self._head))
            return
        with self._open:
            yield replace(self._records, rows=chain(self._given_up(), self._records.rows))

    def _given_up(self) -> Iterator[Mapping[str, object]]:
        head, self._head = self._head, []
        yield from head


def _check_named(name: str, columns: Mapping[str, Column], named: Sequence[str | None]) -> None:
    for column in named:
        if column is not None and column not in columns:
            raise click.ClickException(f"{name}: no column {column!r}; there are {', '.join(map(repr, columns))}")
