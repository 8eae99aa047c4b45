"""Every row of the benchmark runs and says what it should; no speed is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.bench import __main__ as command
from benchmarks.bench.rows import EVERYTHING
from service.bench import plan
from service.bench.report import Report
from service.bench.rows import SERVICE, measure
from service.cli import bench as cli

NAMES = {
    "learner": [f"{part}-{n}" for part in ("learner", "network") for n in (1, 64, 256)],
    "deep-river": [
        "deep-river-1-window-4",
        "deep-river-64-window-4",
        "deep-river-1-window-10",
        "deep-river-64-window-10",
    ],
    "rest": ["rest", *(f"rest-{how}-{p}" for how in ("quarter", "alone") for p in ("p50", "p99", "p99.9"))],
    "frames": ["websocket", "ndjson", *(f"frames-quarter-{p}" for p in ("p50", "p99", "p99.9"))],
    "backfill": ["backfill"],
    "streams": ["streams"],
    "stored": ["stored"],
    "created": ["created"],
    "durability": [f"rest-always-{p}" for p in ("p50", "p99", "p99.9")],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_measured(name: str, tmp_path: Path) -> None:
    """Figures of each round on both sides, all above 0; the file says the same."""
    said: list[str] = []
    report = measure({name: EVERYTHING[name]}, plan.SMOKE, said.append)
    assert [row.name for row in report.rows] == NAMES[name]
    assert said
    for row in report.rows:
        if row.skipped is None:
            assert len(row.ours) == plan.SMOKE.rounds
            assert all(value > 0 for value in (*row.ours, *row.theirs))
            assert row.theirs or name == "created"
        else:
            assert name == "deep-river"
    report.save(tmp_path / "found.json")
    assert Report.load(tmp_path / "found.json") == report


def test_the_commands_know_all_rows() -> None:
    """Names that can be asked for without importing what measures them."""
    assert set(command.ROWS) == set(EVERYTHING) == set(NAMES)
    assert set(cli.ROWS) == set(SERVICE)


def test_stepahead_bench_prints_a_table_and_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person calls, over one row."""
    monkeypatch.setattr(plan, "QUICK", plan.SMOKE)
    done = CliRunner().invoke(cli.bench, ["--quick", "--only", "backfill", "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 0, done.output
    assert "target" in done.stdout
    assert "round 1 of 1" in done.stderr
    assert [row["name"] for row in json.loads((tmp_path / "a.json").read_bytes())["rows"]] == ["backfill"]


def test_make_bench_compares_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row, measured twice and compared."""
    monkeypatch.setattr(plan, "QUICK", plan.SMOKE)
    paths = [str(tmp_path / name) for name in ("old.json", "new.json")]
    for path in paths:
        done = CliRunner().invoke(command.main, ["--quick", "--only", "learner", "--json", path])
        assert done.exit_code == 0, done.output
        assert "| learner, B=64: whole step" in done.stdout
    done = CliRunner().invoke(command.main, ["compare", *paths])
    assert done.exit_code == 0, done.output
    assert "| learner, B=64: whole step" in done.stdout
