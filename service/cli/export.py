"""``stepahead export``: a model or a stream of a running server as a file."""

from __future__ import annotations

from pathlib import Path

import click
import httpx

from service.cli.transfer import archive_path, download, server_options


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--stream", metavar="NAME", help="Export this stream alone.")
@click.option("--streams", "with_streams", is_flag=True, help="Export what all streams believe along with the model.")
@server_options
def export(client: httpx.Client, model: str, file: Path, stream: str | None, with_streams: bool) -> None:
    """Write MODEL of a running server to FILE (safetensors), which `stepahead import` reads.

    A FILE that exists is replaced once the new one is whole.
    """
    if stream is not None and with_streams:
        raise click.UsageError("give either --stream or --streams")
    params = {"streams": "all"} if with_streams else {}
    n_bytes = download(client, archive_path(model, stream), file, **params)
    click.echo(f"{file}: {n_bytes} bytes")
