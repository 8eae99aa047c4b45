"""Files to and from a running server, with progress, and its errors in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import click
import httpx

from service.cli.progress import bytes_progress

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT = httpx.Timeout(30.0, read=600.0)  # seconds; a large file is made before its first byte leaves
CHUNK_BYTES = 2**18


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url`` and ``--api-key``; the command gets a ``client`` of that server instead."""

    @click.option("--url", default=DEFAULT_URL, envvar="STEPAHEAD_URL", show_default=True, help="Where the server is.")
    @click.option("--api-key", envvar="STEPAHEAD_API_KEY", help="Key that the server asks for.")
    @wraps(command)
    def with_client(url: str, api_key: str | None, **given: Any) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT) as client:
                command(client=client, **given)
        except httpx.UnsupportedProtocol as error:
            raise click.ClickException(f"--url {url!r} must begin with http:// or https://") from error
        except httpx.HTTPError as error:
            raise click.ClickException(f"no answer from {url}: {str(error) or type(error).__name__}") from error
        except OSError as error:
            raise click.ClickException(str(error)) from error

    return with_client


def archive_path(model: str, stream: str | None) -> str:
    """Where the server has the archive of a model, or of one of its streams."""
    path = f"/v1/models/{quote(model, safe='')}"
    return f"{path}/archive" if stream is None else f"{path}/streams/{quote(stream, safe='')}/archive"


def download(client: httpx.Client, path: str, file: Path, **params: str) -> int:
    """Get a file whole, or leave what was there; return its bytes.

    Raises:
        click.ClickException: If the server refuses.
        httpx.HTTPError: If it cannot be reached, or breaks off.
        OSError: If the file cannot be written.
    """
    with _replaced(file) as part, client.stream("GET", path, params=params) as response, bytes_progress() as progress:
        if response.is_error:
            response.read()
            raise _refused(response)
        length = response.headers.get("content-length")
        task = progress.add_task(file.name, total=None if length is None else int(length))
        for chunk in response.iter_bytes(CHUNK_BYTES):
            part.write(chunk)
            progress.update(task, advance=len(chunk))
        return part.tell()


def upload(client: httpx.Client, path: str, file: Path) -> dict[str, Any]:
    """Send a file; return what the server made of it.

    Raises:
        click.ClickException: If the server refuses.
        httpx.HTTPError: If it cannot be reached, or breaks off.
        OSError: If the file cannot be read.
    """
    n_bytes = file.stat().st_size
    with file.open("rb") as source, bytes_progress() as progress:
        task = progress.add_task(file.name, total=n_bytes)

        def chunks() -> Iterator[bytes]:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
                progress.update(task, advance=len(chunk))

        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(n_bytes)}
        response = client.put(path, content=chunks(), headers=headers)
    if response.is_error:
        raise _refused(response)
    made: dict[str, Any] = response.json()
    return made


@contextmanager
def _replaced(file: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``file`` that takes its place once all went well, and is gone where it did not."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target:
            yield target
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _refused(response: httpx.Response) -> click.ClickException:
    try:
        error = response.json()["error"]
        return click.ClickException(f"{error['message']} ({error['code']})")
    except (json.JSONDecodeError, KeyError, TypeError):  # something that is not the service
        return click.ClickException(f"{response.request.url} answers HTTP {response.status_code}")
