"""``stepahead evaluate``."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from service.cli import main
from tests.builders import wave


def evaluate(path: Path, *options: str) -> Result:
    """Run the command in process."""
    return CliRunner().invoke(main, ["evaluate", str(path), "--hidden", "32", *options], terminal_width=100)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two waves and a cycle of names over 400 hours, some cells empty."""
    lines = ["time,load,heat,state"]
    for n, value in enumerate(wave(400)):
        heat = "" if n % 9 == 0 else f"{10 * value + 50:.4f}"
        lines.append(f"2024-01-{1 + n // 24 % 28:02d} {n % 24:02d}:00:00,{value:.5f},{heat},{'abc'[n % 3]}")
    path = tmp_path / "series.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_measures_stand_beside_persistence(series: Path) -> None:
    """Every field gets its measures, over the last three quarters; the wave is learned."""
    result = evaluate(series, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["rows"], found["first"]) == (400, 100)
    load, state = found["fields"]["load"], found["fields"]["state"]
    assert load["scored"] == 300
    assert found["fields"]["heat"]["scored"] == 300 - sum(n % 9 == 0 for n in range(100, 400))
    assert load["rmse"] == pytest.approx(math.sqrt(load["mse"]))
    assert load["rmse_ratio"] == pytest.approx(load["rmse"] / load["persistence_rmse"])
    assert load["rmse"] < load["persistence_rmse"]
    assert state["persistence_accuracy"] == 0
    assert state["accuracy"] > 0.6  # chance is a third, and the early rows count
    assert found["mean"]["mae"] == pytest.approx((load["mae"] + found["fields"]["heat"]["mae"]) / 2)


def test_a_device_that_is_not_there_is_refused(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything runs; ``auto`` goes on without."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = evaluate(series, "--device", "cuda")
    assert result.exit_code == 2
    assert "Error: there is no CUDA here: " in result.stderr
    assert evaluate(series, "--device", "auto", "--limit", "60", "--first", "10").exit_code == 0


def test_persistence_is_the_last_value(tmp_path: Path) -> None:
    """Its error is that of the differences, worked by hand."""
    path = tmp_path / "steps.csv"
    path.write_text("x\n1\n3\n6\n\n10\n")  # the empty line is no row
    found = json.loads(evaluate(path, "--json", "--first", "1").stdout)["fields"]["x"]
    assert found["persistence_mse"] == pytest.approx((2**2 + 3**2 + 4**2) / 3)
    assert found["persistence_mae"] == pytest.approx((2 + 3 + 4) / 3)


def test_the_table_is_for_people(series: Path) -> None:
    """Rows per field, and their mean, within the width of a terminal."""
    result = evaluate(series)
    assert result.exit_code == 0, result.stderr
    for text in ("load", "heat", "state", "mean", "ratio", "bits", "400 rows"):
        assert text in result.stdout


def test_the_etth_protocol_names_its_rows(series: Path) -> None:
    """It needs more rows than the warm-up's, and says so in one line."""
    result = evaluate(series, "--protocol", "etth")
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1] == f"Error: {series}: 400 rows, none from 3600 on to score"


def test_a_unit_scales_the_errors(series: Path) -> None:
    """Rows that are asked for replace the protocol's, errors are in standard deviations."""
    own = json.loads(evaluate(series, "--json", "--fields", "heat").stdout)["fields"]["heat"]
    options = ("--fields", "heat", "--protocol", "etth", "--first", "100", "--last", "400")
    scaled = json.loads(evaluate(series, "--json", *options).stdout)["fields"]["heat"]
    assert scaled["rmse_ratio"] == pytest.approx(own["rmse_ratio"])
    assert scaled["mse"] == pytest.approx(own["mse"] / (own["rmse"] / scaled["rmse"]) ** 2)
    assert scaled["persistence_mse"] < 1


