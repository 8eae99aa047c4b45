"""A running server, as commands reach it: where it is, what it says, and its errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from stepahead import Client, StepaheadError

DEFAULT_URL = "http://127.0.0.1:8000"
RETRIES = 2
"""Who typed a command is there to see it fail."""


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url`` and ``--api-key``; the command gets a ``client`` of that server instead."""

    @click.option("--url", default=DEFAULT_URL, envvar="STEPAHEAD_URL", show_default=True, help="Where the server is.")
    @click.option("--api-key", envvar="STEPAHEAD_API_KEY", help="Key that the server asks for.")
    @wraps(command)
    def with_client(url: str, api_key: str | None, **given: Any) -> None:
        try:
            with Client(url, api_key=api_key, retries=RETRIES) as client:
                command(client=client, **given)
        except StepaheadError as error:
            raise click.ClickException(f"{error.message} ({error.code})" if error.code else error.message) from error
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return with_client
