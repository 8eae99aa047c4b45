"""Figures measured in turns, and what is made of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bench import readme
from service.bench.plan import SMOKE
from service.bench.report import HEAD, Report, cells, comparison
from service.bench.turns import Comparison, in_turns, percentiles

ROW = Comparison("a", "one thing", "another", "items/s", (10.0, 30.0, 20.0), (10.0, 10.0, 40.0), target=1.0)
NUMBERS = st.floats(0, 1e9)


def test_sides_take_turns() -> None:
    """Ours, theirs, ours, theirs; each side's figures in the order of the rounds."""
    said: list[str] = []
    ours, theirs = iter("ace"), iter("bdf")
    order: list[str] = []

    def take(side: object) -> str:
        order.append(next(side))  # type: ignore[call-overload]
        return order[-1]

    assert in_turns(lambda: take(ours), lambda: take(theirs), 3, said.append) == (["a", "c", "e"], ["b", "d", "f"])
    assert order == list("abcdef")
    assert len(said) == 3


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Not the ratio of medians: what slowed one round slowed both sides of it."""
    assert ROW.ratios == (1.0, 3.0, 0.5)
    assert ROW.ratio == 1.0
    assert replace(ROW, theirs=()).ratio is None


@pytest.mark.parametrize(
    ("less_is_better", "target", "reached"),
    [(False, 1.0, True), (False, 1.1, False), (True, 0.9, False), (True, 1.0, True)],
)
def test_a_target_is_reached_from_its_side(less_is_better: bool, target: float, reached: bool) -> None:
    """A throughput from below, a latency from above."""
    assert replace(ROW, less_is_better=less_is_better, target=target).reached is reached
    assert replace(ROW, target=None).reached is None


@given(st.lists(NUMBERS, min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_a_value_that_was_measured(values: list[float], at: float) -> None:
    """Enough values lie at or below it, and no smaller one would do."""
    (found,) = percentiles(values, [at])
    assert found in values
    share = sum(value <= found for value in values) / len(values)
    assert share >= at / 100 - 1e-9
    assert sum(value < found for value in values) / len(values) < at / 100


def test_percentiles_of_a_thousand() -> None:
    """By nearest rank."""
    assert percentiles(range(1, 1001)) == (500.0, 990.0, 999.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        percentiles([])


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All of it is JSON, with what machine and commit it was taken on."""
    report = Report.of(SMOKE, [ROW, replace(ROW, name="b", skipped="not there", ours=(), theirs=())])
    report.save(tmp_path / "new" / "a.json")
    assert Report.load(tmp_path / "new" / "a.json") == report
    data = json.loads((tmp_path / "new" / "a.json").read_bytes())
    assert data["format"] == 1
    assert {"date", "commit", "version", "busy", "machine"} == data["about"].keys()
    assert data["about"]["busy"] is None or 0 <= data["about"]["busy"] <= 1
    assert {"cpu", "cores", "python", "torch", "store"} <= data["about"]["machine"].keys()
    assert data["rows"][0]["ratios"] == [1.0, 3.0, 0.5]
    (tmp_path / "other.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="no report of format"):
        Report.load(tmp_path / "other.json")


def test_rows_have_a_cell_under_each_heading() -> None:
    """Those that were skipped say why."""
    for row in (ROW, replace(ROW, ours=(), theirs=(), skipped="not there"), replace(ROW, theirs=())):
        assert len(cells(row)) == len(HEAD)
    assert cells(ROW)[4:] == ("1", "0.5 to 3", "1: reached")
    assert "not there" in cells(replace(ROW, ours=(), theirs=(), skipped="not there"))


def test_two_runs_are_compared_by_their_ratios() -> None:
    """A row per name that both have."""
    old = Report.of(SMOKE, [ROW, replace(ROW, name="gone")])
    new = Report.of(SMOKE, [replace(ROW, ours=(20.0, 60.0, 40.0), theirs=(10.0, 10.0, 40.0)), replace(ROW, name="new")])
    rows = list(comparison(old, new))[4:]
    assert rows == ["| one thing | 1 | 2 | 2 | 2 | 1 |"]


def test_the_readme_gets_what_was_measured_between_its_marks(tmp_path: Path) -> None:
    """The rest of it stays; a later file's rows replace an earlier one's; plots lie beside it."""
    watched = {"seconds": [0, 1, 2], "memory_bytes": [1, 2, 3], "streams": 4}
    wait = replace(ROW, name="wait", unit="ms", less_is_better=True, details=watched)
    Report.of(SMOKE, [ROW, wait]).save(tmp_path / "1.json")
    Report.of(SMOKE, [replace(ROW, title="one thing again")]).save(tmp_path / "2.json")
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    written = readme.write([tmp_path / "1.json", tmp_path / "2.json"], page)
    text = page.read_text()
    assert text.startswith(f"before\n{readme.BEGIN}\n")
    assert text.endswith(f"{readme.END}\nafter\n")
    assert "one thing again" in text
    assert "old" not in text
    assert text.count("one thing") == 2
    assert [path.name for path in written] == ["README.md", "ratios.svg", "latency.svg", "memory.svg"]
    assert all(path.stat().st_size for path in written)
    readme.write([tmp_path / "1.json", tmp_path / "2.json"], page)
    assert page.read_text() == text


def test_a_readme_without_marks_is_left_alone(tmp_path: Path) -> None:
    """Nobody's text is overwritten."""
    Report.of(SMOKE, [ROW]).save(tmp_path / "1.json")
    page = tmp_path / "README.md"
    page.write_text("text\n")
    with pytest.raises(ValueError, match="two markers"):
        readme.write([tmp_path / "1.json"], page)
    assert page.read_text() == "text\n"