def test_learning_can_be_switched_off_and_frozen(series: Path) -> None:
    """A network alone that learns nothing is persistence; one whose weights freeze at the start is the same."""
    alone = ("--json", "--fields", "load", "--experts", "none")
    nothing = json.loads(evaluate(series, *alone, "--learn", "none").stdout)
    frozen = json.loads(evaluate(series, *alone, "--freeze-after", "0").stdout)
    assert nothing["spec"]["learn"] == {"weights": False, "state": False, "initial_state": False}
    for found in (nothing, frozen):
        assert found["fields"]["load"]["rmse_ratio"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (("--cell", "perceptron"), 2, "perceptron"),
        (("--hidden", "0"), 2, "hidden"),
        (("--learn", "everything"), 2, "everything"),
        (("--fields", "price"), 1, "price"),
        (("--stream", "a", "--stream-column", "state"), 2, "either"),
    ],
)
def test_a_wrong_option_is_one_line(series: Path, options: tuple[str, ...], status: int, reason: str) -> None:
    """The last line says what is wrong."""
    result = evaluate(series, *options)
    assert result.exit_code == status
    assert reason in result.stderr.strip().splitlines()[-1]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """No traceback."""
    result = evaluate(tmp_path / "none.csv")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def figures(*arguments: object) -> dict[str, Any]:
    """What ``--json`` prints, with a small network."""
    texts = [str(argument) for argument in arguments]
    result = CliRunner().invoke(main, ["evaluate", *texts, "--hidden", "8", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of one wave each, one of them compressed and deeper."""
    (tmp_path / "more").mkdir()
    for seed, path in enumerate((tmp_path / "a.csv", tmp_path / "more" / "b.csv.gz")):
        text = "x\n" + "".join(f"{value:.4f}\n" for value in wave(80, seed=seed))
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return tmp_path


def test_files_have_a_model_each_or_share_one(folder: Path) -> None:
    """A folder's files are found; apart they are as alone, together streams in lockstep."""
    apart = figures(folder)
    assert (apart["rows"], apart["streams"], set(apart["fields"])) == (160, 2, {"a:x", "b:x"})
    assert apart["fields"]["a:x"] == figures(folder / "a.csv")["fields"]["x"]
    together = figures(folder / "a.csv", folder / "more" / "b.csv.gz", "--files", "together")
    assert (together["rows"], together["streams"], set(together["fields"])) == (160, 2, {"x"})
    assert together["first"] == 20
    assert together["fields"]["x"]["scored"] == 120


def test_columns_are_channels_or_streams(series: Path) -> None:
    """Apart each has a model of its own; as streams they share one, and categories are left out."""
    some = ("--last", "100")
    apart = figures(series, "--channels", "apart", *some)
    assert set(apart["fields"]) == {"load", "heat", "state"}
    assert apart["fields"]["load"] == figures(series, "--fields", "load", *some)["fields"]["load"]
    streams = figures(series, "--streams-as", "columns", *some)
    assert (streams["streams"], set(streams["fields"]), streams["rows"]) == (2, {"value"}, 200)


def test_rows_can_be_series(tmp_path: Path) -> None:
    """Each ends with its last number; a first cell that is no number is its name; items count per series."""
    path = tmp_path / "wide.csv"
    lines = [f"H{k}," + ",".join(f"{v:.3f}" for v in wave(40 + 20 * k, seed=k)) + "," * (40 - 20 * k) for k in range(3)]
    path.write_text("V1," + ",".join(f"V{i}" for i in range(2, 82)) + "\n" + "\n".join(lines) + "\n")
    found = figures(path, "--streams-as", "rows", "--first", "30", "--baselines", "--only", "persistence,rls-ar24")
    assert (found["rows"], found["streams"], found["first"]) == (180, 3, 30)
    assert found["fields"]["value"]["scored"] == 10 + 30 + 50
    assert found["methods"]["persistence"]["mean"]["rmse_ratio"] == pytest.approx(1)
    assert found["methods"]["rls-ar24"]["mean"]["rmse_ratio"] > 0


def test_logs_are_read_in_the_order_of_their_time(tmp_path: Path) -> None:
    """A file sorted by case is replayed as it happened, unless its own order is asked for."""
    path = tmp_path / "log.csv"
    rows = [f"{case},{step},2024-01-{1 + step:02d} 0{case}:00:00" for case in range(5) for step in range(8)]
    path.write_text("case,step,time\n" + "\n".join(rows) + "\n")
    options = ("--stream-column", "case", "--category", "step", "--first", "20")
    by_time, by_file = figures(path, *options), figures(path, *options, "--order", "file")
    assert by_time["fields"]["step"]["scored"] == 20
    assert by_file["fields"]["step"]["scored"] == 20 - 2  # each case's first item is not predicted


def test_text_is_a_stream_of_bytes(tmp_path: Path) -> None:
    """Bits count from eight, and fall as a pattern is learned."""
    path = tmp_path / "a.txt"
    path.write_text("ab" * 200)
    found = figures(path, "--first", "300")["fields"]["byte"]
    assert found["scored"] == 100
    assert found["bits"] < 2
    first = figures(path, "--first", "1", "--last", "2")["fields"]["byte"]
    assert first["bits"] == pytest.approx(8, abs=1)
    assert figures(path, "--as", "bytes", "--limit", "40")["rows"] == 40


def test_seeds_give_a_mean_and_a_deviation(series: Path) -> None:
    """Those of the single runs."""
    options = ("--fields", "load", "--noise", "0.3", "--missing", "0.3", "--last", "120")
    runs = [figures(series, *options, "--seed", seed)["fields"]["load"] for seed in (3, 4)]
    both = figures(series, *options, "--seed", "3", "--seeds", "2")
    assert both["seeds"] == [3, 4]
    assert runs[0]["persistence_mse"] != runs[1]["persistence_mse"]  # another seed disturbs otherwise
    for name in ("mse", "rmse_ratio", "coverage", "persistence_mse"):
        assert both["fields"]["load"][name] == pytest.approx((runs[0][name] + runs[1][name]) / 2)
        spread = abs(runs[0][name] - runs[1][name]) / math.sqrt(2)
        assert both["deviation"]["fields"]["load"][name] == pytest.approx(spread)
    assert runs[0]["scored"] == pytest.approx(0.7 * 90, abs=15)


def test_variants_are_tested_against_the_default(series: Path, tmp_path: Path) -> None:
    """Each on the same items; the frozen ones also against each other; the picture is drawn."""
    picture = tmp_path / "plot.png"
    options = ("--fields", "load,state", "--last", "80", "--ablate", "--seeds", "2", "--plot", picture)
    found = figures(series, *options, "--only", "weights,state,frozen")
    assert list(found["methods"]) == ["weights", "state", "frozen"]
    pairs = [(one["method"], one["with"]) for one in found["comparisons"]]
    assert pairs == [*((name, "default") for name in found["methods"]), ("state", "frozen")]
    for one in found["comparisons"]:
        assert one["n_seeds"] == 2
        assert 0 <= one["p_diebold_mariano"] <= 1
        assert one["low"] <= one["change"] <= one["high"]
    assert found["methods"]["weights"]["fields"]["load"]["scored"] == found["fields"]["load"]["scored"]
    assert found["versions"]["torch"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_contest_is_shown_as_tables(series: Path) -> None:
    """Methods, cost and tests, and each step ahead, within the width of a terminal."""
    options = ("--fields", "load,state", "--last", "120", "--horizon", "3", "--every", "20")
    result = evaluate(series, *options, "--baselines", "--ablate", "--only", "weights,seasonal-naive", "--season", "12")
    assert result.exit_code == 0, result.stderr
    for text in ("weights / default", "seasonal-naive", "p DM", "load, ", "state, "):
        assert text in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--only", "weights"), "needs --baselines or --ablate"),
        (("--ablate", "--only", "magic"), "there are"),
        (("--streams-as", "rows"), "is no number"),
        (("--streams-as", "columns", "--fields", "state"), "no column of numbers"),
        (("--files", "together", "{series}", "{other}"), "have other fields"),
    ],
)
def test_what_does_not_fit_is_one_line(series: Path, tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    """The last line says what is wrong."""
    other = tmp_path / "other.csv"
    other.write_text("y\n1\n2\n3\n")
    result = evaluate(series, *(option.format(series=series, other=other) for option in options))
    assert result.exit_code in (1, 2)
    assert reason in result.stderr.strip().splitlines()[-1]


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    """It says what was looked for."""
    result = evaluate(tmp_path)
    assert result.exit_code == 1
    assert "no CSV, NDJSON or Parquet file" in result.stderr
