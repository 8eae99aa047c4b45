"""Files as series: several files or folders, a stream per id, column or row, channels together or apart, bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from model.items import MAX_MAGNITUDE, NO_TIME
from model.spec import MAX_VALUE_LENGTH, FieldSpec
from service.cells import is_missing, parse_number
from service.cli.formats import ENDINGS, open_rows, stem
from service.cli.table import Table, read_table
from service.evaluation.series import Order, Series

BYTES = FieldSpec("byte", "category", values=tuple(f"{byte:02x}" for byte in range(256)))
"""A file's bytes, in hexadecimal; all are known from the start, so that bits count as a compressor's do."""

VALUE = FieldSpec("value")
"""The one field of models whose streams are columns or rows."""

_ENDINGS = tuple(f"{ending}{gz}" for ending in ENDINGS for gz in ("", ".gz"))


@dataclass(frozen=True, slots=True)
class Reading:
    """How files become series.

    Args:
        streams_as: ``columns`` makes each real column, ``rows`` each row a stream of the field ``value``; ``None``
            leaves a file's rows to be items.
        channels: Fields of an item in one model, or each in a model of its own.
        files: Files in a model each, or all as streams of one.
        kind: What files hold; ``None`` for bytes where a name ends in ``.txt``, else to be told by
            :func:`service.cli.formats.open_records`.
        order: See :meth:`service.evaluation.series.Series.of`.
    """

    streams_as: Literal["columns", "rows"] | None = None
    channels: Literal["together", "apart"] = "together"
    files: Literal["apart", "together"] = "apart"
    kind: Literal["csv", "ndjson", "parquet", "bytes"] | None = None
    order: Order = "auto"

    def read(self, paths: Sequence[Path], columns: dict[str, Any]) -> list[Series]:
        """Every series that the files hold, one per model.

        Args:
            paths: Files, or folders whose CSV, NDJSON and Parquet files are meant.
            columns: Arguments of :func:`service.cli.table.read_table`.

        Raises:
            click.ClickException: In one line, if a file cannot be read or files do not fit together.
        """
        files = [file for path in paths for file in _files(path, self.kind == "bytes")]
        series = [self._file(path, columns) for path in files]
        if self.files == "together" and len(series) > 1:
            series = [_together(series, self.order)]
        if self.channels == "apart":
            series = [one for each in series for one in each.apart()]
        return series

    def _file(self, path: Path, columns: dict[str, Any]) -> Series:
        try:
            if self.kind == "bytes" or (self.kind is None and path.suffix == ".txt"):
                return _bytes(path, columns["limit"])
            if self.streams_as == "rows":
                return _rows(path, columns["stream_column"], columns["limit"], self.order)
            series = _items(read_table(path, given=self.kind, **columns), self.order)
            return _columns(series, self.order) if self.streams_as == "columns" else series
        except ValueError as error:
            raise click.ClickException(str(error)) from error


def _files(path: Path, of_bytes: bool) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(file for file in path.rglob("*") if file.is_file() and (of_bytes or file.name.endswith(_ENDINGS)))
    if not found:
        raise click.ClickException(f"{path}: no {'file' if of_bytes else 'CSV, NDJSON or Parquet file'} below it")
    yield from found


def _items(table: Table, order: Order) -> Series:
    """A table whose rows are items."""
    n_rows = table.n_rows or 0
    reals = [spec.name for spec in table.fields if spec.kind == "real"]
    categories = [spec.name for spec in table.fields if spec.kind == "category"]
    values = np.full((n_rows, len(reals)), np.nan)
    names = np.full((n_rows, len(categories)), None, object)
    times = np.full(n_rows, NO_TIME)
    stream = np.zeros(n_rows, np.int64)
    known: dict[str, int] = {}
    for i, row in enumerate(table.rows()):
        values[i] = [row.item[name] for name in reals]  # None becomes NaN
        names[i] = [row.item[name] for name in categories]
        times[i] = NO_TIME if row.timestamp_us is None else row.timestamp_us
        stream[i] = known.setdefault(row.stream, len(known))
        for name in categories:
            text = row.item[name]
            if isinstance(text, str) and len(text) > MAX_VALUE_LENGTH:
                reason = f"a value takes 1 to {MAX_VALUE_LENGTH} characters"
                raise click.ClickException(f"{table.path}, row {i + 1}: field {name!r}: {reason}")
    _check_magnitude(table.path, values)
    return Series.of(stem(table.path), table.fields, values, names, times, tuple(known), stream, order)


def _columns(series: Series, order: Order) -> Series:
    """Each real column as a stream; a cell that is empty is a missing value."""
    if series.n_streams > 1:
        raise ValueError(f"{series.name}: streams are either columns or named by one")
    n, n_streams = series.values.shape
    if not n_streams:
        raise ValueError(f"{series.name}: no column of numbers")
    return Series.of(
        series.name,
        (VALUE,),
        series.values.reshape(-1, 1),
        np.empty((n * n_streams, 0), object),
        np.repeat(series.timestamp_us, n_streams),
        series.reals,
        np.tile(np.arange(n_streams), n),
        "lockstep" if order == "auto" else order,  # they share their rows, with or without times
    )


def _rows(path: Path, name_column: str | None, limit: int | None, order: Order) -> Series:
    """Each line a series, from left to right; it ends with its last number, and a first cell without one names it."""
    streams: list[str] = []
    found: list[np.ndarray] = []
    with open_rows(path) as (header, lines):
        if name_column is not None and name_column not in header:
            raise click.ClickException(f"{path}: no column {name_column!r}")
        at = None if name_column is None else header.index(name_column)
        for number, cells in enumerate(lines, start=1):
            if len(streams) == limit:
                break
            named = at if at is not None else 0 if not is_missing(cells[0]) and parse_number(cells[0]) is None else None
            streams.append(str(number) if named is None else cells[named].strip())
            numbers = [
                np.nan if is_missing(cell) else _parsed(path, number, cell)
                for i, cell in enumerate(cells)
                if i != named
            ]
            kept = np.flatnonzero(~np.isnan(numbers))
            found.append(np.array(numbers[: kept[-1] + 1 if len(kept) else 0]))
    if not any(map(len, found)):
        raise click.ClickException(f"{path}: no rows of numbers")
    values = np.concatenate(found)[:, None]
    _check_magnitude(path, values)
    stream = np.repeat(np.arange(len(found)), [len(one) for one in found])
    times = np.full(len(values), NO_TIME)
    return Series.of(stem(path), (VALUE,), values, np.empty((len(values), 0), object), times, streams, stream, order)


def _parsed(path: Path, number: int, cell: str) -> float:
    value = parse_number(cell)
    if value is None:
        raise click.ClickException(f"{path}, row {number}: {cell!r} is no number")
    return value


def _bytes(path: Path, limit: int | None) -> Series:
    """A file as one stream of bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(-1 if limit is None else limit)
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise click.ClickException(f"{path} cannot be read: {reason}") from error
    if not content:
        raise click.ClickException(f"{path}: no bytes")
    n, texts = len(content), np.array(BYTES.values, object)
    names = texts[np.frombuffer(content, np.uint8)][:, None]
    nothing = np.zeros(n, np.int64)
    return Series.of(path.name, (BYTES,), np.empty((n, 0)), names, np.full(n, NO_TIME), (stem(path),), nothing)


