"""Does correcting the belief pay? The tables of docs/experiment.md: ``make experiment``.

Each row is one ``stepahead evaluate --ablate`` over one set; the command is printed before it. Sets are those of
``make accuracy``.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.sets import PROTOCOL_OF_REALS, is_there, path_of

CONDITIONS = {"clean": (), "noise": ("--noise", "0.3"), "missing": ("--missing", "0.3")}
FROZEN = ("state", "frozen")
"""Variants that are compared with each other; all others are compared with the default."""


@dataclass(frozen=True, slots=True)
class Run:
    """A set, and the options that say how its file is read and scored.

    Args:
        of: The set.
        options: Of ``stepahead evaluate``.
        measure: That the table tells of the default.
        how: What tells it from other runs over the same set.
    """

    of: str
    options: tuple[str, ...] = ()
    measure: str = "rmse_ratio"
    how: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.of}{self.how}"


def known_runs() -> list[Run]:
    """All runs, whether their sets are there or not."""
    rows, log = ("--streams-as", "rows"), ("--stream-column", "CaseID", "--category", "ActivityID")
    return [
        *(
            Run(name, ("--protocol", "etth"), "mse") if protocol == "etth" else Run(name)
            for name, protocol in PROTOCOL_OF_REALS.items()
        ),
        Run("M4 hourly", (*rows, "--first", "1", "--last", "176"), how=", cold: first 176 items"),
        Run("M4 hourly", (*rows, "--first", "176"), how=", from item 176"),
        Run("M4 hourly", (*rows, "--order", "file", "--limit", "40"), how=", joining one after another"),
        Run("helpdesk", log, "bits"),
        Run("alice29", ("--limit", "30000"), "bits", ", 30,000 bytes"),
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
    pairs = [(name, "default") for name in names if name not in FROZEN]
    if set(FROZEN) <= set(names):
        pairs.append(FROZEN)
    head = ["set", "data", "measure", "default", *(f"{a} against {b}" for a, b in pairs)]
    click.echo(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for run in known_runs():
        if (only and run.name not in only.split(";")) or not is_there(run.of):
            continue
        for condition in conditions.split(","):
            options = (*run.options, *CONDITIONS[condition], "--experts", experts, "--seeds", str(seeds))
            found = evaluate(path_of(run.of), (*options, "--ablate", "--only", variants, "--jobs", str(jobs)))
            cells = [run.name, condition, run.measure.replace("_", " "), f"{found['mean'][run.measure]:.4f}"]
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
