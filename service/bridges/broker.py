"""What the loop asks of a broker: entries with positions, a ledger of numbers, and publishing that acknowledges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from stepahead import Reply


class Lost(Exception):
    """The broker does not answer, or another consumer has taken over; what was not published is still to be done.

    Args:
        reason: One line for a person.
    """


class Misconfigured(Exception):
    """Trying again will not help; one line for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the broker gives it.

    Args:
        lane: Entries of a lane are taken and published in their order.
        position: Where it is in its lane; no other entry of the lane has it.
        fields: Name to value.
        key: What the broker keeps its order by; ``None`` where it has no such thing.
        defect: Why its fields cannot be read at all; ``None`` where they can.
    """

    lane: str
    position: str
    fields: Mapping[str, object]
    key: str | None = None
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """The place of an entry in a stepahead stream: the sequence under which it is sent, however often."""

    stream: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an entry gets no prediction.

    Args:
        code: The service's, or ``invalid_entry`` of the bridge itself.
        message: One line for a person.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """An entry and what came of it.

    Args:
        entry: It leaves the broker's pending entries with this.
        number: ``None`` for one that was refused before it had any.
        outcome: The service's reply, or why there is none.
    """

    entry: Entry
    number: Number | None
    outcome: Reply | Refusal


class Broker(Protocol):
    """A message broker, as one consumer sees it; every method may raise :class:`Lost` or :class:`Misconfigured`."""

    keeps_numbers: bool
    """Whether :meth:`written` knows every entry that may have been sent before."""

    def open(self, stop: Event) -> bool:
        """Become the active consumer and read the ledger; whether it is, which it is not where ``stop`` came first."""
        ...

    def close(self) -> None:
        """Let others take over at once."""
        ...

    def take(self) -> Sequence[Entry]:
        """The next entries, those that were taken and not published before first; empty after a short while."""
        ...

    def written(self, entry: Entry) -> Number | None:
        """The number that is written down for an entry; ``None`` where there is none."""
        ...

    def last(self, lane: str, stream: str) -> int | None:
        """The last sequence of a stream that the ledger speaks for; ``None`` if it does not know the stream."""
        ...

    def write(self, numbers: Sequence[tuple[Entry, Number]]) -> None:
        """Write down the numbers of entries before these are sent; all of them or none."""
        ...

    def publish(self, finished: Sequence[Finished]) -> None:
        """Give out what came of entries, acknowledge them and forget their numbers; all of it or nothing.

        Args:
            finished: Of each lane its first unpublished entries, in their order.
        """
        ...

    def keep(self) -> None:
        """Show a sign of life while the service is waited for."""
        ...
