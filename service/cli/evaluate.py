"""``stepahead evaluate``: predict, observe, score, learn over a file, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, get_args

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Sheet

from model.items import Item, parse_item
from model.learner import Learner
from model.prequential import Tally, prequential
from model.spec import CellKind, ExpertsKind, LearnSpec, ModelSpec
from service.cli.options import table_options
from service.cli.progress import rows_progress
from service.cli.table import Table, read_table

LEARNABLE = tuple(field.name for field in fields(LearnSpec))
DEFAULTS = {field.name: field.default for field in fields(ModelSpec)}


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which rows count, and in which unit errors are given.

    Args:
        first: First row that is scored, from 0; ``None`` for a quarter of the rows.
        last: Row after the last that is scored; ``None`` for the end. Later rows are not read.
        unit_rows: Errors are divided by each field's standard deviation over these first rows; 0 for the field's unit.
    """

    first: int | None = None
    last: int | None = None
    unit_rows: int = 0


HEADINGS = {
    "rmse_ratio": "rmse ratio",
    "persistence_rmse": "persistence",
    "persistence_mse": "persistence",
    "persistence_accuracy": "persistence",
}
PROTOCOLS = {"stream": Protocol(), "etth": Protocol(first=3_600, last=14_400, unit_rows=2_880)}


def parse_learn(_context: click.Context, _parameter: click.Parameter, value: str) -> LearnSpec:
    """``weights,state,initial_state``, any of them, or ``none``, as a click callback."""
    names = [] if value == "none" else [name.strip() for name in value.split(",")]
    unknown = sorted(set(names) - set(LEARNABLE))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: not among {', '.join(LEARNABLE)}, none")
    return LearnSpec(**{name: name in names for name in LEARNABLE})


@click.command()
@table_options
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="stream", show_default=True,
              help="stream: the last three quarters, in the fields' units. etth: rows 3,600 to 14,400, in standard "
                   "deviations of the first 2,880.")  # fmt: skip
