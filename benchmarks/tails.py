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

from benchmarks.sets import PROTOCOL_OF_REALS, is_there, path_of
from model import student
from model.items import parse_item
from model.learner import Learner
from model.spec import ModelSpec
from model.step import Step
from service.cli.evaluate import PROTOCOLS
from service.cli.table import Table, read_table

Floats = NDArray[np.float64]


class Sums:
    """Of the scores that one kind of distribution got, by field, (R,)."""

    def __init__(self, n_reals: int) -> None:
        self.nll = np.zeros(n_reals)
        self.crps = np.zeros(n_reals)

    def add(self, error: Floats, std: Floats, degrees: Floats) -> None:
        """Add one item's, (R,) each; ``degrees`` of freedom as :mod:`model.student` has them."""
        for j in np.flatnonzero(~np.isnan(error)):
            self.nll[j] += student.nll(error[j], std[j], degrees[j])
            self.crps[j] += student.crps(error[j], std[j], degrees[j])


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
    for name, protocol in PROTOCOL_OF_REALS.items():
        if (only and name not in only.split(",")) or not is_there(name):
            continue
        table, counted = read_table(path_of(name)), PROTOCOLS[protocol]
        rows = counted.last or table.n_rows
        first = rows // 4 if counted.first is None else counted.first
        normal, heavy = Sums(len(table.fields)), Sums(len(table.fields))
        sent: list[Floats] = []
        n, covered = 0, 0
        for i, (before, step) in enumerate(run(table, rows)):
            if i >= first:
                error, pending = step.scores.error[0], before["pending"][0]
                normal.add(error, pending["std"], np.full(len(error), student.NORMAL))
                heavy.add(error, pending["std"], pending["degrees"])
                sent.append(pending["degrees"].copy())
                n += int((~np.isnan(error)).sum())
                covered += int(step.scores.covered[0][~np.isnan(error)].sum())
        ratio = np.exp(np.log(heavy.crps / normal.crps).mean())
        shares = [f"{k or 'normal'} {np.mean(np.array(sent) == k):.0%}" for k in student.CANDIDATES]
        chosen = ", ".join(share for share in shares if not share.endswith(" 0%"))
        nats = f"{normal.nll.sum() / n:.3f} | {heavy.nll.sum() / n:.3f}"
        click.echo(f"| {name} | {nats} | {ratio:.4f} | {covered / n:.3f} | {chosen} |")


if __name__ == "__main__":
    main()
