"""The same rows as CSV, NDJSON and Parquet, from files and from standard input."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.spec import FieldSpec
from service.cli import parquet
from service.cli.formats import STANDARD_INPUT
from service.cli.sources import Reading
from service.cli.table import Row, Table, read_table

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = 1_767_225_600_000_000
N_ROWS = 10
RECORDS: list[dict[str, Any]] = [
    {
        "time": START.isoformat(),
        "site": f"s{i % 2}",
        "load": None if i == 3 else i / 4,
        "state": "idle" if i % 2 else "busy",
        "n": i // 2 + 1,
    }
    for i in range(N_ROWS)
]
COLUMNS = {"stream_column": "site", "sequence_column": "n"}
FIELDS = (FieldSpec("load"), FieldSpec("state", "category", capacity=32))
ROWS = [
    Row(record["site"], {"load": record["load"], "state": record["state"]}, START_US, record["n"]) for record in RECORDS
]


def as_csv() -> bytes:
    """The records, a missing value as an empty cell."""
    lines = [",".join(RECORDS[0])] + [
        ",".join("" if cell is None else str(cell) for cell in r.values()) for r in RECORDS
    ]
    return "\n".join(lines).encode()


def as_ndjson() -> bytes:
    """The records; a missing value is an absent key, and a blank line is none."""
    lines = (json.dumps({name: cell for name, cell in r.items() if cell is not None}) for r in RECORDS)
    return "\n\n".join(lines).encode()


def as_parquet() -> bytes:
    """The records in several row groups, with times to the nanosecond as pandas writes them, and a list beside them."""
    table = pa.Table.from_pylist(RECORDS)
    times = pa.array([START] * N_ROWS, pa.timestamp("ns", tz="UTC"))
    table = table.set_column(0, "time", times).append_column("tags", pa.array([["a"]] * N_ROWS))
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=4)
    return file.getvalue()


CONTENT = {
    "a.csv": as_csv,
    "a.ndjson": as_ndjson,
    "a.jsonl.gz": lambda: gzip.compress(as_ndjson()),
    "a.parquet": as_parquet,
    "parquet": as_parquet,
    "ndjson": as_ndjson,
}


class Pipe(io.RawIOBase):
    """Standard input as a pipe gives it: in pieces, and only forward."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content, self._rest = content, b""
        self.n_bytes = 0

    def readable(self) -> bool:
        """As it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next piece."""
        self._rest = self._rest or next(self._content, b"")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        self.n_bytes += len(piece)
        return len(piece)


def pipe(monkeypatch: pytest.MonkeyPatch, content: Iterator[bytes]) -> Pipe:
    """Make this standard input."""
    raw = Pipe(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(raw)))
    return raw


def check(table: Table) -> None:
    """Whether it is the records."""
    assert table.fields == FIELDS
    assert list(table.rows()) == ROWS


@pytest.mark.parametrize("name", CONTENT)
def test_formats_hold_the_same_rows(tmp_path: Path, name: str) -> None:
    """Told by the name, or where that says nothing by the first bytes; a file is read as often as one likes."""
    path = tmp_path / name
    path.write_bytes(CONTENT[name]())
    table = read_table(path, **COLUMNS)
    assert table.n_rows == N_ROWS
    check(table)
    check(table)


@pytest.mark.parametrize("name", CONTENT)
def test_standard_input_is_told_by_its_first_bytes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is read once, and compressed or not; the vocabulary has room for what comes later."""
    content = CONTENT[name]()
    pipe(monkeypatch, (content[i : i + 7] for i in range(0, len(content), 7)))
    table = read_table(STANDARD_INPUT, **COLUMNS)
    assert (table.n_rows, table.label) == (None, "standard input")
    assert table.fields == (FIELDS[0], FieldSpec("state", "category", capacity=128))
    assert list(table.rows()) == ROWS


def test_endless_input_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new model's fields come from as many rows as asked; a model that exists needs one, which may lack fields."""

    def endless() -> Iterator[bytes]:
        yield b'{"load": 1}\n'
        while True:
            yield b'{"load": 2, "state": "busy"}\n'

    raw = pipe(monkeypatch, endless())
    table = read_table(STANDARD_INPUT, infer_rows=5)
    assert [f.name for f in table.fields] == ["load", "state"]
    read = raw.n_bytes
    rows = table.rows()
    assert [next(rows).item for _ in range(5_000)][:2] == [{"load": 1.0, "state": None}, {"load": 2.0, "state": "busy"}]
    assert read < 2 * io.DEFAULT_BUFFER_SIZE
    rows.close()
    pipe(monkeypatch, iter([b'{"load": 1}\n', b'{"state": "busy"}\n']))
    table = read_table(STANDARD_INPUT, like=FIELDS, stream="s")
    assert [row.item for row in table.rows()] == [{"load": 1.0, "state": None}, {"load": None, "state": "busy"}]


