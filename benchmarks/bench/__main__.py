"""``make bench``, or ``python -m benchmarks.bench``: every comparison in one run, each pair measured in turns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
MILLION = 1_000_000
ROWS = ("learner", "deep-river", "rest", "frames", "backfill", "streams", "stored", "created", "durability")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--only", type=click.Choice(ROWS), multiple=True, help="What to measure; may be given again.")
@click.option("--quick", is_flag=True, help="Less of everything, in a few minutes; rough figures.")
@click.option("--million", is_flag=True, help="Create a million streams, not some thousands, while memory is watched.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where the figures go [default, of all rows: benchmarks/results/DATE-COMMIT.json].")  # fmt: skip
@click.pass_context
def main(context: click.Context, only: tuple[str, ...], quick: bool, million: bool, path: Path | None) -> None:
    """Measure all of it, write the figures as JSON and, of a run of everything, the tables and plots of the README."""
    if context.invoked_subcommand is not None:
        return
    from benchmarks.bench.rows import EVERYTHING  # noqa: PLC0415 - torch takes seconds, and help needs none of it
    from service.bench import plan as plans  # noqa: PLC0415
    from service.bench.machine import commit  # noqa: PLC0415
    from service.bench.rows import measure  # noqa: PLC0415

    plan = plans.QUICK if quick else plans.FULL
    if million:
        plan = replace(plan, created_streams=MILLION)
    is_whole = not (only or quick)
    if path is None and is_whole:
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{commit()}.json"
    report = measure(
        {name: EVERYTHING[name] for name in ROWS if not only or name in only},
        plan,
        lambda line: click.echo(line, err=True),
        path,
    )
    click.echo("\n".join(report.lines()))
    if path is not None:
        click.echo(f"figures in {path}", err=True)
        if is_whole:
            _write(path)


@main.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
def compare(old: Path, new: Path) -> None:
    """What changed from one run to another, row by row."""
    from service.bench.report import Report, comparison  # noqa: PLC0415

    click.echo("\n".join(comparison(Report.load(old), Report.load(new))))


@main.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
def report(files: tuple[Path, ...]) -> None:
    """Write the README's tables and plots from files of figures; rows of later files replace those of earlier ones."""
    _write(*files)


def _write(*files: Path) -> None:
    from benchmarks.bench.readme import write  # noqa: PLC0415

    for written in write(files):
        click.echo(f"written: {written}", err=True)


if __name__ == "__main__":
    main()
