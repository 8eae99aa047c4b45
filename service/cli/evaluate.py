"""``stepahead evaluate``: predict, observe, score, learn over files, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click
import torch
from rich.console import Console

from model.device import DeviceSetting, choose
from model.spec import CellKind, ExpertsKind, FieldSpec, LearnSpec, ModelSpec
from service.cli.contest import Contest
from service.cli.formats import FORMATS
from service.cli.options import column_options, split_names
from service.cli.progress import rows_progress
from service.cli.sources import Reading
from service.evaluation import sheets
from service.evaluation.jobs import Job, run_jobs
from service.evaluation.plot import save
from service.evaluation.report import Report
from service.evaluation.runs import Asked, Rows, Variant
from service.evaluation.series import ORDERS, Series

LEARNABLE = tuple(field.name for field in fields(LearnSpec))
DEFAULTS = {field.name: field.default for field in fields(ModelSpec)}
PROTOCOLS = {"stream": Rows(), "etth": Rows(first=3_600, last=14_400, unit_rows=2_880)}


def parse_learn(_context: click.Context, _parameter: click.Parameter, value: str) -> LearnSpec:
    """``weights,state,initial_state``, any of them, or ``none``, as a click callback."""
    names = [] if value == "none" else [name.strip() for name in value.split(",")]
    unknown = sorted(set(names) - set(LEARNABLE))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: not among {', '.join(LEARNABLE)}, none")
    return LearnSpec(**{name: name in names for name in LEARNABLE})


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@column_options
@click.option("--as", "kind", type=click.Choice([*FORMATS, "bytes"]),
              help="What files hold.  [default: bytes for .txt, else by name and content]")  # fmt: skip
@click.option("--streams-as", type=click.Choice(["columns", "rows"]), help="Each column of numbers, or each row, is a "
              "stream; all of a file share a model.")  # fmt: skip
@click.option("--channels", type=click.Choice(["together", "apart"]), default="together", show_default=True,
              help="Columns are fields of one model, or each has a model of its own.")  # fmt: skip
@click.option("--files", "share", type=click.Choice(["apart", "together"]), default="apart", show_default=True,
              help="Each file has a model of its own, or all are streams of one.")  # fmt: skip
@click.option("--order", type=click.Choice(ORDERS), default="auto", show_default=True,
              help="How the rows of several streams arrive. auto: by time where all have one, else in lockstep, the "
                   "first item of every stream, then the second.")  # fmt: skip
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="stream", show_default=True,
              help="stream: the last three quarters, in the fields' units. etth: rows 3,600 to 14,400, in standard "
                   "deviations of the first 2,880.")  # fmt: skip
@click.option(
    "--first", type=click.IntRange(0), metavar="N", help="First row scored, from 0; of each stream in lockstep."
)
@click.option("--last", type=click.IntRange(1), metavar="N", help="Row after the last one scored, counted likewise.")
@click.option("--noise", type=click.FloatRange(0), default=0.0, metavar="SIGMA", show_default=True,
              help="Gaussian noise on what is fed and scored, in standard deviations of each series.")  # fmt: skip
@click.option("--missing", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE", show_default=True,
              help="Share of values dropped at random.")  # fmt: skip
@click.option("--horizon", type=click.IntRange(1), default=1, metavar="H", show_default=True,
              help="Forecast this many steps ahead, too.")  # fmt: skip
@click.option("--every", type=click.IntRange(1), metavar="N", help="Items between such forecasts.  [default: H]")
@click.option("--cell", type=click.Choice(get_args(CellKind)), default=DEFAULTS["cell"], show_default=True)
@click.option("--hidden", type=int, default=DEFAULTS["hidden"], show_default=True, help="Units per layer.")
@click.option("--layers", type=int, default=DEFAULTS["layers"], show_default=True)
@click.option(
    "--window", type=int, default=DEFAULTS["window"], show_default=True, help="Items the gradient reaches back."
)
@click.option("--learning-rate", type=float, help="Adam's step size.  [default: a schedule]")
@click.option("--experts", type=click.Choice(get_args(ExpertsKind)), default=DEFAULTS["experts"], show_default=True,
              help="What forecasts beside the network.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS["seed"], show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, metavar="N", show_default=True,
              help="Runs, under as many seeds from --seed on.")  # fmt: skip
@click.option("--learn", callback=parse_learn, default=",".join(LEARNABLE), show_default=True,
              help="What an item may change, or none.")  # fmt: skip
@click.option("--freeze-after", type=click.IntRange(0), metavar="N", help="Rows after which the weights stay frozen.")
@click.option("--baselines", "with_baselines", is_flag=True, help="Run simpler methods and other libraries beside it.")
@click.option(
    "--season", type=click.IntRange(1), metavar="N", help="Items of a season, for baselines.  [default: found]"
)
@click.option("--ablate", is_flag=True, help="Run variants of the learner, and test each against it.")
@click.option(
    "--only", metavar="A,B", callback=split_names, help="Of baselines and variants, those to run.  [default: all]"
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="PNG", help="Draw running error and tests."
)
@click.option("--jobs", type=click.IntRange(1), default=1, metavar="N", show_default=True, help="Processes to run in.")
@click.option("--device", type=click.Choice(get_args(DeviceSetting)), default="cpu", show_default=True,
              help="Where the network computes.  auto: cuda where there is one.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
def evaluate(
    files: tuple[Path, ...],
    columns: dict[str, Any],
    kind: Any,
    streams_as: Any,
    channels: Any,
    share: Any,
    order: Any,
    protocol: str,
    first: int | None,
    last: int | None,
    noise: float,
    missing: float,
    horizon: int,
    every: int | None,
    seed: int,
    seeds: int,
    freeze_after: int | None,
    with_baselines: bool,
    season: int | None,
    ablate: bool,
    only: tuple[str, ...],
    plot: Path | None,
    jobs: int,
    device: DeviceSetting,
    as_json: bool,
    **network: Any,
) -> None:
    """Predict, observe, score and learn over each FILE, item by item, in this process.

    A FILE is CSV or NDJSON (both perhaps .gz), Parquet, a folder of such, or text. The same step as the service takes;
    persistence, which predicts the last value again, stands beside it.
    """
    torch.set_num_threads(1)
    rows = PROTOCOLS[protocol]
    rows = replace(rows, **{name: given for name, given in (("first", first), ("last", last)) if given is not None})
    asked = Asked(rows, noise, missing, horizon, every or horizon)
    try:
        variant = Variant(
            "default", ModelSpec(fields=(FieldSpec("any"),), **network), freeze_after, device=choose(device)
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    series = Reading(streams_as, channels, share, kind, order).read(files, columns)
    check_rows(files, series, rows)
    contest = Contest.of(variant, with_baselines=with_baselines, season=season, ablate=ablate, only=only)
    if plot is not None:
        require_matplotlib()
    report = run(series, contest.jobs(len(series), range(seed, seed + seeds), asked), asked, jobs)
    spec = replace(variant.spec, fields=series[0].fields, seed=seed)
    if as_json:
        names = {"file": str(files[0]), "files": [str(file) for file in files]}
        found = report.to_dict(variant.name, contest.others, contest.pairs(series))
        click.echo(json.dumps({**names, "spec": spec.to_dict(), **found}, indent=2))
    else:
        show(Console(), report, contest)
    if plot is not None:
        draw(report, contest, plot)


def check_rows(files: Sequence[Path], series: Sequence[Series], rows: Rows) -> None:
    """Make sure that every series has something to score.

    Raises:
        click.ClickException: If one has not, or its fields do not make a model.
    """
    for one in series:
        name = str(files[0]) if len(series) == 1 else one.name
        kept = one.until(rows.last)
        if not rows.scored(kept).any():
            first = int(kept.first_scored(rows.first).min())
            raise click.ClickException(f"{name}: {len(kept)} rows, none from {first} on to score")
        try:
            ModelSpec(fields=one.fields)
        except ValueError as error:
            raise click.ClickException(f"{name}: {error}") from error


def run(series: Sequence[Series], jobs: Sequence[Job], asked: Asked, n_workers: int) -> Report:
    """Run all jobs, with a bar on standard error."""
    started = time.perf_counter()
    total = sum(len(series[job.at].until(asked.rows.last)) for job in jobs)
    with rows_progress() as progress:
        task = progress.add_task(jobs[0].method.name, total=total, measures="", rate=0.0)
        done = 0

        def notify(job: Job, rows: int, text: str) -> None:
            nonlocal done
            done += rows
            name = f"{job.method.name}, {series[job.at].name}, seed {job.seed}"
            rate = done / (time.perf_counter() - started)
            progress.update(task, completed=done, rate=rate, description=name, measures=text)

        outcomes = run_jobs(series, jobs, asked, n_workers, notify)
        elapsed_s = time.perf_counter() - started
        progress.update(task, completed=total, rate=total / elapsed_s, description="done")
    return Report.of(series, asked, jobs, outcomes, elapsed_s)


def show(console: Console, report: Report, contest: Contest) -> None:
    """Print the measures as tables."""
    method, n_runs = contest.default.name, len(report.outcomes)
    unit = "standard deviations of the first rows" if report.asked.rows.unit_rows else "the fields' own units"
    first = "a quarter of each stream on" if report.first is None else f"row {report.first}"
    runs = "" if n_runs == 1 else f" in {n_runs} runs"
    console.print(
        f"{report.n_rows} rows{runs} in {report.elapsed_s:.1f} s "
        f"({1e6 / max(report.summary(method).item_us, 1e-9):.0f} items/s). Scored from {first}, in {unit}."
    )
    for sheet in (*sheets.fields(report, report.summary(method)), *sheets.ahead(report, method)):
        console.print(sheet)
    if contest.others:
        for sheet in sheets.methods(report, method, contest.others, contest.pairs(report.series)):
            console.print(sheet)


def require_matplotlib() -> None:
    """Find out before the work, not after it.

    Raises:
        click.ClickException: If it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise click.ClickException('--plot needs matplotlib: pip install "stepahead-server[plot]"')


def draw(report: Report, contest: Contest, path: Path) -> None:
    """Write the picture.

    Raises:
        click.ClickException: If it cannot be written.
    """
    try:
        save(report, [contest.default.name, *contest.others], contest.compared or contest.pairs(report.series), path)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from error