def test_typed_texts_are_no_numbers(tmp_path: Path) -> None:
    """A code stays a code where the format tells texts from numbers; booleans are categories."""
    path = tmp_path / "a.ndjson"
    path.write_text('{"code": "01", "on": true, "x": 1}\n{"code": "1", "on": false, "x": NaN}\n')
    table = read_table(path)
    assert [f.kind for f in table.fields] == ["category", "category", "real"]
    assert [row.item for row in table.rows()] == [
        {"code": "01", "on": "true", "x": 1.0},
        {"code": "1", "on": "false", "x": None},
    ]


def test_evaluation_reads_what_replay_reads(tmp_path: Path) -> None:
    """The series of a folder are the same whatever their format."""
    for name in ("a.csv", "b.ndjson", "c.parquet"):
        (tmp_path / name).write_bytes({"a": as_csv, "b": as_ndjson, "c": as_parquet}[name[0]]())
    columns = {"stream_column": "site", "fields": ["load"], "limit": None}
    first, *others = Reading().read([tmp_path], columns)
    assert len(others) == 2
    for other in others:
        np.testing.assert_array_equal(first.values, other.values)
        np.testing.assert_array_equal(first.timestamp_us, other.timestamp_us)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.ndjson", b"", {}, "no rows"),
        ("a.ndjson", b'{"a": 1}\n{"a"\n', {}, "row 2: no JSON"),
        ("a.ndjson", b"[1]\n", {}, "row 1: a line holds one JSON object"),
        ("a.ndjson", b'{"a": 1}\n', {"like": [FieldSpec("b")]}, "no column that the model has ('b')"),
        ("a.ndjson", b'{"a": [1]}\n', {"like": [FieldSpec("a")]}, "row 1, column 'a': [1] is no number"),
        ("a.ndjson", b'{"a": 1, "n": 0}\n', {"sequence_column": "n"}, "row 1, column 'n': 0 is no position"),
        ("a.ndjson", b'{"a": 1}\n', {"time_column": "t"}, "no column 't'"),
        ("a.parquet", b"PAR1 and then nothing", {}, "cannot be read"),
        ("a.jsonl.gz", b"{}", {}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, options: dict[str, Any], message: str
) -> None:
    """With the file, and the row where there is one."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(click.ClickException) as caught:
        list(read_table(tmp_path / name, **options).rows())
    assert message in caught.value.message
    assert str(tmp_path / name) in caught.value.message
    assert "\n" not in caught.value.message


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with the extra's name."""
    (tmp_path / "a.parquet").write_bytes(as_parquet())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(click.ClickException, match=r"stepahead-server\[parquet\]"):
        read_table(tmp_path / "a.parquet")


def test_parquet_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group is not turned into rows as a whole."""
    monkeypatch.setattr(parquet, "BATCH_ROWS", 3)
    made: list[int] = []
    plain = parquet._plain

    def counted(column: Any, arrow: Any) -> Any:
        made.append(len(column))
        return plain(column, arrow)

    monkeypatch.setattr(parquet, "_plain", counted)
    path = tmp_path / "a.parquet"
    path.write_bytes(as_parquet())
    rows = read_table(path, **COLUMNS, fields=["load"]).rows()
    made.clear()
    next(rows)
    assert made == [3] * 6
    rows.close()
