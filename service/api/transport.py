"""What a conversation needs of the connection under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.errors import ServiceError


class Gone(Exception):
    """The other side went away.

    Args:
        said_so: Whether it ended the connection in good order.
    """

    def __init__(self, *, said_so: bool = False) -> None:
        super().__init__()
        self.said_so = said_so


class Transport(Protocol):
    """How frames come and answers leave. Each method may raise :class:`Gone`."""

    kind: str
    """One of ``metrics.LASTING``."""

    heartbeat_s: float | None
    """Seconds without an answer after which ``beat`` is due; ``None`` if the connection sees to it by itself."""

    async def begin(self) -> None:
        """Show that the conversation has begun; called once, when the first ``receive`` has been."""

    async def receive(self) -> Sequence[bytes] | None:
        """The next frames, those together that came together; ``None`` once no more will come.

        Raises:
            ServiceError: What ends the conversation.
        """

    async def send(self, answers: Sequence[bytes]) -> None:
        """Write answers, each by itself; returns once the transport takes more."""

    async def beat(self) -> None:
        """Show that the connection is alive."""

    async def end(self, error: ServiceError | None) -> None:
        """End in good order, or of an error."""

    def unsent_bytes(self) -> int | None:
        """How much of what was written has not left yet, if that can be known."""

    def cut_off(self, error: ServiceError) -> None:
        """End of an error, whether or not the other side reads; awaits nothing."""
