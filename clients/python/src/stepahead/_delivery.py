"""Rows in the order they came, until their outcomes are delivered. No I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from typing import Any

from stepahead import _wire as wire
from stepahead._rows import Entry, Errors, Outcome
from stepahead.errors import StepaheadError

PASSED_OVER = wire.reply({"stream": "", "sequence": 0, "prediction": {"sequence": 0, "fields": {}}})
"""The outcome of a row that was applied in an earlier run, which is not delivered."""


class Delivery:
    """All rows that were taken and not delivered.

    Args:
        errors: With ``"raise"`` nothing after the first error is delivered.
    """

    def __init__(self, errors: Errors) -> None:
        self._errors = errors
        self._entries: deque[Entry] = deque()
        self.stop = math.inf
        """Place of the first error, where these are raised."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_due(self) -> bool:
        """Whether there is something to deliver."""
        return bool(self._entries) and self._entries[0].outcome is not None

    def add(self, entry: Entry) -> None:
        """A row was taken."""
        self._entries.append(entry)

    def refuse(self, entry: Entry) -> bool:
        """A row ended with an error; whether nothing after it is wanted any more."""
        if self._errors == "raise" and entry.i < self.stop:
            self.stop = entry.i
            return True
        return False

    def ready(self) -> tuple[list[Outcome], StepaheadError | None]:
        """The outcomes that are due, which are taken out, and the error that is to be raised after them."""
        due: list[Outcome] = []
        while self._entries:
            outcome = self._entries[0].outcome
            if outcome is None:
                break
            if self._errors == "raise" and isinstance(outcome, StepaheadError):
                return due, outcome
            self._entries.popleft()
            if outcome is not PASSED_OVER:
                due.append(outcome)
        return due, None

    def in_doubt(self, flight: Collection[int]) -> list[dict[str, Any]]:
        """The rows that may have been applied, without anybody having said so.

        Args:
            flight: Identities of those on their way.
        """
        return [
            {"stream": e.stream, "sequence": e.number if id(e) in flight else e.doubt}
            for e in self._entries
            if e.outcome is None and (e.doubt is not None or id(e) in flight)
        ]
