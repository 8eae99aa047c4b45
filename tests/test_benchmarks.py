"""The benchmarks start: what they take from the project is there."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import experiment, quality, recovery, tails


@pytest.mark.parametrize(
    "name", ["bench.__main__", "chaos.__main__", "drift", "experiment", "quality", "recovery", "tails"]
)
def test_each_benchmark_says_what_it_does(name: str) -> None:
    """Each is imported whole, and its command line read."""
    done = CliRunner().invoke(import_module(f"benchmarks.{name}").main, ["--help"])
    assert done.exit_code == 0, done.output
    assert "Usage" in done.output


@pytest.mark.parametrize("main", [experiment.main, quality.main, tails.main])
def test_sets_that_are_not_there_are_left_out_by_name(
    main: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line each, and no failure."""
    monkeypatch.setenv("STEPAHEAD_DATASETS", str(tmp_path))
    done = CliRunner().invoke(main, ["--only", "taylor"])
    assert done.exit_code == 0, done.output
    assert f"taylor: not there, left out ({tmp_path / 'taylor/taylor.csv'})" in done.stderr


def test_recovery_prints_its_table() -> None:
    """A row for each kind of model and batch, of as many records as were asked for."""
    done = CliRunner().invoke(recovery.main, ["--hidden", "4", "--records", "20", "--batches", "1,3"])
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.output.splitlines()[2:]]
    assert [row[:3] for row in rows] == [[name, n, "20"] for name in ("1 real", "257 values") for n in "13"]
