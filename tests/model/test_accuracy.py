"""Learning by outcome, on real series against a baseline: short forms of what ``make accuracy`` measures whole."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from service.cli.evaluate import evaluate
from tests.datasets import EXAMPLES, dataset


def measure(path: Path, *options: str) -> dict[str, Any]:
    """What ``stepahead evaluate --json`` prints."""
    result = CliRunner().invoke(evaluate, [str(path), "--json", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_taxi_demand_is_predicted_far_better_than_by_persistence() -> None:
    """On the first third of the series the error is already below two thirds of persistence's, and 90 % is 90 %."""
    found = measure(EXAMPLES / "nyc_taxi.csv", "--limit", "3440")["fields"]["value"]
    assert found["rmse_ratio"] < 0.6
    assert 0.87 < found["coverage"] < 0.93


BEST_PUBLISHED = 0.362 / 0.404  # mean squared error over persistence's on ETTh2, one step ahead (PatchTST)


def test_transformer_data_is_predicted_better_than_published() -> None:
    """ETTh2, rows 3,600 to 7,200: the share of persistence's error is below that of the best published learner."""
    path = dataset("ett/ETTh2.csv")
    found = measure(path, "--protocol", "etth", "--last", "7200")["mean"]
    assert found["mse"] < BEST_PUBLISHED * found["persistence_mse"]


def test_state_correction_lowers_the_error_of_frozen_weights() -> None:
    """ETTh2, the network alone, its weights frozen after the warm-up: correcting the belief is at least 5 % better."""
    path = dataset("ett/ETTh2.csv")
    frozen = ("--protocol", "etth", "--last", "7200", "--freeze-after", "3600", "--experts", "none")
    corrected = measure(path, *frozen)["mean"]["mse"]
    uncorrected = measure(path, *frozen, "--learn", "weights,initial_state")["mean"]["mse"]
    assert corrected < 0.95 * uncorrected
