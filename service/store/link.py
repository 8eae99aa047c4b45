"""What the client sends commands through: one server, or the servers of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Argument = bytes | str | int
Command = Sequence[Argument]

MAX_CONNECTIONS = 32


class Link(Protocol):
    """Sends each command once; a caller's deadline ends any of these calls.

    All raise redis-py's errors, and ``OSError``.
    """

    async def send(self, command: Command) -> Any:
        """Send a command and return its answer."""

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands on keys of one partition, one right after the other, and return their answers."""

    async def survey(self, command: Command) -> list[Any]:
        """Send a command without keys to every server; return the answers of those that answer soon, at least one."""

    async def close(self) -> None:
        """Close all connections."""
