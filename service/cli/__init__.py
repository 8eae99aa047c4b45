"""The command line: ``stepahead``."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword

import click

from service import __version__

COMMANDS = ("serve", "evaluate", "replay", "bench", "bridge", "size", "export", "import")


class Commands(click.Group):
    """Commands of the same name as their module, each imported when it is used: torch takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command; ``None`` if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"service.cli.{name}"), name)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stepahead")
def main() -> None:
    """Predict the next item of every stream, and learn from each item the moment it arrives."""
