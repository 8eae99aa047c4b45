"""Does correcting the belief pay? The tables of docs/experiment.md: ``make experiment``.

Each row is one ``stepahead evaluate --ablate`` over one set; the command is printed before it. Sets are those of
``make accuracy``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

EXAMPLES = Path(__file__).parent.parent / "examples"
CONDITIONS = {"clean": (), "noise": ("--noise", "0.3"), "missing": ("--missing", "0.3")}
PAIRS = (("weights", "default"), ("state", "frozen"))


@dataclass(frozen=True, slots=True)
class Run:
    """A file and the options that say how it is read and scored."""

    name: str
    path: Path
    options: tuple[str, ...] = ()
    measure: str = "rmse_ratio"


def known_runs() -> list[Run]:
    """The series in the repository, and the sets below ``STEPAHEAD_DATASETS``."""
    root = Path(os.environ.get("STEPAHEAD_DATASETS", "datasets"))
    etth, log = ("--protocol", "etth"), ("--stream-column", "CaseID", "--category", "ActivityID")
    rows = ("--streams-as", "rows")
    return [
        Run("nyc_taxi", EXAMPLES / "nyc_taxi.csv"),
        Run("taylor", root / "taylor/taylor.csv"),
        Run("machine_temperature", root / "nab/machine_temperature_system_failure.csv"),
        Run("cpu_asg", root / "nab/cpu_utilization_asg_misconfiguration.csv"),
        Run("ETTh2", root / "ett/ETTh2.csv", etth, "mse"),
        Run("ETTm1", root / "ett/ETTm1.csv.gz", etth, "mse"),
        Run(
            "M4 hourly, cold: first 176 items",
            root / "m4_hourly/m4_hourly_200.csv",
            (*rows, "--first", "1", "--last", "176"),
        ),
        Run("M4 hourly, from item 176", root / "m4_hourly/m4_hourly_200.csv", (*rows, "--first", "176")),
        Run(
            "M4 hourly, joining one after another",
            root / "m4_hourly/m4_hourly_200.csv",
            (*rows, "--order", "file", "--limit", "40"),
        ),
        Run("helpdesk", root / "process_logs/helpdesk.csv", log, "bits"),
        Run("alice29, 30,000 bytes", root / "text/alice29.txt", ("--limit", "30000"), "bits"),
    ]


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", metavar="A;B", default="", help="Sets to run.  [default: all that are there]")
@click.option("--conditions", metavar="A,B", default=",".join(CONDITIONS), show_default=True)
@click.option("--variants", metavar="A,B", default="weights,state,frozen", show_default=True)
@click.option("--experts", type=click.Choice(["all", "light", "none"]), default="none", show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes to run in.")
def main(seeds: int, only: str, conditions: str, variants: str, experts: str, jobs: int) -> None:
    """Print the tables; sets that are not there are left out by name."""
    names = variants.split(",")
    pairs = [*((name, "default") for name in names if name not in {"state", "frozen"}), *PAIRS[1:]]
    pairs = [pair for pair in pairs if set(pair) <= {"default", *names}]
    head = ["set", "data", "measure", "default", *(f"{a} against {b}" for a, b in pairs)]
    click.echo(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for run in known_runs():
        if only and run.name not in only.split(";"):
            continue
        if not run.path.exists():
            click.echo(f"{run.name}: not there, left out ({run.path})", err=True)
            continue
        for condition in conditions.split(","):
            options = (*run.options, *CONDITIONS[condition], "--experts", experts, "--seeds", str(seeds))
            found = evaluate(run.path, (*options, "--ablate", "--only", variants, "--jobs", str(jobs)))
            measure = found["mean"].get(run.measure, found["mean"].get("bits"))
            cells = [run.name, condition, run.measure.replace("_", " "), f"{measure:.4f}"]
            cells += [compared(found["comparisons"], *pair) for pair in pairs]
            click.echo(f"| {' | '.join(cells)} |")


def evaluate(path: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """What the command finds."""
    command = ["evaluate", str(path), *options, "--json"]
    click.echo(f"stepahead {shlex.join(command)}", err=True)
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "service", *command], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compared(comparisons: list[dict[str, Any]], method: str, other: str) -> str:
    """Change of the loss in per cent, its 95 % interval, p, and seeds won."""
    (found,) = [c for c in comparisons if (c["method"], c["with"]) == (method, other)]
    p = found["p_diebold_mariano"]
    if found["low"] is None:
        return "the same"
    change, low, high = (100 * found[name] for name in ("change", "low", "high"))
    interval = f"{low:+.2f} to {high:+.2f}"
    return f"{change:+.2f} % ({interval}; p {p:.2g}; {found['seeds_better']}/{found['n_seeds']})"


if __name__ == "__main__":
    main()
