"""Rows numbered by their place in their stream, so that an interrupted run can be begun again. No I/O."""

from __future__ import annotations

from stepahead._delivery import PASSED_OVER
from stepahead._lane import Lane
from stepahead._rows import Entry


class Places:
    """Of every stream its rows so far, and how many of them were applied by earlier runs: two numbers a stream."""

    def __init__(self) -> None:
        self._n_rows: dict[str, int] = {}
        self._n_applied: dict[str, int] = {}

    def number(self, entry: Entry) -> None:
        """Give a row its place for a sequence, unless it has one."""
        if entry.given is None:
            entry.given = self._n_rows.get(entry.stream, 0) + 1
        self._n_rows[entry.stream] = entry.given

    def knows(self, stream: str) -> bool:
        """Whether it is known where a stream stood."""
        return stream in self._n_applied

    def tell(self, stream: str, last: int) -> None:
        """Where a stream stood when it was first asked for."""
        self._n_applied.setdefault(stream, last)

    def pass_over(self, lane: Lane) -> int:
        """Take the rows out that were applied; how many."""
        n_before, last = len(lane.waiting), self._n_applied[lane.stream]
        while lane.waiting and (lane.waiting[0].given or 0) <= last:
            lane.waiting.popleft().outcome = PASSED_OVER
        return n_before - len(lane.waiting)
