"""Options that name a file and its columns, the same for every command that reads one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from service.cli.formats import FORMATS
from service.cli.table import INFER_ROWS

_COLUMNS = ("stream_column", "stream", "time_column", "fields", "category", "limit")


def split_names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """A list of names that are separated by commas, as a click callback."""
    return () if value is None else tuple(name.strip() for name in value.split(",") if name.strip())


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add FILE, its format and the column options; the command gets them as ``columns``, for ``read_table``."""

    @click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
    @click.option("--format", "given", type=click.Choice(FORMATS), help="What FILE holds.  [default: by its name, else "
                  "by its first bytes]")  # fmt: skip
    @column_options
    @click.option("--sequence-column", metavar="COL", help="Column of each row's position in its stream, from 1.  "
                  "[default: counted from the top]")  # fmt: skip
    @click.option("--infer-rows", type=click.IntRange(1), default=INFER_ROWS, show_default=True, metavar="N",
                  help="Rows of standard input that tell the fields of a new model.")  # fmt: skip
    @wraps(command)
    def with_file(file: Path, columns: dict[str, Any], **given: Any) -> None:
        columns.update({name: given.pop(name) for name in ("given", "sequence_column", "infer_rows")})
        command(columns={"path": file, **columns}, **given)

    return with_file


def column_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the column options; the command gets them as ``columns``, arguments of ``read_table`` but for its path."""

    @click.option("--stream-column", metavar="COL", help="Column that names the stream of each row.")
    @click.option("--stream", metavar="NAME", help="Stream that all rows belong to.  [default: the file's name]")
    @click.option(
        "--time-column",
        "--timestamp-column",
        "time_column",
        metavar="COL",
        help="Column of the times.  [default: looked for]",
    )
    @click.option("--fields", metavar="A,B", callback=split_names, help="Columns to take.  [default: all]")
    @click.option(
        "--category", metavar="A,B", callback=split_names, help="Columns that are categories despite their looks."
    )
    @click.option("--limit", type=click.IntRange(1), metavar="N", help="Rows to take from the top.  [default: all]")
    @wraps(command)
    def with_columns(**given: Any) -> None:
        if given["stream_column"] is not None and given["stream"] is not None:
            raise click.UsageError("give either --stream-column or --stream")
        columns = {name: given.pop(name) for name in _COLUMNS}
        columns["categories"] = columns.pop("category")
        columns["fields"] = columns["fields"] or None
        command(columns=columns, **given)

    return with_columns
