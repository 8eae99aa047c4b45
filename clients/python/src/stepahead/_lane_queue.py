"""Which lanes may send, oldest row first, and which later. No I/O."""

from __future__ import annotations

import heapq

from stepahead._lane import Lane
from stepahead._turns import POLL_S


class LaneQueue:
    """Lanes that may send, lanes that may at a time, and lanes whose turn somebody else has."""

    def __init__(self) -> None:
        self._offered: list[tuple[int, Lane]] = []  # by their first row
        self._paused: list[tuple[float, int, Lane]] = []  # by when they are due
        self._poll_at_s = 0.0
        self.locked: list[Lane] = []
        """Lanes whose turn somebody else has."""

    @property
    def first(self) -> Lane | None:
        """The lane with the oldest row."""
        return self._offered[0][1] if self._offered else None

    def offer(self, lane: Lane) -> None:
        """A lane may send, if it has anything."""
        if not lane.is_offered and lane.waiting:
            lane.is_offered = True
            heapq.heappush(self._offered, (lane.waiting[0].i, lane))

    def remove_first(self) -> None:
        """The first lane may not send."""
        heapq.heappop(self._offered)[1].is_offered = False

    def renew_first(self) -> None:
        """The first lane has sent its first row; its next one has another place."""
        lane = self._offered[0][1]
        if lane.waiting:
            heapq.heapreplace(self._offered, (lane.waiting[0].i, lane))
        else:
            self.remove_first()

    def pause(self, lane: Lane) -> None:
        """A lane may send once it is due."""
        heapq.heappush(self._paused, (lane.due_s, lane.waiting[0].i, lane))

    def lock(self, lane: Lane, now: float) -> None:
        """A lane may send once its turn is to be had, which is asked for again soon."""
        if not self.locked:
            self._poll_at_s = now + POLL_S
        self.locked.append(lane)

    def wake(self, now: float) -> None:
        """Offer the lanes whose time has come."""
        while self._paused and self._paused[0][0] <= now:
            self.offer(heapq.heappop(self._paused)[2])
        if self.locked and now >= self._poll_at_s:
            locked, self.locked = self.locked, []
            for lane in locked:
                self.offer(lane)

    def wait_s(self, now: float) -> float | None:
        """Seconds until a lane's time comes; ``None`` where none waits for it."""
        waits = [self._paused[0][0] - now] if self._paused else []
        if self.locked:
            waits.append(self._poll_at_s - now)
        return max(0.0, min(waits)) if waits else None
