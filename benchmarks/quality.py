"""Accuracy of the default learner on real series, as a Markdown table: ``make accuracy``.

Each series is run whole, prequentially, with no setting changed but what the column names. ``both`` is the default:
weights and carried state learn. ``weights`` never corrects the state. The frozen columns stop learning weights after
the rows that are not scored, with and without correcting the state. ``--experts none`` is the network alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click
import torch

from model.learner import Learner
from model.spec import ExpertsKind, LearnSpec, ModelSpec
from service.cli.evaluate import PROTOCOLS, Evaluation
from service.cli.table import read_table

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class Series:
    """A file and how it is measured."""

    name: str
    path: Path
    protocol: str = "stream"


COLUMNS = {
    "both": (LearnSpec(), False),
    "weights": (LearnSpec(state=False), False),
    "frozen+state": (LearnSpec(), True),
    "frozen": (LearnSpec(state=False), True),
}


def known_series() -> list[Series]:
    """The series in the repository, and those below ``STEPAHEAD_DATASETS``."""
    root = Path(os.environ.get("STEPAHEAD_DATASETS", "datasets"))
    nab = {
        "machine_temperature": "machine_temperature_system_failure.csv",
        "cpu_asg": "cpu_utilization_asg_misconfiguration.csv",
    }
    return [
        Series("nyc_taxi", EXAMPLES / "nyc_taxi.csv"),
        *(Series(name, root / "nab" / file) for name, file in nab.items()),
        Series("taylor", root / "taylor" / "taylor.csv"),
        Series("ETTh2", root / "ett" / "ETTh2.csv", "etth"),
        Series("ETTm1", root / "ett" / "ETTm1.csv.gz", "etth"),
    ]


def measure(series: Series, column: str, experts: ExpertsKind, seed: int) -> tuple[float, float]:
    """Error and coverage: MSE in standard deviations for ``etth``, else RMSE over persistence's."""
    learn, frozen = COLUMNS[column]
    table = read_table(series.path)
    run = Evaluation.of(table, PROTOCOLS[series.protocol], None, None)
    run.feed(
        Learner(ModelSpec(fields=table.fields, learn=learn, experts=experts, seed=seed)), run.first if frozen else None
    )
    means = run.means()
    error, coverage = means["mse" if series.protocol == "etth" else "rmse_ratio"], means["coverage"]
    if error is None or coverage is None:
        raise click.ClickException(f"{series.path}: nothing was scored")
    return error, coverage


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeds to average over.")
@click.option("--only", metavar="A,B", default="", help="Series to run.  [default: all that are there]")
@click.option("--columns", metavar="A,B", default="", help="Columns to run.  [default: all]")
@click.option("--experts", type=click.Choice(get_args(ExpertsKind)), default="all", show_default=True)
def main(seeds: int, only: str, columns: str, experts: ExpertsKind) -> None:
    """Print the table; series that are not there are left out by name."""
    torch.set_num_threads(1)
    chosen = [name for name in COLUMNS if not columns or name in columns.split(",")]
    click.echo(f"| series | measure | {' | '.join(chosen)} | coverage, {chosen[0]} |")
    click.echo("|---|---|" + "---:|" * (len(chosen) + 1))
    for series in known_series():
        if only and series.name not in only.split(","):
            continue
        if not series.path.exists():
            click.echo(f"{series.name}: not there, left out ({series.path})", err=True)
            continue
        errors, coverage = [], 0.0
        for column in chosen:
            runs = [measure(series, column, experts, seed) for seed in range(seeds)]
            errors.append(sum(error for error, _ in runs) / seeds)
            if column == chosen[0]:
                coverage = sum(covered for _, covered in runs) / seeds
        kind = "MSE" if series.protocol == "etth" else "RMSE / persistence"
        click.echo(f"| {series.name} | {kind} | {' | '.join(f'{e:.4f}' for e in errors)} | {coverage:.3f} |")


if __name__ == "__main__":
    main()
