"""``stepahead replay`` through a real service."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from model.spec import FieldSpec
from service.cli.replay import replay
from service.cli.scoreboard import Progress, Scoreboard
from service.cli.tally import Tally
from stepahead import CategoryScore, Client, RealScore, Score, UnknownModel, UnknownStream

ROOT = Path(__file__).parents[3]
N_ROWS = 40
WAIT_S = 60.0  # far more than it takes


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
    """Rows that the service has are skipped, unless these follow; persistence still knows the values before."""
    first = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--limit", 11, "--json"))
    assert first["replayed"] == 11
    second = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--json"))
    assert (second["skipped"], second["replayed"]) == (11, N_ROWS - 11)
    assert second["fields"]["load"]["all"]["scored"] == N_ROWS - 11 - 1
    third = run(service_url, file, "--model", name, "--stream-column", "site")
    assert "nothing was replayed" in third.stdout
    more = measured(run(service_url, file, "--model", name, "--stream-column", "site", "--append", "--json"))
    assert (more["skipped"], more["replayed"]) == (0, N_ROWS)
    with Client(service_url) as client:
        assert sum(summary.sequence for summary in client.model(name).streams()) == 2 * N_ROWS


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


def test_interrupted_replay_of_endless_input_keeps_its_measures(service_url: str, name: str) -> None:
    """Ctrl-C ends it with status 130 and what was measured; the server has these rows, with the numbers they named."""
    command = [sys.executable, "-m", "service", "replay", "-", "--model", name, "--url", service_url, "--json"]
    command += ["--infer-rows", "10", "--stream-column", "site", "--sequence-column", "n"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        with Client(service_url) as client:
            for n in range(1, 601):  # and then silence, in which all of these are answered
                process.stdin.write(json.dumps({"site": "s", "n": n, "load": math.sin(n)}) + "\n")
            process.stdin.flush()
            wait_for(lambda: sequence_of(client, name, "s") == 600, process)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate()
            assert process.returncode == 130, stderr
            found = json.loads(stdout)
            assert found["interrupted"]
            assert 600 - 64 <= found["replayed"] <= 600
            assert found["fields"]["load"]["all"]["scored"] == found["replayed"] - 1
            assert found["fields"]["load"]["last_three_quarters"] is None


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for an event in another process, which must not end before it."""
    deadline = time.monotonic() + WAIT_S
    while not reached():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sequence_of(client: Client, model: str, stream: str) -> int:
    """Of the last applied item; 0 before there is one."""
    try:
        return client.model(model).stream(stream).summary().sequence
    except (UnknownModel, UnknownStream):
        return 0


def test_scoreboard_fits_a_terminal_of_80_columns() -> None:
    """A bar with rate and time left, or a count where the total is unknown, and a line per field."""
    specs = [FieldSpec("load"), FieldSpec("a" * 60, "category", capacity=8), *(FieldSpec(f"f{i}") for i in range(20))]
    tally = Tally(specs)
    score = Score(1.0, 0.5, {"load": RealScore(1.0), "a" * 60: CategoryScore(0.7, rank=1)})
    tally.add(score, {"load": 3.0, "a" * 60: "x"}, {"load": 1.0, "a" * 60: "y"})
    for total, words in ((100_000, ("25,000/100,000", "ETA")), (None, ("25,000 rows",))):
        console = Console(width=80, height=24, force_terminal=True, record=True, file=io.StringIO())
        progress = Progress("a-rather-long-name-of-a-file.csv", total, n_replies=24_000, n_skipped=1_000)
        board = Scoreboard(progress, tally.measures, console)
        console.print(board.render())
        text = console.export_text()
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) <= 23
        for word in (*words, "items/s", "RMSE 1", "persistence 2", "ratio 0.50", "accuracy 100.0 %", "14 more fields"):
            assert word in text
        assert board.line().startswith("a-rather-long-name-of-a-file.csv: 25,000")


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
