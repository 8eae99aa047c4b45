"""``stepahead evaluate``."""

import json
import math
from pathlib import Path

import pytest
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
