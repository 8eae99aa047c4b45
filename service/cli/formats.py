"""Files and standard input as records: CSV, NDJSON and Parquet, compressed or not, read from top to bottom."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import click

from service.cli.parquet import open_parquet

Format = Literal["csv", "ndjson", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Ends of names, before which a ``.gz`` may stand after CSV and NDJSON."""

STANDARD_INPUT = Path("-")
DELIMITERS = ",;\t|"
MAX_LINE_BYTES = 2**24
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Records:
    """What a file holds, to be read once.

    Args:
        names: Its columns; ``None`` where each record names its own.
        rows: Column to cell; an absent cell is missing.
        typed: Whether numbers are told from texts that look like some.
    """

    names: tuple[str, ...] | None
    rows: Iterator[Record]
    typed: bool


def label(path: Path) -> str:
    """What messages call a file."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def stem(path: Path) -> str:
    """The name of a file without what says its format."""
    name = path.name.removesuffix(".gz")
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return "replay" if name in {"", "-"} else name


@contextmanager
def open_records(path: Path, given: Format | None = None) -> Iterator[Records]:
    """The records of a file, or of standard input for ``-``.

    Args:
        path: Where they are.
        given: What it holds; ``None`` to tell by its name, else by its first bytes, else CSV.

    Raises:
        click.ClickException: In one line, if it cannot be read; while the records are read, too.
    """
    with _told(path), _bytes(path) as file:
        found = given or _by_name(path) or _by_content(file)
        if found == "parquet":
            with _seekable(file) as whole, open_parquet(whole, label(path)) as (names, rows):
                yield Records(names, rows, typed=True)
        elif found == "ndjson":
            yield Records(None, _objects(path, file), typed=True)
        else:
            with _table(path, file) as (header, lines):
                yield Records(tuple(header), (dict(zip(header, cells, strict=True)) for cells in lines), typed=False)


@contextmanager
def open_rows(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header of a CSV file, and the cells of every line after it that is not empty, as many as the header's."""
    with _told(path), _bytes(path) as file, _table(path, file) as table:
        yield table


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise click.ClickException(f"{label(path)} cannot be read: {reason}") from error


@contextmanager
def _bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed where its name or, on standard input, its first bytes say so."""
    if path == STANDARD_INPUT:
        buffered = _standard_input()
        compressed = buffered.peek(2)[:2] == _GZIP
        yield gzip.GzipFile(fileobj=buffered) if compressed else buffered  # type: ignore[misc]
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]


def _standard_input() -> io.BufferedReader:
    """One of its own, as it may be left while another thread reads it."""
    try:
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
    except (OSError, ValueError):  # no file, but something in its place
        raw: Any = sys.stdin.buffer
        return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)


def _by_name(path: Path) -> Format | None:
    return ENDINGS.get(Path(path.name.removesuffix(".gz")).suffix)


def _by_content(file: BinaryIO) -> Format:
    begin: bytes = file.peek(4)  # type: ignore[attr-defined]  # every file that _bytes gives has it
    if begin.startswith(_PARQUET):
        return "parquet"
    return "ndjson" if begin.lstrip().startswith(b"{") else "csv"


@contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """A Parquet file begins at its end: standard input is kept on disk first."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(file, kept)
        kept.seek(0)
        yield kept


@contextmanager
def _table(path: Path, file: BinaryIO) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        first = text.readline()
        delimiter = max(DELIMITERS, key=first.count)
        header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if not any(header):
            raise click.ClickException(f"{label(path)}: no header")
        if len(set(header)) != len(header):
            raise click.ClickException(f"{label(path)}: each column needs a name of its own, got {', '.join(header)}")
        yield header, _cells(path, csv.reader(text, delimiter=delimiter), len(header))
    finally:
        text.detach()  # whoever opened the file closes it


def _cells(path: Path, lines: Iterable[list[str]], n_columns: int) -> Iterator[list[str]]:
    for number, cells in enumerate((cells for cells in lines if cells), start=1):
        if len(cells) > n_columns:
            raise click.ClickException(f"{label(path)}, row {number}: {len(cells)} cells under {n_columns} columns")
        yield cells + [""] * (n_columns - len(cells))


def _objects(path: Path, file: BinaryIO) -> Iterator[Record]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise click.ClickException(f"{label(path)}, row {number + 1}: a line is over {MAX_LINE_BYTES} bytes")
        text = line.decode("utf-8-sig" if number == 0 else "utf-8").strip()
        if not text:
            continue
        number += 1
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.ClickException(f"{label(path)}, row {number}: no JSON: {error}") from error
        if not isinstance(record, dict):
            raise click.ClickException(f"{label(path)}, row {number}: a line holds one JSON object of fields")
        yield record
