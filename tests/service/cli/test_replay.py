"""``stepahead replay`` through a real service."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli.replay import replay
from stepahead import Client

ROOT = Path(__file__).parents[3]
N_ROWS = 40


@pytest.fixture(scope="module")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that runs for all tests here."""
    folder = tmp_path_factory.mktemp("service")
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STEPAHEAD_")}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"listens on (\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail((folder / "log").read_text())
        finally:
            process.terminate()
            process.stdout.read()  # ends once the process has


@pytest.fixture
def name(service_url: str) -> Iterator[str]:
    """A model name of the test's own."""
    name = f"m-{uuid.uuid4().hex}"
    yield name
    with Client(service_url) as client:
        if name in [info.name for info in client.models()]:
            client.delete_model(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two sites by turns: a sine each, and a state that alternates."""
    path = tmp_path / "sites.csv"
    rows = (
        f"2026-01-01T{i:02d}:00:00Z,s{site},{math.sin(i):.4f},{'idle' if i % 2 else 'busy'}\n"
        for i in range(N_ROWS // 2 - 1)
        for site in range(2)
    )
    path.write_text("timestamp,site,load,state\n" + "".join(rows) + "2026-01-02T00:00:00Z,s0,0.5,idle\n,s1,,\n")
    return path


def run(url: str, *arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(replay, [*map(str, arguments), "--url", url])


def measured(result: Result) -> dict[str, Any]:
    """What the command printed as JSON."""
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_file_is_fed_and_measured(service_url: str, name: str, file: Path) -> None:
    """The model is created as the columns ask for, and the measures are those the service keeps itself."""
    found = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--json"))
    assert (found["rows"], found["replayed"], found["skipped"]) == (N_ROWS, N_ROWS, 0)
    with Client(service_url) as client:
        model = client.model(name)
        assert [f["name"] for f in model.info().spec["fields"]] == ["load", "state"]
        summaries = [summary.fields["load"] for summary in model.streams()]
    n = sum(s.scored or 0 for s in summaries)
    squares = sum((s.scored or 0) * (s.rmse or 0) ** 2 for s in summaries)
    persistence = sum((s.scored or 0) * (s.persistence_rmse or 0) ** 2 for s in summaries)
    load = found["fields"]["load"]["all"]
    assert load["scored"] == n
    assert load["rmse"] == pytest.approx(math.sqrt(squares / n))
    assert load["persistence_rmse"] == pytest.approx(math.sqrt(persistence / n))
    assert found["fields"]["load"]["last_three_quarters"]["scored"] == N_ROWS * 3 // 4 - 1
    assert set(found["fields"]["state"]["all"]) == {"scored", "accuracy", "persistence_accuracy", "bits"}


def test_replay_goes_on_where_it_stopped(service_url: str, name: str, file: Path) -> None:
    """Rows that the service has are skipped; persistence still knows the values before."""
    first = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--limit", 11, "--json"))
    assert first["replayed"] == 11
    second = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--json"))
    assert (second["skipped"], second["replayed"]) == (11, N_ROWS - 11)
    assert second["fields"]["load"]["all"]["scored"] == N_ROWS - 11 - 1
    third = run(service_url, file, "--model", name, "--stream-column", "site")
    assert "nothing was replayed" in third.stdout


def test_measures_come_as_a_table(service_url: str, name: str, file: Path) -> None:
    """One for real fields, one for categories."""
    result = run(service_url, file, "--model", name, "--stream", "one", "--fields", "load,state")
    assert result.exit_code == 0, result.output
    for word in ("RMSE", "persistence", "coverage", "accuracy", "bits", "last 3/4"):
        assert word in result.stdout


def test_refused_row_is_named(service_url: str, name: str, file: Path) -> None:
    """The file, the row, and what the service says of it."""
    with Client(service_url) as client:
        client.create_model(name, {"load": "real", "state": ["busy", "away"]})
    result = run(service_url, file, "--model", name, "--stream", "one")
    assert result.exit_code == 1
    assert "row 3: field 'state': 'idle' is not one of its values (invalid_item)" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "arguments", [("--model", "a/b"), ("--model", "m", "--stream", "s", "--stream-column", "site")]
)
def test_wrong_use_is_told_in_one_line(service_url: str, file: Path, arguments: tuple[str, ...]) -> None:
    """No traceback."""
    result = run(service_url, file, *arguments)
    assert result.exit_code in {1, 2}
    assert "Error: " in result.stderr


def test_absent_service_is_told_in_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its address, once all retries are used."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    result = run("http://127.0.0.1:1", file, "--model", "m")
    assert result.exit_code == 1
    assert "no answer from http://127.0.0.1:1" in result.stderr
