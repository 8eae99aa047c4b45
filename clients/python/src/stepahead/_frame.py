"""What is sent at once, and what its answer says. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepahead import _wire as wire
from stepahead._lane import Lane
from stepahead._rows import Entry
from stepahead.errors import StepaheadError
from stepahead.types import Reply

MAX_PER_STREAM = 64
"""Most rows of one stream on their way, whatever the server allows."""


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a question.

    Args:
        last: Of each stream the sequence that was applied last, 0 for none.
        window: Most items on their way, and most of one stream.
    """

    last: list[int]
    window: tuple[int, int]


class Frame:
    """What is sent at once: rows, or a question for the numbers of streams.

    Args:
        content: JSON.
        entries: Its rows; none for a question.
        lanes: The streams that are asked for.
        sent_s: When.
    """

    __slots__ = ("content", "entries", "lanes", "sent_s")

    def __init__(self, content: bytes, entries: list[Entry], lanes: list[Lane], sent_s: float) -> None:
        self.content, self.entries, self.lanes, self.sent_s = content, entries, lanes, sent_s

    @property
    def call(self) -> str:
        """Name of the request that asks the same."""
        return "sequences" if self.lanes else "observations"

    def read(self, data: Any) -> Told | list[Reply | StepaheadError] | StepaheadError:
        """Read the answer's JSON.

        Raises:
            ValueError: If it answers something else.
        """
        if "error" in data:
            return wire.item_error(data["error"])
        if self.lanes:
            window = data["window"]
            last = [int(data["sequences"][lane.stream]) for lane in self.lanes]
            return Told(last, (int(window["items"]), min(MAX_PER_STREAM, int(window["per_stream"]))))
        results = wire.results(data)
        if len(results) != len(self.entries):
            raise ValueError(f"{len(self.entries)} items were answered with {len(results)} results")
        return results
