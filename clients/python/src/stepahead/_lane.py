"""The rows of one stream that have no outcome yet, and the numbers they are sent under. No I/O.

A row keeps the number under which it may have been applied until the server says that it was not. A row that is not
applied opens a gap for those behind it that are on their way: they are refused too, go back, and leave again behind it
once nothing of the stream is on its way any more.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from stepahead._core import MAX_TRIES, forgotten, taken
from stepahead._rows import Entry
from stepahead._turns import Holder
from stepahead.errors import InvalidItem, SequenceGap, StepaheadError
from stepahead.types import Reply

UNKNOWN = 0
"""Stands for a number that the server has to be asked for."""


class FeedTurn(Protocol):
    """What a lane needs of a stream's turn."""

    def take(self, holder: Holder) -> bool:
        """Take the turn if it is free."""

    def give(self) -> None:
        """Give it back."""

    def wanted_by_others(self, holder: Holder) -> bool:
        """Whether somebody waits for it."""


class Lane:
    """One stream's rows.

    Args:
        stream: Its name.
    """

    __slots__ = (
        "above",
        "applied_i",
        "asking",
        "back",
        "due_s",
        "epoch",
        "hole",
        "is_alone",
        "is_given",
        "is_offered",
        "n_flight",
        "n_sent",
        "next",
        "stream",
        "turn",
        "waiting",
    )

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.waiting: deque[Entry] = deque()
        """Rows to be sent, in order."""
        self.back: list[Entry] = []
        """Rows to be sent again, once nothing is on its way."""
        self.n_flight = 0
        """Rows on their way."""
        self.is_given = False
        """Whether those on their way were numbered by the caller."""
        self.is_alone = False
        """Whether nothing may follow what is on its way."""
        self.next: int | None = None
        """The number of the next row; ``None`` where the server has to be asked."""
        self.hole: int | None = None
        """The number at which the stream stands after a row that was not applied; ``None`` while all are."""
        self.epoch = 0
        """How often the numbers of waiting rows have changed."""
        self.applied_i = -1
        """Place of the last row that was applied."""
        self.due_s = 0.0
        """When the next row may leave."""
        self.above = 0
        """The number after the highest that a row was applied under."""
        self.asking = False
        """Whether the server is being asked for the number."""
        self.turn: FeedTurn | None = None
        """Held while rows are on their way or in doubt."""
        self.n_sent = 0
        """Rows sent since the turn was taken."""
        self.is_offered = False
        """Whether the lane is in the queue of those that may send."""

    @property
    def in_doubt(self) -> bool:
        """Whether a row may have been applied under a number that is not to be given to anything else."""
        return self.n_flight > 0 or any(e.doubt is not None for e in self.back or self.waiting)

    def number(self, entry: Entry) -> int | None:
        """The number that a row leaves under; ``None`` where the server has to be asked."""
        if entry.given is not None:
            return entry.given
        if entry.doubt is not None and (not entry.gapped or entry.doubt < self.above):
            return entry.doubt  # a gap that was filled since may have been filled by an attempt that came late
        return self.next

    def send(self, number: int) -> Entry:
        """The first waiting row leaves under a number."""
        entry = self.waiting.popleft()
        if entry.doubt != number:
            entry.doubt, entry.epoch = None, self.epoch
        entry.number, entry.gapped = number, False
        # A row in doubt may be behind one that was applied, and its reply must still be kept when it is answered; or a
        # row before it was dropped, and only its gap tells its new number and those of the rows behind it.
        self.is_alone = entry.given is None and (self.next not in {None, number} or not self._is_sure(entry))
        self.next = max(self.next or 0, number + 1, self.above)
        if not self.n_flight:
            self.is_given = entry.given is not None
        self.n_flight += 1
        self.n_sent += 1
        return entry

    def apply(self, entry: Entry, reply: Reply) -> None:
        """A row on its way was answered."""
        entry.outcome = reply
        self.applied_i = entry.i
        self.above = max(self.above, reply.sequence + 1)
        if entry.given is not None:
            self.next = None if reply.duplicate else reply.sequence + 1

    def lose(self, entry: Entry) -> None:
        """A row's number was taken by another writer.

        The number after it is tried at once, as a writer that asks first is always behind one that does not; every
        second time the server is asked, as the other may be far ahead.
        """
        entry.n_taken += 1
        self.back.append(entry)
        self.hole = entry.number + 1 if entry.n_taken % 2 else UNKNOWN

    def delay(self, entry: Entry, *, in_doubt: bool) -> None:
        """A row is sent again later, behind which those that follow it wait."""
        if in_doubt:
            entry.doubt, entry.gapped = entry.number, False
        self.back.append(entry)
        if self.hole is None:
            self.hole = entry.number if self._is_sure(entry) else UNKNOWN

    def meet_gap(self, entry: Entry, error: SequenceGap) -> bool:
        """Whether a row that came too early is sent again: what is missing before it is on its way, or never comes."""
        if not self.back:
            if entry.given is not None:
                return False
            if forgotten(error):
                self.hole, self.above = 1, 0
            elif entry.epoch < self.epoch:
                self.hole = error.expected or UNKNOWN
            else:
                return False
            self.epoch += 1
        entry.gapped = True
        self.back.append(entry)
        return True

    def drop(self, entry: Entry, error: StepaheadError) -> None:
        """A row gets an error for its outcome. One that was refused for what it is leaves its stream where it was."""
        entry.outcome = error
        if self.hole is None:
            self.hole = entry.number if isinstance(error, InvalidItem) and self._is_sure(entry) else UNKNOWN
        self.epoch += 1

    def _is_sure(self, entry: Entry) -> bool:
        """Whether the number of a row is still the one that follows all rows before it."""
        return entry.epoch == self.epoch

    def regroup(self) -> list[Entry]:
        """Put what is sent again before what waits; rows that can only come out of order are dropped and returned.

        Only while nothing is on its way.
        """
        dropped: list[Entry] = []
        again: list[Entry] = []
        for entry in sorted(self.back):
            overtaken = entry.given is None and entry.doubt is None and entry.i < self.applied_i
            if overtaken or entry.n_taken >= MAX_TRIES:
                self.epoch += 1
                entry.outcome = taken(self.stream, entry.number)
                dropped.append(entry)
            else:
                again.append(entry)
        self.waiting.extendleft(reversed(again))
        self.back.clear()
        if self.hole is not None:
            self.next = max(self.hole, self.above) if self.hole else None
            self.hole = None
        return dropped
