"""Parquet files as records, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import click

BATCH_ROWS = 1024


@contextmanager
def open_parquet(file: BinaryIO, name: str) -> Iterator[tuple[tuple[str, ...], Iterator[Mapping[str, object]]]]:
    """The columns of a Parquet file and its rows; at no time more than a row group's pages and a batch are in memory.

    Raises:
        click.ClickException: If pyarrow is not installed, or this is no Parquet file.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(f'{name}: Parquet needs pyarrow: pip install "stepahead-server[parquet]"') from error
    try:
        with pq.ParquetFile(file) as parquet:
            names = tuple(parquet.schema_arrow.names)
            if not names:
                raise click.ClickException(f"{name}: no columns")
            if len(set(names)) != len(names):
                raise click.ClickException(f"{name}: each column needs a name of its own, got {', '.join(names)}")
            yield names, _rows(parquet, pa)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise click.ClickException(f"{name} cannot be read: {reason}") from error


def _rows(parquet: Any, pa: Any) -> Iterator[Mapping[str, object]]:
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
        names = batch.schema.names
        columns = [_plain(column, pa).to_pylist() for column in batch.columns]
        for cells in zip(*columns, strict=True):
            yield dict(zip(names, cells, strict=True))


def _plain(column: Any, pa: Any) -> Any:
    """Times to the microsecond, which is what Python's are."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    return column
