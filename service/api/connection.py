"""What a lasting connection's transport can do beside ASGI; the server that holds its socket puts it into the scope."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Scope

CONNECTION = "connection"
"""In the state of a request: its :class:`Connection`, where a server offers one."""

LASTING = "lasting"
"""In the state of a request: its answer lasts for as long as its caller likes."""


class Connection(Protocol):
    """The socket under a request."""

    def unsent_bytes(self) -> int:
        """How much of what was written has not left yet."""

    def body_bytes(self) -> int | None:
        """How long a request's body is, once all of it is here; ``None`` before that, and of a WebSocket."""

    def messages(self, most: int) -> list[bytes]:
        """Messages of a WebSocket behind the last one received that are here already; none of a request."""

    def cut_off(self, code: int, reason: str, last: bytes) -> None:
        """End the answer or the WebSocket, whether or not the other side reads; if it goes on not to, break off.

        Args:
            code: A WebSocket's close code.
            reason: A WebSocket's reason.
            last: What is sent at the end of an answer.
        """


def connection_of(scope: Scope) -> Connection | None:
    """The socket under a request; ``None`` where the server does not tell."""
    found: Connection | None = scope["state"].get(CONNECTION)
    return found
