"""Rows of pandas and polars frames and of flat mappings."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from stepahead import InvalidItem, _tables
from stepahead._rows import entry

UTC = timezone.utc
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPECTED = [
    {"stream": "a", "item": {"x": 1.5, "n": 1, "c": "red"}, "timestamp": NOON},
    {"stream": "b", "item": {"x": None, "n": None, "c": None}, "timestamp": None},
]


def pandas_frame() -> pd.DataFrame:
    """Every kind of missing value pandas has."""
    return pd.DataFrame(
        {
            "site": ["a", "b"],
            "x": [1.5, float("nan")],
            "n": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["red", None]),
            "at": pd.to_datetime([NOON, None], utc=True),
        },
        index=[7, 7],
    )


def polars_frame() -> pl.DataFrame:
    """Nulls and a NaN."""
    columns = {"site": ["a", "b"], "x": [1.5, float("nan")], "n": [1, None], "c": ["red", None], "at": [NOON, None]}
    return pl.DataFrame(columns, schema_overrides={"c": pl.Categorical, "at": pl.Datetime("us", "UTC")})


def records() -> list[dict[str, Any]]:
    """Flat mappings."""
    return [
        {"site": "a", "x": 1.5, "n": 1, "c": "red", "at": NOON},
        {"site": "b", "x": None, "n": None, "c": None, "at": None},
    ]


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, records])
def test_rows_of_tables_are_the_same(make: Any) -> None:
    """Missing values are ``None``, whatever the table calls them, and numbers are Python's."""
    rows = list(_tables.rows(make(), "site", "at"))
    assert rows == EXPECTED
    assert type(rows[0]["item"]["n"]) is int  # type: ignore[call-overload,index]
    assert all(entry(i, row).outcome is None for i, row in enumerate(rows))
    table = make() if make is not records else pl.DataFrame(records())
    items = list(_tables.items(table.drop(columns="site") if make is pandas_frame else table.drop("site"), "s", "at"))
    assert items == [{**row, "stream": "s"} for row in EXPECTED]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"site": ["a"], "x": [1.0], "at": [pd.Timestamp("2026-01-01")]}),
        pl.DataFrame({"site": ["a"], "x": [1.0], "at": [datetime(2026, 1, 1)]}),
    ],
)
def test_time_without_zone_is_refused_in_its_place(frame: Any) -> None:
    """As everywhere else."""
    (row,) = _tables.rows(frame, "site", "at")
    refused = entry(0, row).outcome
    assert isinstance(refused, InvalidItem)
    assert "no time zone" in str(refused)


def test_numbers_of_numpy_are_numbers() -> None:
    """Narrow floats, integers and booleans, and numbers that name streams."""
    frame = pd.DataFrame({"site": [3], "x": [1.5], "n": [2], "b": [True]})
    (row,) = _tables.rows(frame.astype({"x": "float32", "n": "int8"}), "site", None)
    assert row == {"stream": "3", "item": {"x": 1.5, "n": 2, "b": True}}


@pytest.mark.parametrize("frame", [pandas_frame(), polars_frame()])
def test_frames_need_to_know_their_columns(frame: Any) -> None:
    """A table that does not tell its streams is refused before anything is sent."""
    with pytest.raises(ValueError, match="stream_column"):
        _tables.rows(frame, None, None)
    with pytest.raises(ValueError, match="no column 'nowhere'"):
        _tables.rows(frame, "nowhere", None)


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame([["a", 1.0, 2.0]], columns=["site", "x", "x"]), "a name of its own"),
        (pl.LazyFrame({"site": ["a"], "x": [1.0]}), "collect"),
    ],
)
def test_frames_whose_rows_cannot_be_told_are_refused(frame: Any, what: str) -> None:
    """Of two columns of one name a mapping would keep the last; a plan has no rows."""
    for stream_column in ("site", None) if what == "collect" else ("site",):
        with pytest.raises(ValueError, match=what):
            _tables.rows(frame, stream_column, None)


def test_cells_that_are_no_values_are_refused_in_their_place() -> None:
    """Lists, streams without a name and times of other kinds; a decimal is a number."""
    frame = pd.DataFrame(
        {
            "site": ["a", "a", float("nan"), "a", "a"],
            "x": [[1], np.array([1, 2]), 3, 4, Decimal("1.5")],
            "at": [None, None, None, 5, None],
        }
    ).astype(object)
    found = [entry(i, row) for i, row in enumerate(_tables.rows(frame, "site", "at"))]
    told = [str(e.outcome) for e in found[:4]]
    for message, what in zip(told, ("got list", "got ndarray", "a stream is named by a text", "ISO 8601"), strict=True):
        assert what in message
    assert found[4].head == b'{"stream":"a","item":{"x":1.5}'


@pytest.mark.parametrize("record", [("other", {"x": 1.0}), "ab", 3, None])
def test_items_of_a_stream_never_go_to_another(record: Any) -> None:
    """What is no item is refused, though it would be a row among those of many streams."""
    (row,) = _tables.items([record], "s", None)
    refused = entry(0, row)
    assert refused.stream == "s"
    assert "an item is a mapping" in str(refused.outcome)


@pytest.mark.parametrize("row", [("s", {"x": 1.0}, None), {"stream": "s"}, 3, None, "abc"])
def test_what_is_no_row_is_told_what_one_is(row: Any) -> None:
    """In its place."""
    assert "a row is a pair" in str(entry(0, row).outcome)


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_are_read_lazily(library: Any) -> None:
    """The first row of a large frame does not make Python objects of all others."""
    n = 200_000
    frame = library.DataFrame({"site": ["a"] * n, "x": [float(i) for i in range(n)], "y": [float(i) for i in range(n)]})
    tracemalloc.start()
    try:
        next(iter(_tables.rows(frame, "site", None)))
        assert tracemalloc.get_traced_memory()[1] < n * 8  # less than a pointer for each row
    finally:
        tracemalloc.stop()
