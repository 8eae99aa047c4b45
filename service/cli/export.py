"""``stepahead export``: a model or a stream of a running server as a file."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli.progress import working
from service.cli.transfer import server_options
from stepahead import Client


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--stream", metavar="NAME", help="Export this stream alone.")
@click.option("--streams", "with_streams", is_flag=True, help="Export what all streams believe along with the model.")
@server_options
def export(client: Client, model: str, file: Path, stream: str | None, with_streams: bool) -> None:
    """Write MODEL of a running server to FILE (safetensors), which `stepahead import` reads.

    A FILE that exists is replaced once the new one is whole.
    """
    if stream is not None and with_streams:
        raise click.UsageError("give either --stream or --streams")
    with working(f"writing {file.name}"):
        if stream is None:
            client.model(model).export(file, streams=with_streams)
        else:
            client.model(model).stream(stream).export(file)
    click.echo(f"{file}: {file.stat().st_size} bytes")
