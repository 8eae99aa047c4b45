"""A running server, as commands reach it: where it is, what it says, and its errors in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from stepahead import Client, StepaheadError

DEFAULT_URL = "http://127.0.0.1:8000"
RETRIES = 2
"""Who typed a command is there to see it fail."""


def address_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url`` and ``--api-key``."""
    url = click.option(
        "--url", default=DEFAULT_URL, envvar="STEPAHEAD_URL", show_default=True, help="Where the server is."
    )
    key = click.option("--api-key", envvar="STEPAHEAD_API_KEY", help="Key that the server asks for.")
    return url(key(command))


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Let what a call of the service may raise be told in one line.

    Raises:
        click.ClickException: Instead.
    """
    try:
        yield
    except StepaheadError as error:
        raise click.ClickException(f"{error.message} ({error.code})") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url`` and ``--api-key``; the command gets a ``client`` of that server instead."""

    @address_options
    @wraps(command)
    def with_client(url: str, api_key: str | None, **given: Any) -> None:
        try:
            with errors_in_one_line(), Client(url, api_key=api_key, retries=RETRIES) as client:
                command(client=client, **given)
        except OSError as error:
            raise click.ClickException(str(error)) from error

    return with_client
