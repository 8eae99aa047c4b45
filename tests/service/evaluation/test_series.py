"""Recorded streams in their order of arrival."""

from __future__ import annotations

import numpy as np
import pytest

from model.items import NO_TIME
from model.spec import FieldSpec
from service.evaluation.series import Order, Series

FIELDS = (FieldSpec("x"), FieldSpec("c", "category", capacity=4))


def series(stream: list[int], times: list[int] | None = None, order: Order = "auto") -> Series:
    """Row i holds the number i and the letter i mod 3; every fifth value is missing."""
    n = len(stream)
    values = np.where(np.arange(n) % 5 == 4, np.nan, np.arange(n))[:, None]
    names = np.array(["abc"[i % 3] for i in range(n)], object)[:, None]
    timestamp_us = np.full(n, NO_TIME) if times is None else np.array(times)
    streams = [f"s{k}" for k in range(max(stream) + 1)]
    return Series.of("test", FIELDS, values, names, timestamp_us, streams, np.array(stream), order)


def test_streams_without_a_clock_arrive_in_lockstep() -> None:
    """The first item of each stream, then the second of those that have one; counted per stream."""
    found = series([0, 0, 0, 1, 2, 2])
    assert [rows.tolist() for rows in found.batches()] == [[0, 1, 2], [3, 4], [5]]
    assert found.stream.tolist() == [0, 1, 2, 0, 2, 0]
    assert found.place.tolist() == [0, 0, 0, 1, 1, 2]
    assert found.until(1).stream.tolist() == [0, 1, 2]
    assert found.first_scored(None).tolist() == [0, 0, 0]
    assert found.first_scored(2).tolist() == [2, 2, 2]


def test_streams_with_a_clock_arrive_in_its_order() -> None:
    """What has the same time arrives together, but never a stream twice."""
    found = series([0, 0, 1, 1], [10, 30, 10, 10])
    assert found.values[:, 0].tolist() == [0, 2, 3, 1]
    assert [found.stream[rows].tolist() for rows in found.batches()] == [[0, 1], [1], [0]]
    assert found.place.tolist() == [0, 1, 2, 3]


def test_one_stream_stays_as_it_is() -> None:
    """Even if its clock runs back; a row at a time."""
    found = series([0, 0, 0], [30, 20, 20])
    assert [rows.tolist() for rows in found.batches()] == [[0], [1], [2]]


def test_times_that_are_not_there_cannot_order() -> None:
    """It says so."""
    with pytest.raises(ValueError, match="by time"):
        series([0, 1], order="time")


def test_the_last_seen_value_skips_what_is_missing() -> None:
    """Each stream has its own."""
    found = series([0, 0, 0, 1, 0, 0, 1], order="file")
    values, names = found.last_seen()
    np.testing.assert_array_equal(values[:, 0], [np.nan, 0, 1, np.nan, 2, 2, 3])
    assert names[:, 0].tolist() == [None, "a", "b", None, "c", "b", "a"]


def test_a_disturbed_series_is_noisy_and_has_gaps() -> None:
    """Noise in units of each stream's own spread, gaps at the share asked for, both the same for the same seed."""
    n = 4_000
    values = np.where(np.arange(n) % 2, 1.0, -1.0) * np.where(np.arange(n) < n // 2, 1.0, 1e6)
    names = np.full((n, 1), "a", object)
    stream = (np.arange(n) >= n // 2).astype(np.int64)
    clean = Series.of("two", FIELDS, values[:, None], names, np.full(n, NO_TIME), ("small", "large"), stream, "file")
    found = clean.disturbed(0.3, 0.25, seed=1)
    again, other = clean.disturbed(0.3, 0.25, seed=1), clean.disturbed(0.3, 0.25, seed=2)
    np.testing.assert_array_equal(found.values, again.values)
    assert not np.array_equal(found.values, other.values, equal_nan=True)
    assert np.isnan(found.values).mean() == pytest.approx(0.25, abs=0.03)
    assert (found.names == "a").mean() == pytest.approx(0.75, abs=0.03)
    for part, size in ((stream == 0, 1.0), (stream == 1, 1e6)):
        assert np.nanstd((found.values - clean.values)[part]) == pytest.approx(0.3 * size, rel=0.1)
    assert clean.disturbed(0, 0, seed=1) is clean


def test_channels_apart_are_series_of_one_field() -> None:
    """Each keeps its column."""
    x, c = series([0, 0, 0]).apart()
    assert (x.name, x.values.shape, x.names.shape) == ("test:x", (3, 1), (3, 0))
    assert (c.name, c.values.shape, c.names[:, 0].tolist()) == ("test:c", (3, 0), ["a", "b", "c"])
