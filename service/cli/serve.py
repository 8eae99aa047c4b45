"""``stepahead serve``: one flag per setting, and one line for whatever keeps the service from starting."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from pydantic.fields import FieldInfo

from service.settings import BadSetting, Settings, env_name, flag_name

F = TypeVar("F", bound=Callable[..., Any])

BAD_SETTING, NO_START = 2, 1


def _setting_flags(command: F) -> F:
    for name, field in reversed(Settings.model_fields.items()):
        command = click.option(flag_name(name), name, metavar=_metavar(field), help=_help(name, field))(command)
    return command


def _metavar(field: FieldInfo) -> str:
    if field.annotation is int:
        return "INTEGER"
    return "NUMBER" if field.annotation is float else "TEXT"


def _help(name: str, field: FieldInfo) -> str:
    default = "none" if field.default is None else str(field.default)
    return f"{field.description} [default: {default}; env: {env_name(name)}]"


@click.command()
@_setting_flags
def serve(**flags: str | None) -> None:
    """Run the service.

    Each setting is a flag or an environment variable; the flag wins.
    """
    try:
        settings = Settings.load(**{name: value for name, value in flags.items() if value is not None})
    except BadSetting as error:
        click.echo(f"stepahead: bad setting: {error}", err=True)
        sys.exit(BAD_SETTING)

    from service.server import StartError, new_event_loop, run  # noqa: PLC0415 - torch takes seconds, and help needs none of it

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run(settings, click.echo))
    except StartError as error:
        click.echo(f"stepahead: {error}", err=True)
        sys.exit(NO_START)
