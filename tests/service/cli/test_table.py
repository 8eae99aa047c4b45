"""CSV files as rows of streams."""

from __future__ import annotations

import gzip
from pathlib import Path

import click
import pytest

from model.spec import FieldSpec
from service.cells import parse_time_us
from service.cli.table import Row, read_table

NEW_YEAR_2026_US = 1_767_225_600_000_000


def write(folder: Path, text: str, name: str = "data.csv") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_columns_are_understood(tmp_path: Path) -> None:
    """The time by its name, numbers as real fields, the rest as categories; one stream named after the file."""
    path = write(tmp_path, "timestamp,load,state\n2026-01-01 00:00:00,1.5,idle\n2026-01-01T00:00:01Z,2,busy\n")
    table = read_table(path)
    assert table.time_column == "timestamp"
    assert table.fields == (FieldSpec("load"), FieldSpec("state", "category", capacity=32))
    assert table.n_rows == 2
    assert list(table.rows()) == [
        Row("data", {"load": 1.5, "state": "idle"}, NEW_YEAR_2026_US),
        Row("data", {"load": 2.0, "state": "busy"}, NEW_YEAR_2026_US + 1_000_000),
    ]


def test_cells_without_value_are_missing(tmp_path: Path) -> None:
    """Empty, NA, NaN, infinite and absent cells alike; they do not make a column a category."""
    path = write(tmp_path, "a,b\n1,x\n,NA\nnan,\ninf,null\n2\n")
    table = read_table(path)
    assert table.fields[0] == FieldSpec("a")
    assert [row.item for row in table.rows()] == [
        {"a": 1.0, "b": "x"},
        {"a": None, "b": None},
        {"a": None, "b": None},
        {"a": None, "b": None},
        {"a": 2.0, "b": None},
    ]


def test_columns_without_values_are_left_out(tmp_path: Path) -> None:
    """There is nothing to predict in them."""
    assert [f.name for f in read_table(write(tmp_path, "a,b\n1,\n2,NA\n")).fields] == ["a"]


def test_stream_column_names_the_stream(tmp_path: Path) -> None:
    """It is no field itself."""
    table = read_table(write(tmp_path, "site,load\ns1,1\ns2,2\n"), stream_column="site")
    assert [f.name for f in table.fields] == ["load"]
    assert [row.stream for row in table.rows()] == ["s1", "s2"]


def test_numbers_can_be_categories(tmp_path: Path) -> None:
    """Their cells stay the text they are."""
    table = read_table(write(tmp_path, "code,load\n01,1\n1,2\n"), categories=["code"])
    assert table.fields[0].kind == "category"
    assert [row.item["code"] for row in table.rows()] == ["01", "1"]


def test_columns_can_be_chosen_and_rows_limited(tmp_path: Path) -> None:
    """Only what was asked for is read."""
    table = read_table(write(tmp_path, "a,b,c\n1,2,3\n4,5,6\n"), fields=["c", "a"], limit=1)
    assert [f.name for f in table.fields] == ["a", "c"]
    assert [row.item for row in table.rows()] == [{"a": 1.0, "c": 3.0}]
    assert table.n_rows == 1


def test_model_that_exists_decides_the_kinds(tmp_path: Path) -> None:
    """Its fields are read as it has them, other columns are left out."""
    like = [FieldSpec("code", "category", capacity=2), FieldSpec("absent")]
    table = read_table(write(tmp_path, "code,load\n1,1\n"), like=like)
    assert table.fields == (like[0],)
    assert [row.item for row in table.rows()] == [{"code": "1"}]


def test_vocabulary_has_room(tmp_path: Path) -> None:
    """For all values of the file, and some more."""
    path = write(tmp_path, "a\n" + "".join(f"v{i}\n" for i in range(100)))
    assert read_table(path).fields[0].capacity == 128


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    """The one that the header has most of; a mark at the file's begin is no part of a name."""
    path = write(tmp_path, f"\ufeffa{delimiter}b{delimiter}c\r\n1{delimiter}2{delimiter}3\r\n")
    assert [row.item for row in read_table(path).rows()] == [{"a": 1.0, "b": 2.0, "c": 3.0}]


def test_compressed_file_is_read(tmp_path: Path) -> None:
    """And its stream is named without endings."""
    path = tmp_path / "load.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n"))
    assert [row.stream for row in read_table(path).rows()] == ["load"]


@pytest.mark.parametrize(
    "cell",
    [
        "2026-01-01",
        "2026-01-01T01:00:00+01:00",
        "1767225600",
        "1767225600000",
        "1767225600000000",
        "1767225600000000000",
    ],
)
def test_times_are_read(cell: str) -> None:
    """ISO 8601 in any zone, and counts since 1970 in the unit that their size tells."""
    assert parse_time_us(cell) == NEW_YEAR_2026_US


def test_time_is_written_as_it_was_read(tmp_path: Path) -> None:
    """To the microsecond, before 1970 too."""
    path = write(tmp_path, "time,a\n1969-12-31T23:59:59.999999Z,1\n,2\n")
    assert [row.timestamp for row in read_table(path).rows()] == ["1969-12-31T23:59:59.999999+00:00", None]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "no header"),
        ("a\n", {}, "no rows"),
        ("a,a\n1,2\n", {}, "a name of its own"),
        ("a\n1\n", {"stream_column": "b"}, "no column 'b'; there are 'a'"),
        ("a\n1\n", {"fields": ["b"]}, "no column 'b'"),
        ("a,t\n1,soon\n", {"time_column": "t"}, "no time"),
        ("a\n1,2\n", {}, "row 1: 2 cells under 1 columns"),
        ("t\n2026-01-01\n", {}, "no column to predict"),
        ("a\n1\n", {"like": [FieldSpec("b")]}, "no column that the model has"),
        ("a,s\n1,x/y\n", {"stream_column": "s"}, "row 1, column 's': 'x/y' cannot name a stream"),
        ("a\n1\nx\n", {"like": [FieldSpec("a")]}, "row 2, column 'a': 'x' is no number"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    """With the file, and the row and column where there is one."""
    path = write(tmp_path, text)
    with pytest.raises(click.ClickException) as caught:
        list(read_table(path, **options).rows())
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"a\n\xff\n"), ("a.csv.gz", b"a\n1\n"), ("a.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-9])],
)
def test_damaged_file_is_told_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """Bytes that are no text, or not compressed, or cut off."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(click.ClickException, match="cannot be read"):
        read_table(tmp_path / name)


def test_absent_file_is_told_in_one_line(tmp_path: Path) -> None:
    """As the system calls it."""
    with pytest.raises(click.ClickException, match="No such file"):
        read_table(tmp_path / "a.csv")
