"""Kill the service and its store over and over under load, and prove that nothing was lost: ``make chaos``."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click
import torch

from benchmarks.chaos.faults import schedule
from benchmarks.chaos.processes import ChaosFailed
from benchmarks.chaos.report import as_json, lines
from benchmarks.chaos.run import SETUPS, run


@click.command()
@click.option("--kills", type=click.IntRange(0), default=200, show_default=True, help="SIGKILLs, all setups together.")
@click.option("--items", type=click.IntRange(1), default=200_000, show_default=True, help="Least to be acknowledged.")
@click.option("--streams", type=click.IntRange(1), default=200, show_default=True, help="Of each of three models.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of items, faults and moments.")
@click.option("--store", type=click.Choice([*SETUPS, "both"]), default="both", show_default=True, help="Whose store.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where service and store write, a folder that is not there yet; it is kept. Not too deep, as sockets are made "
    "in it.  [default: a temporary one]",
)
@click.option("--json", "is_json", is_flag=True, help="All figures as JSON instead of tables.")
def main(kills: int, items: int, streams: int, seed: int, store: str, directory: Path | None, is_json: bool) -> None:
    """Feed many streams while service and store are killed and connections broken; compare all with a replay.

    The status is 1 if anything acknowledged was lost, learned twice, or differs in a bit from the replay.
    """
    torch.set_num_threads(1)  # as the service's learner
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing that was started is left behind
    names = list(SETUPS) if store == "both" else [store]
    begin_s = time.monotonic()

    def tell(name: str, line: str) -> None:
        click.echo(f"{time.monotonic() - begin_s:6.0f} s  {name}: {line}", err=True)

    outcomes = []
    with nullcontext(directory) if directory else tempfile.TemporaryDirectory(prefix="chaos-") as place:
        for i, name in enumerate(names):
            share = slice(i, None, len(names))
            n_kills, n_items = len(range(kills)[share]), len(range(items)[share])
            faults = list(schedule(name, n_kills, n_items, random.Random(f"{seed}/{name}/faults")))
            try:
                outcome = asyncio.run(
                    run(
                        name,
                        Path(place),
                        faults,
                        items=n_items,
                        streams=streams,
                        seed=seed,
                        tell=partial(tell, name),
                    )
                )
            except* ChaosFailed as failed:
                raise click.ClickException("\n".join(map(str, failed.exceptions))) from failed
            outcomes.append(outcome)
    click.echo(json.dumps(as_json(outcomes), indent=2) if is_json else "\n".join(lines(outcomes)))
    sys.exit(0 if all(outcome.is_clean for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
