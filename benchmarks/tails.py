"""Normal distributions against Student's t, as a Markdown table: ``python -m benchmarks.tails``.

Each series is run whole, prequentially, under the default learner. Mean, standard deviation and quantiles are the same
under both, so one run scores both. Scored are the rows that :mod:`benchmarks.quality` scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality import known_series
from model import distribution, student
from model.items import parse_item
from model.learner import Learner
from model.prequential import Tally
from model.spec import ModelSpec
from model.step import Step
from service.cli.evaluate import PROTOCOLS
from service.cli.table import Table, read_table

Floats = NDArray[np.float64]


class Normal:
    """Sums of the scores that normal distributions would have got, (R,)."""

    def __init__(self, n_reals: int) -> None:
        self.nll = np.zeros(n_reals)
        self.crps = np.zeros(n_reals)

    def add(self, error: Floats, std: Floats) -> None:
        """Add one item's, (1, R)."""
        std = np.where(std > 0, std, 1.0)
        for j in np.flatnonzero(~np.isnan(error[0])):
            self.nll[j] += distribution.normal_nll(error[0, j], std[0, j])
            self.crps[j] += distribution.normal_crps(error[0, j], std[0, j])


def run(table: Table, rows: int) -> Iterator[tuple[np.ndarray, Step]]:
    """Each row: the belief before it, and the step."""
    learner = Learner(ModelSpec(fields=table.fields, tails="student"))
    beliefs = learner.fresh_beliefs(1)
    for _, row in zip(range(rows), table.rows(), strict=False):
        step = learner.step(beliefs, [parse_item(learner.spec, row.item, row.timestamp_us)])
        learner.adopt(step)
        yield beliefs.records, step
        beliefs = step.beliefs


@click.command()
@click.option("--only", metavar="A,B", default="", help="Series to run.  [default: all that are there]")
def main(only: str) -> None:
    """Print the table; nats are per field and item, CRPS is the geometric mean over fields of t's over normal's."""
    torch.set_num_threads(1)
    click.echo("| series | nats, normal | nats, t | CRPS, t / normal | coverage | degrees of freedom sent |")
    click.echo("|---|---:|---:|---:|---:|---|")
    for series in known_series():
        if not series.path.exists() or (only and series.name not in only.split(",")):
            continue
        table, protocol = read_table(series.path), PROTOCOLS[series.protocol]
        rows = protocol.last or table.n_rows
        first = rows // 4 if protocol.first is None else protocol.first
        tally = Tally(ModelSpec(fields=table.fields))
        normal = Normal(len(table.fields))
        sent: list[Floats] = []
        for i, (before, step) in enumerate(run(table, rows)):
            if i >= first:
                tally.add(step.scores, np.zeros((1, 0), bool))
                normal.add(step.scores.error, before["pending"]["std"])
                sent.append(before["pending"]["degrees"][0].copy())
        n = tally.n.sum()
        ratio = np.exp(np.log(tally.crps / normal.crps).mean())
        shares = [f"{k or 'normal'} {np.mean(np.array(sent) == k):.0%}" for k in student.CANDIDATES]
        chosen = ", ".join(share for share in shares if not share.endswith(" 0%"))
        nats, coverage = f"{normal.nll.sum() / n:.3f} | {tally.nll / n:.3f}", tally.covered.sum() / n
        click.echo(f"| {series.name} | {nats} | {ratio:.4f} | {coverage:.3f} | {chosen} |")


if __name__ == "__main__":
    main()
