"""``stepahead bench``: what this installation gets through on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
from httpx import HTTPError
from rich.console import Console
from rich.table import Table

from service.bench import plan as plans

ROWS = ("rest", "frames", "backfill", "durability")
BACKFILL_ITEMS = 20_000


@click.command()
@click.option("--only", type=click.Choice(ROWS), multiple=True, help="What to measure; may be given again.")
@click.option("--quick", is_flag=True, help="Less of everything: about a minute, and rougher figures.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures to FILE.",
              metavar="FILE")  # fmt: skip
def bench(only: tuple[str, ...], quick: bool, path: Path | None) -> None:
    """Measure the service on this machine, beside what it could at most be.

    It starts services of its own, whose data is thrown away: REST against a FastAPI route that does nothing, long-lived
    connections and one stream that is filled against the learner alone, and what it costs to have each reply wait for
    the disk. Both sides of a pair take turns, so that whatever else runs slows both. Every reply is durable.
    """
    from service.bench.report import HEAD, cells  # noqa: PLC0415 - torch takes seconds, and help needs none of it
    from service.bench.rows import SERVICE, measure  # noqa: PLC0415

    plan = plans.QUICK if quick else replace(plans.FULL, backfill_items=BACKFILL_ITEMS)
    try:
        report = measure(
            {name: SERVICE[name] for name in ROWS if not only or name in only},
            plan,
            lambda line: click.echo(line, err=True),
            path,
        )
    except (OSError, RuntimeError, HTTPError) as error:
        click.echo(f"stepahead: {error}", err=True)
        sys.exit(1)
    table = Table(*HEAD)
    for row in report.rows:
        table.add_row(*cells(row))
    Console().print(table)