def _together(series: Sequence[Series], order: Order) -> Series:
    """All files as streams of one model; what is a category keeps the most room that a file asked for."""
    first = series[0]
    shape = [(field.name, field.kind, field.values) for field in first.fields]
    for other in series[1:]:
        if [(field.name, field.kind, field.values) for field in other.fields] != shape:
            raise click.ClickException(f"{first.name} and {other.name} have other fields; one model needs the same")
    fields = tuple(
        replace(field, capacity=max(one.fields[j].capacity or 0 for one in series)) if field.is_open else field
        for j, field in enumerate(first.fields)
    )
    streams: list[str] = []
    stream = []
    for one in series:
        stream.append(one.stream + len(streams))
        streams += [one.name] if one.n_streams == 1 else [f"{one.name}/{name}" for name in one.streams]
    values, names, times = (
        np.concatenate([getattr(one, name) for one in series]) for name in ("values", "names", "timestamp_us")
    )
    try:
        return Series.of(f"{len(series)} files", fields, values, names, times, streams, np.concatenate(stream), order)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _check_magnitude(path: Path, values: np.ndarray) -> None:
    rows, _ = np.nonzero(np.abs(values) > MAX_MAGNITUDE)
    if len(rows):
        raise click.ClickException(f"{path}, row {rows[0] + 1}: an absolute value is over {MAX_MAGNITUDE:g}")
