"""``stepahead import``: a file of ``stepahead export`` into a running server."""

from __future__ import annotations

from pathlib import Path

import click
from safetensors import SafetensorError, safe_open

from service.cli.progress import working
from service.cli.transfer import server_options
from stepahead import Client


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", metavar="NAME", help="Model to create, or to put a stream into.  [default: the file's]")
@click.option("--stream", metavar="NAME", help="Stream to create, of a stream's file.  [default: the file's]")
@server_options
def import_(client: Client, file: Path, model: str | None, stream: str | None) -> None:
    """Create the model or the stream of FILE in a running server.

    It goes on where the exported one stood. Neither may be there already.
    """
    texts = _texts(file)
    kind = texts.get("format", "")
    if kind not in {"stepahead-model", "stepahead-stream"}:
        raise click.ClickException(f"{file} is no file of `stepahead export`")
    is_stream = kind == "stepahead-stream"
    if stream is not None and not is_stream:
        raise click.UsageError("--stream goes with a stream's file; this one holds a model")
    model = model or texts.get("model", "")
    stream = stream or texts.get("stream", "") if is_stream else None
    if not model or stream == "":
        raise click.ClickException(f"{file} does not say its name: give --model and --stream")
    with working(f"sending {file.name}"):
        if stream is None:
            n_streams = client.import_model(model, file).info().streams
            told = f"model {model}, {n_streams} streams"
        else:
            sequence = client.model(model).import_stream(stream, file).summary().sequence
            told = f"stream {stream} of model {model}, at item {sequence}"
    click.echo(told)


def _texts(file: Path) -> dict[str, str]:
    """What a file says of itself."""
    try:
        with safe_open(file, framework="np") as opened:
            found: dict[str, str] = opened.metadata() or {}
    except SafetensorError as error:
        raise click.ClickException(f"{file} is no safetensors file: {' '.join(str(error).split())}") from error
    return found
