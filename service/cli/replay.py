"""``stepahead replay``: feed a file through a running server and measure what it predicted."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Sheet

from model.spec import FieldSpec, ModelSpec
from service.cli.arriving import arriving
from service.cli.formats import STANDARD_INPUT
from service.cli.options import table_options
from service.cli.scoreboard import Progress, Scoreboard
from service.cli.scoreboard import number as text
from service.cli.table import Row, Table, read_table
from service.cli.tally import RealMeasures, Tally, Values
from service.cli.transfer import address_options, errors_in_one_line
from stepahead import AsyncClient, Client, InvalidItem, Model, Reply, SequenceError, UnknownModel

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a program that SIGINT ended."""


@click.command()
@table_options
@click.option("--model", "model_name", required=True, metavar="NAME", help="Model to feed; created if it is not there.")
@address_options
@click.option("--append", is_flag=True, help="Rows follow those that the server has, as of a pipe that goes on; "
              "without it they are the same rows from the top.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
@click.pass_context
def replay(
    context: click.Context,
    columns: dict[str, Any],
    model_name: str,
    url: str,
    api_key: str | None,
    append: bool,
    as_json: bool,
) -> None:
    """Feed FILE through a running server and measure what it predicted.

    FILE is CSV or NDJSON (both perhaps .gz), Parquet, or - for standard input, which may be endless; where the model
    is not there yet, its first --infer-rows rows are awaited before one is sent. Rows that the server has already are
    skipped, so that an interrupted replay goes on where it stopped. Ctrl-C ends with what was measured so far.
    """
    if append and columns["sequence_column"] is not None:
        raise click.UsageError("give either --append or --sequence-column")
    with errors_in_one_line(), Client(url, api_key=api_key) as client:
        model, table = _open(client, model_name, columns)
        run = Replay(table, {summary.stream: summary.sequence for summary in model.streams()}, append)
        if table.n_rows is None:
            run.feed_live(url, api_key, model_name)
        else:
            run.feed(model)
    if as_json:
        click.echo(json.dumps({"model": model_name, **run.to_dict()}, indent=2))
    else:
        run.show(Console())
    if run.interrupted:
        context.exit(INTERRUPTED)


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
        append: Whether rows follow what the server has, or begin with it.
    """

    table: Table
    applied: dict[str, int]
    append: bool = False
    everything: Tally = field(init=False)
    later: Tally = field(init=False)
    progress: Progress = field(init=False)
    interrupted: bool = field(init=False, default=False)
    elapsed_s: float = field(init=False, default=0.0)
    _sent: deque[Sent] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self.everything, self.later = Tally(self.table.fields), Tally(self.table.fields)
        path = self.table.path
        self.progress = Progress(self.table.label if path == STANDARD_INPUT else path.name, self.table.n_rows)

    def feed(self, model: Model) -> None:
        """Send every row that the server does not have, and count every reply, until the end or Ctrl-C.

        Raises:
            click.ClickException: If a row is refused.
            StepaheadError: If the service cannot be reached or fails.
        """
        with self._shown() as count:
            for reply in model.observe_many(self._rows()):
                count(reply)

    def feed_live(self, url: str, api_key: str | None, name: str) -> None:
        """The same from a source that may be silent for long: what has arrived is sent and answered meanwhile."""

        async def observe(count: Callable[[Reply], None]) -> None:
            async with AsyncClient(url, api_key=api_key) as client:
                async for reply in client.model(name).observe_many(arriving(self._rows())):
                    count(reply)

        with self._shown() as count:
            asyncio.run(observe(count))

    @contextmanager
    def _shown(self) -> Iterator[Callable[[Reply], None]]:
        """Shows how far it is; gives what counts a reply."""
        n_rows = self.table.n_rows
        first_later = math.inf if n_rows is None else n_rows / 4
        started = time.perf_counter()
        with Scoreboard(self.progress, self.everything.measures) as board:

            def count(reply: Reply) -> None:
                sent = self._sent.popleft()
                self.everything.add(reply.score, sent.item, sent.last)
                if sent.number > first_later:
                    self.later.add(reply.score, sent.item, sent.last)
                self.progress.n_replies += 1
                self.elapsed_s = time.perf_counter() - started
                board.tick()

            try:
                yield count
            except KeyboardInterrupt:
                self.interrupted = True
            except (InvalidItem, SequenceError) as error:
                row = self._sent[0].number
                raise click.ClickException(f"{self.table.label}, row {row}: {error.message} ({error.code})") from error

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Rows that the server does not have, each with its sequence; notes what was sent."""
        sequences = dict(self.applied) if self.append else {}
        last: dict[str, dict[str, float | str]] = {}
        for number, row in enumerate(self.table.rows(), start=1):
            sequence = sequences.get(row.stream, 0) + 1 if row.sequence is None else row.sequence
            sequences[row.stream] = sequence
            observed = last.setdefault(row.stream, {})
            if sequence > self.applied.get(row.stream, 0):
                self._sent.append(Sent(number, row.item, dict(observed)))
                yield _wire_row(row, sequence)
            else:
                self.progress.n_skipped += 1
            observed.update({name: value for name, value in row.item.items() if value is not None})

    @property
    def _has_later(self) -> bool:
        """Whether there are last three quarters to measure."""
        return self.table.n_rows is not None and not self.interrupted

    def to_dict(self) -> dict[str, Any]:
        """The measures as plain JSON values."""
        everything, later = self.everything.to_dict(), self.later.to_dict()
        n_rows = self.table.n_rows
        return {
            "rows": self.progress.n_skipped + self.progress.n_replies if n_rows is None else n_rows,
            "skipped": self.progress.n_skipped,
            "replayed": self.progress.n_replies,
            "elapsed_s": self.elapsed_s,
            "interrupted": self.interrupted,
            "fields": {
                name: {"all": everything[name], "last_three_quarters": later[name] if self._has_later else None}
                for name in self.everything.fields
            },
        }

    def show(self, console: Console) -> None:
        """Print the measures as tables."""
        n_replies, n_skipped = self.progress.n_replies, self.progress.n_skipped
        if n_replies == 0:
            had = "" if self.interrupted else f"The server has all {n_skipped} rows already; "
            console.print(f"{had}nothing was replayed.")
            return
        rate = n_replies / self.elapsed_s
        resumable = self.table.n_rows is not None and not self.append
        so_far = f" so far{'; the same command goes on from there' if resumable else ''}" if self.interrupted else ""
        console.print(f"{n_replies} rows in {self.elapsed_s:.1f} s ({rate:.0f}/s), {n_skipped} skipped{so_far}.")
        reals, categories = Sheet(), Sheet()
        for column in ("field", "rows", "scored", "RMSE", "persistence", "ratio", "coverage"):
            reals.add_column(column, justify="left" if column in ("field", "rows") else "right")
        for column in ("field", "rows", "scored", "accuracy", "persistence", "bits"):
            categories.add_column(column, justify="left" if column in ("field", "rows") else "right")
        later = self.later.measures()
        for name, everything in self.everything.measures().items():
            sheet = reals if isinstance(everything, RealMeasures) else categories
            for rows, found in [("all", everything), *([("last 3/4", later[name])] if self._has_later else [])]:
                numbers = [getattr(found, part) for part in found.__slots__]
                sheet.add_row(name if rows == "all" else "", rows, *(text(value) for value in numbers))
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