@click.option("--first", type=click.IntRange(0), metavar="N", help="First row scored, from 0.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="Row after the last one scored.")
@click.option("--cell", type=click.Choice(get_args(CellKind)), default=DEFAULTS["cell"], show_default=True)
@click.option("--hidden", type=int, default=DEFAULTS["hidden"], show_default=True, help="Units per layer.")
@click.option("--layers", type=int, default=DEFAULTS["layers"], show_default=True)
@click.option(
    "--window", type=int, default=DEFAULTS["window"], show_default=True, help="Items the gradient reaches back."
)
@click.option("--learning-rate", type=float, help="Adam's step size.  [default: a schedule]")
@click.option("--experts", type=click.Choice(get_args(ExpertsKind)), default=DEFAULTS["experts"], show_default=True,
              help="What forecasts beside the network.")  # fmt: skip
@click.option("--seed", type=int, default=DEFAULTS["seed"], show_default=True)
@click.option("--learn", callback=parse_learn, default=",".join(LEARNABLE), show_default=True,
              help="What an item may change, or none.")  # fmt: skip
@click.option("--freeze-after", type=click.IntRange(0), metavar="N", help="Rows after which the weights stay frozen.")
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
def evaluate(
    columns: dict[str, Any],
    protocol: str,
    first: int | None,
    last: int | None,
    freeze_after: int | None,
    as_json: bool,
    **network: Any,
) -> None:
    """Predict, observe, score and learn over FILE (.csv or .csv.gz), row by row, in this process.

    The same step as the service takes; persistence, which predicts the last value again, stands beside it.
    """
    torch.set_num_threads(1)
    table = read_table(**columns)
    try:
        learner = Learner(ModelSpec(fields=table.fields, **network))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run = Evaluation.of(table, PROTOCOLS[protocol], first, last)
    run.feed(learner, freeze_after)
    if as_json:
        click.echo(json.dumps(run.to_dict(learner.spec), indent=2))
    else:
        run.show(Console())


@dataclass(slots=True)
class Evaluation:
    """One pass of a table through a learner.

    Args:
        table: Where the rows come from.
        rows: Number of rows read.
        first: First row scored, from 0.
        unit: What one is in the report, per real field, (R,); ``None`` for the field's own unit.
        tally: Of the rows from ``first`` on.
        elapsed_s: Seconds that the pass took.
    """

    table: Table
    rows: int
    first: int
    unit: NDArray[np.float64] | None
    tally: Tally
    elapsed_s: float = 0.0

    @classmethod
    def of(cls, table: Table, protocol: Protocol, first: int | None, last: int | None) -> Evaluation:
        """Settle which rows count; what is given goes before the protocol's.

        Raises:
            click.ClickException: If no row would be scored.
        """
        rows = min(table.n_rows, last or protocol.last or table.n_rows)
        first = first if first is not None else protocol.first if protocol.first is not None else rows // 4
        if first >= rows:
            raise click.ClickException(f"{table.path}: {rows} rows, none from {first} on to score")
        unit = _spread(table, protocol.unit_rows) if protocol.unit_rows else None
        return cls(table, rows, first, unit, Tally(ModelSpec(fields=table.fields)))

    def feed(self, learner: Learner, freeze_after: int | None) -> None:
        """Run every row through the learner."""
        started = time.perf_counter()
        with rows_progress() as progress:
            task = progress.add_task(self.table.path.name, total=self.rows, measures="", rate=0.0)
            done = 0
            for done in prequential(
                learner, self._items(learner.spec), self.tally, first=self.first, freeze_after=freeze_after
            ):
                if done % 100 == 0:
                    rate = done / (time.perf_counter() - started)
                    progress.update(task, completed=done, rate=rate, measures=self._running())
            self.elapsed_s = time.perf_counter() - started
            progress.update(task, completed=done, rate=done / self.elapsed_s, measures=self._running())

    def _items(self, spec: ModelSpec) -> Iterator[tuple[str, Item]]:
        for number, row in enumerate(self.table.rows(), start=1):
            if number > self.rows:
                return
            try:
                yield row.stream, parse_item(spec, row.item, row.timestamp_us)
            except ValueError as error:
                raise click.ClickException(f"{self.table.path}, row {number}: {error}") from error

    def _running(self) -> str:
        """The first field's measure so far, beside persistence's."""
        name, found = next(iter(self.tally.report(self.unit).items()))
        kind = "rmse" if "rmse" in found else "accuracy"
        return f"{name}: {kind} {_text(found[kind])}, persistence {_text(found[f'persistence_{kind}'])}"

    def to_dict(self, spec: ModelSpec) -> dict[str, Any]:
        """Spec, rows, measures per field and their means as plain JSON values."""
        return {
            "file": str(self.table.path),
            "spec": spec.to_dict(),
            "rows": self.rows,
            "first": self.first,
            "elapsed_s": self.elapsed_s,
            "nll": self.tally.nll / self.tally.n_items if self.tally.n_items else None,
            "mean": self.means(),
            "fields": self.tally.report(self.unit),
        }

    def means(self) -> dict[str, float | None]:
        """Each measure's mean over the real fields; of the ratios, their geometric mean."""
        report = self.tally.report(self.unit)
        reals = [report[spec.name] for spec in self.table.fields if spec.kind == "real"]
        found: dict[str, float | None] = {}
        for name in reals[0] if reals else ():
            values = [measures[name] for measures in reals]
            numbers = [float(value) for value in values if value is not None]
            if name == "rmse_ratio" and all(number > 0 for number in numbers):
                found[name] = float(np.exp(np.mean(np.log(numbers)))) if numbers else None
            elif name != "scored":
                found[name] = float(np.mean(numbers)) if numbers else None
        return found

    def show(self, console: Console) -> None:
        """Print the measures as tables."""
        rate = self.rows / self.elapsed_s
        unit = "the fields' own units" if self.unit is None else "standard deviations of the first rows"
        console.print(
            f"{self.rows} rows in {self.elapsed_s:.1f} s ({rate:.0f}/s). Scored from row {self.first}, in {unit}."
        )
        report = self.tally.report(self.unit)
        n_reals = sum(spec.kind == "real" for spec in self.table.fields)
        if n_reals:
            rows = {spec.name: report[spec.name] for spec in self.table.fields if spec.kind == "real"}
            if n_reals > 1:
                rows["mean"] = dict(self.means())
            kind = "rmse" if self.unit is None else "mse"
            names = (kind, f"persistence_{kind}", "rmse_ratio", "mae", "crps", "coverage")
            console.print(_sheet(rows, names))
        if n_reals < len(self.table.fields):
            rows = {spec.name: report[spec.name] for spec in self.table.fields if spec.kind == "category"}
            console.print(_sheet(rows, ("scored", "accuracy", "persistence_accuracy", "bits")))


def _spread(table: Table, n_rows: int) -> NDArray[np.float64]:
    """Standard deviation of each real field over the first rows, (R,); 1 where it does not vary."""
    names = [spec.name for spec in table.fields if spec.kind == "real"]
    rows = [[row.item[name] for name in names] for _, row in zip(range(n_rows), table.rows(), strict=False)]
    spread = np.nanstd(np.array(rows, np.float64), axis=0)  # None becomes NaN
    return np.where(spread > 0, spread, 1.0)


def _sheet(rows: dict[str, dict[str, Any]], names: tuple[str, ...]) -> Sheet:
    sheet = Sheet("field")
    for name in names:
        sheet.add_column(HEADINGS.get(name, name), justify="right", no_wrap=True)
    for field, measures in rows.items():
        sheet.add_row(field, *(_text(measures[name]) for name in names))
    return sheet


def _text(number: float | None) -> str:
    if number is None:
        return "-"
    return str(number) if isinstance(number, int) else f"{number:.4g}"
