"""Rows of tables: pandas and polars frames and flat mappings. Imports neither; frames are read row by row."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from stepahead._rows import Row, RowDict, Table


def rows(source: Iterable[Row] | Table, stream_column: str | None, timestamp_column: str | None) -> Iterable[Row]:
    """Rows as they are, or those of a table.

    Raises:
        ValueError: If a table has no such column, or it is not told which column names the stream.
    """
    if stream_column is None:
        if _is_frame(source):
            raise ValueError("a DataFrame needs stream_column, the column that names a row's stream")
        if timestamp_column is not None:
            raise ValueError("timestamp_column is for rows with a stream_column")
        return cast("Iterable[Row]", source)
    return _rows(source, _Columns(stream_column, timestamp_column, None))


def async_rows(
    source: Iterable[Row] | AsyncIterable[Row] | Table, stream_column: str | None, timestamp_column: str | None
) -> Iterable[Row] | AsyncIterable[Row]:
    """See :func:`rows`."""
    if isinstance(source, AsyncIterable):
        if stream_column is None:
            return source
        return _mapped(source, _Columns(stream_column, timestamp_column, None).row)
    return rows(source, stream_column, timestamp_column)


def items(source: Iterable[Mapping[str, Any]] | Table, stream: str, timestamp_column: str | None) -> Iterable[Row]:
    """The rows of one stream: its items, or a table's.

    Raises:
        ValueError: If a table has no such column.
    """
    return _rows(source, _Columns(None, timestamp_column, stream))


def async_items(
    source: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | Table,
    stream: str,
    timestamp_column: str | None,
) -> Iterable[Row] | AsyncIterable[Row]:
    """See :func:`items`."""
    if isinstance(source, AsyncIterable):
        return _mapped(source, _Columns(None, timestamp_column, stream).row)
    return items(source, stream, timestamp_column)


class _Columns:
    """Where a row's stream and time are; everything else is a field."""

    def __init__(self, stream_column: str | None, timestamp_column: str | None, stream: str | None) -> None:
        self.stream_column, self.timestamp_column, self.stream = stream_column, timestamp_column, stream

    def row(self, record: Any) -> Row:
        """A flat mapping as a row; what is missing of it is refused as a row, in its place."""
        if not isinstance(record, Mapping):  # a pair may name its stream, unless there is but one
            return cast("Row", record if self.stream is None else {"stream": self.stream, "item": record})
        item = dict(record)
        stream = self.stream if self.stream_column is None else value_of(item.pop(self.stream_column, None))
        row: dict[str, Any] = {
            "stream": stream if stream is None or isinstance(stream, str) else str(stream),
            "item": {name: value_of(value) for name, value in item.items()},
        }
        if self.timestamp_column is not None:
            row["item"].pop(self.timestamp_column, None)
            row["timestamp"] = time_of(record.get(self.timestamp_column))
        return cast("RowDict", row)


def _rows(source: Any, columns: _Columns) -> Iterable[Row]:
    if not _is_frame(source):
        return map(columns.row, source)
    names = [str(name) for name in source.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"each column of a frame needs a name of its own, got {', '.join(names)}")
    for column in (columns.stream_column, columns.timestamp_column):
        if column is not None and column not in names:
            raise ValueError(f"the frame has no column {column!r}")
    return (columns.row(dict(zip(names, record, strict=True))) for record in _records(source))


def _records(frame: Any) -> Iterator[tuple[Any, ...]]:
    """The values of a frame, row by row; Python objects are made of a few rows at a time."""
    if hasattr(frame, "iter_rows"):  # polars
        return cast("Iterator[tuple[Any, ...]]", frame.iter_rows())
    return zip(*(iter(frame.iloc[:, i]) for i in range(frame.shape[1])), strict=True)


async def _mapped(source: AsyncIterable[Any], convert: Callable[[Any], Row]) -> AsyncIterator[Row]:
    async for record in source:
        yield convert(record)


def value_of(value: Any) -> Any:
    """A table's value as an item has it: ``None`` for what is missing, Python's numbers for numpy's."""
    if value is None or isinstance(value, (str, int)) or hasattr(value, "__len__"):  # a list is refused with its row
        return value
    if _is_missing(value):
        return None
    if not isinstance(value, float) and hasattr(value, "item"):  # a number of numpy's
        return value.item()
    return value


def time_of(value: Any) -> datetime | str | None:
    """A table's time; one without zone is refused with its row, as it is everywhere."""
    if value is None or isinstance(value, str):
        return value
    if _is_missing(value):
        return None
    if hasattr(value, "to_pydatetime"):  # pandas, whose times have nanoseconds
        return cast("datetime", value.to_pydatetime(warn=False))
    return cast("datetime", value)


def _is_missing(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    if pandas is not None and value is pandas.NA:
        return True
    return bool(value != value)  # noqa: PLR0124 - NaN and NaT are not even themselves


def _is_frame(source: object) -> bool:
    """Whether this is a frame of a library that must have been imported to make it.

    Raises:
        ValueError: If it is only the plan of one.
    """
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(source, polars.LazyFrame):
        raise ValueError("a LazyFrame has no rows yet: collect() it")
    return any(
        (module := sys.modules.get(name)) is not None and isinstance(source, module.DataFrame)
        for name in ("pandas", "polars")
    )
