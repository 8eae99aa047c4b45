"""``stepahead size``: what streams of a spec take, before there is a service."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from model.spec import FieldSpec, ModelSpec
from service.cli.options import split_names
from service.settings import BadSetting, Settings
from service.sizing import STREAM_NAME_BYTES, Size, size_of

BAD_SPEC = 2  # exit status

_STEP = 1024
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@click.command()
@click.argument("spec", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fields", metavar="A,B", callback=split_names, help="Real fields of a model without SPEC.")
@click.option("--category", metavar="NAME=N", multiple=True, help="A category of N values of a model without SPEC.")
@click.option("--streams", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="How many.")
@click.option("--name-bytes", type=click.IntRange(1), default=STREAM_NAME_BYTES, show_default=True, metavar="N",
              help="Length of a stream's name.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the bytes as JSON.")
def size(
    spec: Path | None, fields: tuple[str, ...], category: tuple[str, ...], streams: int, name_bytes: int, as_json: bool
) -> None:
    """Tell what streams take in the store, and their model in the service.

    SPEC is a JSON file that holds what PUT /v1/models/{model} takes. The settings of the service that matter,
    STEPAHEAD_KEPT_REPLIES and STEPAHEAD_SNAPSHOT_EVERY_UPDATES, are taken from the environment.
    """
    if (spec is None) == (not fields and not category):
        raise click.UsageError("give either SPEC, or --fields and --category")
    try:
        model = _from_names(fields, category) if spec is None else ModelSpec.from_dict(json.loads(spec.read_bytes()))
        settings = Settings.load()
        found = size_of(
            model,
            streams,
            kept_replies=settings.kept_replies,
            snapshot_every_updates=settings.snapshot_every_updates,
            name_bytes=name_bytes,
        )
    except (BadSetting, OSError, ValueError) as error:
        click.echo(f"stepahead: {error}", err=True)
        sys.exit(BAD_SPEC)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(_table(found))


def _from_names(fields: tuple[str, ...], categories: tuple[str, ...]) -> ModelSpec:
    found = [FieldSpec(name) for name in fields]
    for given in categories:
        name, _, capacity = given.rpartition("=")
        if not name or not capacity.isdecimal():
            raise ValueError(f"--category {given}: takes NAME=N")
        found.append(FieldSpec(name, "category", capacity=int(capacity)))
    return ModelSpec(tuple(found))


def _table(found: Size) -> Table:
    table = Table("", "", show_header=False, box=None)
    table.columns[1].justify = "right"
    for text, n_bytes in (
        ("a belief", found.belief_bytes),
        (f"{found.kept_replies} kept replies of {in_words(found.reply_bytes)}", found.reply_bytes * found.kept_replies),
        ("what the store adds", found.key_bytes),
        ("a stream", found.stream_bytes),
        (f"{found.streams} streams", found.streams_bytes),
        ("the saved weights, at most", found.snapshot_bytes),
        ("the redo log, at most", found.redo_bytes),
        ("in the store", found.store_bytes),
        ("in the service, while the model is in use, at most", found.memory_bytes),
    ):
        table.add_row(text, in_words(n_bytes))
    return table


def in_words(n_bytes: float) -> str:
    """A number of bytes with its unit; a kB has 1024."""
    for unit in _UNITS[:-1]:
        if n_bytes < _STEP:
            return f"{n_bytes:.0f} {unit}" if unit == _UNITS[0] else f"{n_bytes:.1f} {unit}"
        n_bytes /= _STEP
    return f"{n_bytes:.1f} {_UNITS[-1]}"
