"""``stepahead replay``: feed a file through a running server and measure what it predicted."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Sheet

from model.spec import FieldSpec, ModelSpec
from service.cli.options import table_options
from service.cli.progress import rows_progress
from service.cli.table import Row, Table, read_table
from service.cli.tally import RealMeasures, Tally, Values
from service.cli.transfer import DEFAULT_URL
from stepahead import Client, InvalidItem, Model, SequenceError, StepaheadError, UnknownModel


@click.command()
@table_options
@click.option("--model", "model_name", required=True, metavar="NAME", help="Model to feed; created if it is not there.")
@click.option("--url", default=DEFAULT_URL, envvar="STEPAHEAD_URL", show_default=True, help="Where the server is.")
@click.option("--api-key", envvar="STEPAHEAD_API_KEY", help="Key that the server asks for.")
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
def replay(columns: dict[str, Any], model_name: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Feed FILE (.csv or .csv.gz) through a running server and measure what it predicted.

    Rows that the server has already are skipped, so that an interrupted replay goes on where it stopped.
    """
    try:
        with Client(url, api_key=api_key) as client:
            model, table = _open(client, model_name, columns)
            applied = {summary.stream: summary.sequence for summary in model.streams()}
            run = Replay(table, applied)
            run.feed(model)
    except StepaheadError as error:
        raise click.ClickException(f"{error.message} ({error.code})") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"model": model_name, **run.to_dict()}, indent=2))
    else:
        run.show(Console())


@dataclass(frozen=True, slots=True)
class Sent:
    """A row on its way; ``last`` holds its stream's last observed values before it."""

    number: int
    item: Values
    last: Values


@dataclass(slots=True)
class Replay:
    """One pass of a table through a model.

    Args:
        table: Where the rows come from.
        applied: Stream to the sequence that the server has of it; absent ones are new.
    """

    table: Table
    applied: dict[str, int]
    everything: Tally = field(init=False)
    later: Tally = field(init=False)
    n_skipped: int = field(init=False, default=0)
    n_replies: int = field(init=False, default=0)
    elapsed_s: float = field(init=False, default=0.0)
    _sent: deque[Sent] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self.everything, self.later = Tally(self.table.fields), Tally(self.table.fields)

    def feed(self, model: Model) -> None:
        """Send every row that the server does not have, and count every reply.

        Raises:
            click.ClickException: If a row is refused.
            StepaheadError: If the service cannot be reached or fails.
        """
        first_later = self.table.n_rows / 4
        started = time.perf_counter()
        with rows_progress() as progress:
            task = progress.add_task(self.table.path.name, total=self.table.n_rows, measures="", rate=0.0)
            try:
                for reply in model.observe_many(self._rows()):
                    sent = self._sent.popleft()
                    self.everything.add(reply.score, sent.item, sent.last)
                    if sent.number > first_later:
                        self.later.add(reply.score, sent.item, sent.last)
                    self.n_replies += 1
                    self.elapsed_s = time.perf_counter() - started
                    rate = self.n_replies / self.elapsed_s
                    done = self.n_skipped + self.n_replies
                    progress.update(task, completed=done, rate=rate, measures=self._running())
            except (InvalidItem, SequenceError) as error:
                row = self._sent[0].number
                raise click.ClickException(f"{self.table.path}, row {row}: {error.message} ({error.code})") from error
            progress.update(task, completed=self.n_skipped + self.n_replies)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Rows that the server does not have, each with its sequence; notes what was sent."""
        sequences: dict[str, int] = {}
        last: dict[str, dict[str, float | str]] = {}
        for number, row in enumerate(self.table.rows(), start=1):
            sequence = sequences[row.stream] = sequences.get(row.stream, 0) + 1
            observed = last.setdefault(row.stream, {})
            if sequence > self.applied.get(row.stream, 0):
                self._sent.append(Sent(number, row.item, dict(observed)))
                yield _wire_row(row, sequence)
            else:
                self.n_skipped += 1
            observed.update({name: value for name, value in row.item.items() if value is not None})

    def _running(self) -> str:
        """What the first field's predictions come to so far, beside persistence's."""
        for name, tally in self.everything.fields.items():
            found = tally.measures()
            if isinstance(found, RealMeasures):
                return f"{name}: RMSE {_text(found.rmse)}, persistence {_text(found.persistence_rmse)}"
            return f"{name}: accuracy {_text(found.accuracy)}, persistence {_text(found.persistence_accuracy)}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """The measures as plain JSON values."""
        everything, later = self.everything.to_dict(), self.later.to_dict()
        return {
            "rows": self.table.n_rows,
            "skipped": self.n_skipped,
            "replayed": self.n_replies,
            "elapsed_s": self.elapsed_s,
            "fields": {
                name: {"all": everything[name], "last_three_quarters": later[name]} for name in self.everything.fields
            },
        }

    def show(self, console: Console) -> None:
        """Print the measures as tables."""
        if self.n_replies == 0:
            console.print(f"The server has all {self.table.n_rows} rows already; nothing was replayed.")
            return
        rate = self.n_replies / self.elapsed_s
        console.print(f"{self.n_replies} rows in {self.elapsed_s:.1f} s ({rate:.0f}/s), {self.n_skipped} skipped.")
        reals, categories = Sheet(), Sheet()
        for column in ("field", "rows", "scored", "RMSE", "persistence", "ratio", "coverage"):
            reals.add_column(column, justify="left" if column in ("field", "rows") else "right")
        for column in ("field", "rows", "scored", "accuracy", "persistence", "bits"):
            categories.add_column(column, justify="left" if column in ("field", "rows") else "right")
        later = self.later.measures()
        for name, everything in self.everything.measures().items():
            sheet = reals if isinstance(everything, RealMeasures) else categories
            for rows, found in (("all", everything), ("last 3/4", later[name])):
                numbers = [getattr(found, part) for part in found.__slots__]
                sheet.add_row(name if rows == "all" else "", rows, *(_text(number) for number in numbers))
        for sheet in (reals, categories):
            if sheet.row_count:
                console.print(sheet)


def _open(client: Client, name: str, columns: dict[str, Any]) -> tuple[Model, Table]:
    """The model, which is created if it is not there, and the table as the model's fields have it."""
    try:
        spec = client.model(name).info().spec
    except UnknownModel:
        table = read_table(**columns)
        return client.create_model(name, {spec.name: _kind(spec) for spec in table.fields}), table
    like = ModelSpec.from_dict({"fields": spec["fields"]}).fields
    return client.model(name), read_table(**columns, like=like)


def _kind(spec: FieldSpec) -> str | dict[str, Any]:
    if spec.kind == "real":
        return "real"
    return {"values": list(spec.values)} if spec.values is not None else {"capacity": spec.capacity}


def _wire_row(row: Row, sequence: int) -> dict[str, Any]:
    return {"stream": row.stream, "sequence": sequence, "item": row.item, "timestamp": row.timestamp}


def _text(number: float | None) -> str:
    if number is None:
        return "-"
    return str(number) if isinstance(number, int) else f"{number:.4g}"
