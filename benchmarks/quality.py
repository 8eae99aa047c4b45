"""Accuracy of the learner on real sets, as a Markdown table: ``make accuracy``.

Each set is run whole, prequentially, with no setting changed but what a column names; columns are the default and the
variants of ``stepahead evaluate --ablate``, whose measures these are. ``--experts none`` is the network alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import click
import torch

from benchmarks.sets import PROTOCOL_OF_REALS, is_there, path_of
from model.spec import ExpertsKind, FieldSpec, ModelSpec
from service.cli.contest import Contest
from service.cli.evaluate import PROTOCOLS, run
from service.cli.sources import Reading
from service.evaluation.report import Report
from service.evaluation.runs import Asked, Rows, Variant

RLS = "rls-ar24"
COLUMNS = {"stream_column": None, "stream": None, "time_column": None, "fields": None, "categories": ()}
Measure = Callable[[Report, str], float | None]


def mean(name: str, report: Report, method: str) -> float | None:
    """A measure's mean over streams and fields, and over seeds."""
    return report.summary(method).mean.get(name)


def beside_rls(report: Report, method: str) -> float | None:
    """The error as a share of that of an autoregression in the same run."""
    own, other = mean("rmse_ratio", report, method), mean("rmse_ratio", report, RLS)
    return own / other if own is not None and other else None


RATIO = ("RMSE / persistence", partial(mean, "rmse_ratio"))
MSE = ("MSE", partial(mean, "mse"))
ACCURACY = ("accuracy", partial(mean, "accuracy"))
BITS = ("bits", partial(mean, "bits"))
BESIDE_RLS = ("RMSE / persistence, over RLS-AR24's", beside_rls)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set and how it is measured.

    Args:
        name: What the table calls it.
        measures: Name, how it is found, and what is aimed at.
        rows: Which count.
        reading: How the file becomes series.
        columns: Arguments of ``read_table`` that differ from its defaults.
    """

    name: str
    measures: tuple[tuple[tuple[str, Measure], str], ...]
    rows: Rows = field(default_factory=Rows)
    reading: Reading = field(default_factory=Reading)
    columns: dict[str, Any] = field(default_factory=dict)


def known_sets() -> list[Benchmark]:
    """All sets, whether they are there or not."""
    log = {"stream_column": "CaseID", "categories": ("ActivityID",)}
    text = Reading(kind="bytes")
    aims = {
        "ETTh2": (MSE, "≤ .325"),
        "ETTm1": (MSE, "≤ .0760"),
        "nyc_taxi": (RATIO, "≤ .48"),
        "taylor": (RATIO, "≤ .25"),
        "machine_temperature": (RATIO, "≤ .87"),
        "cpu_asg": (RATIO, "≤ .34"),
    }
    m4 = ((RATIO, ""), (BESIDE_RLS, "≤ .95"))
    return [
        *(Benchmark(name, (aim,), PROTOCOLS[PROTOCOL_OF_REALS[name]]) for name, aim in aims.items()),
        Benchmark("M4 hourly", m4, Rows(first=176), Reading(streams_as="rows")),
        Benchmark("helpdesk", ((ACCURACY, "≥ .775"), (BITS, "≤ .935")), Rows(first=0), columns=log),
        Benchmark("alice29", ((BITS, "≤ 2.30"),), Rows(first=0), text),
        Benchmark("book1", ((BITS, "≤ 2.40"),), Rows(first=0), text),
    ]


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeds to average over.")
@click.option("--only", metavar="A,B", default="", help="Sets to run.  [default: all that are there]")
@click.option("--columns", metavar="A,B", default="default", show_default=True, help="The default, and variants of it.")
@click.option("--experts", type=click.Choice(get_args(ExpertsKind)), default="all", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Rows to take of each set.  [default: all]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes to run in.")
def main(seeds: int, only: str, columns: str, experts: ExpertsKind, limit: int | None, jobs: int) -> None:
    """Print the table; sets that are not there are left out by name."""
    torch.set_num_threads(1)
    names = columns.split(",")
    click.echo(f"| set | measure | aim | {' | '.join(names)} | coverage | µs/item |")
    click.echo("|---|---|---|" + "---:|" * (len(names) + 2))
    default = Variant("default", ModelSpec(fields=(FieldSpec("any"),), experts=experts))
    for one in known_sets():
        if (only and one.name not in only.split(",")) or not is_there(one.name):
            continue
        series = one.reading.read([path_of(one.name)], {**COLUMNS, "limit": limit, **one.columns})
        others = [RLS, *(name for name in names if name != default.name)]
        contest = Contest.of(default, with_baselines=True, season=None, ablate=True, only=others)
        asked = Asked(one.rows)
        report = run(series, contest.jobs(len(series), range(seeds), asked), asked, jobs)
        summary = report.summary(default.name)
        covered = summary.mean.get("coverage")
        for (kind, found), aim in one.measures:
            figures = [found(report, name) for name in names]
            cells = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
            coverage = "-" if covered is None else f"{covered:.3f}"
            click.echo(f"| {one.name} | {kind} | {aim} | {' | '.join(cells)} | {coverage} | {summary.item_us:.0f} |")


if __name__ == "__main__":
    main()
