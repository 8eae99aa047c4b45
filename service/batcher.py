"""The queue of one partition: bounded, first come first served within a stream, fair between streams.

Pure: it holds entries and hands out batches; waiting is the engine's business.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from model.items import Item, Items
from service.bounds import Bound
from service.errors import Overloaded, ServiceError
from service.pace import Pace

Answer = bytes | ServiceError
"""A reply as it is sent, or a named error."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One item as a caller sent it, its envelope checked, its values not yet.

    Args:
        stream: The stream it belongs to.
        item: Field name to number, text or ``None``.
        sequence: Its position in the stream, from 1; ``None`` for the next.
        timestamp_us: Microseconds since 1970 UTC; ``None`` if it has no time.
    """

    stream: str
    item: Mapping[str, Any]
    sequence: int | None = None
    timestamp_us: int | None = None


class Frame:
    """What one caller waits for: an answer per observation, and one future for all of them.

    Args:
        items: One row per observation; that of one which is no item of the model is not read.
        future: Of the answers.
        experts: Whether the answers are to say what each expert said.
    """

    def __init__(self, items: Items, future: asyncio.Future[list[Answer]], *, experts: bool = False) -> None:
        size = len(items)
        self.items = items
        self.experts = experts
        self._answers: list[Answer | None] = [None] * size
        self._missing = size
        self.future = future
        if not size:
            future.set_result([])

    def has_answer(self, place: int) -> bool:
        """Whether a place is filled in."""
        return self._answers[place] is not None

    def resolve(self, place: int, answer: Answer) -> None:
        """Fill in one answer; the last one wakes the caller. A place that has its answer keeps it."""
        if self.has_answer(place):
            return
        self._answers[place] = answer
        self._missing -= 1
        if not self._missing and not self.future.done():  # done: the caller went away
            self.future.set_result([a for a in self._answers if a is not None])


@dataclass(slots=True, eq=False)
class Entry:
    """One accepted item on its way from queue to answer: a row of its frame's items."""

    stream: str
    sequence: int | None
    frame: Frame
    place: int
    queued_s: float = 0.0

    @property
    def item(self) -> Item:
        """What was observed."""
        return self.frame.items[self.place]

    @property
    def is_answered(self) -> bool:
        """Whether the caller has its answer for this item."""
        return self.frame.has_answer(self.place)

    def resolve(self, answer: Answer) -> None:
        """Give the caller its answer for this item."""
        self.frame.resolve(self.place, answer)


def items_of(entries: Sequence[Entry]) -> Items:
    """What was observed, as columns in the order of the entries, of which there is at least one."""
    return Items.gather(
        [(frame.items, [entry.place for entry in run]) for frame, run in groupby(entries, attrgetter("frame"))]
    )


class Batcher:
    """Entries by stream, streams in the order of their turn.

    Args:
        max_items: Bound on all waiting entries.
        max_per_stream: Bound on the waiting entries of one stream.
        max_wait_s: Bound on the wait that an entry is estimated to have, in seconds.
        total: Bound on the waiting entries of all partitions, shared by them.
    """

    def __init__(self, max_items: int, max_per_stream: int, max_wait_s: float, total: Bound) -> None:
        self._max_items = max_items
        self._max_per_stream = max_per_stream
        self._max_wait_s = max_wait_s
        self._total = total
        self._waiting: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._size = 0
        self.pace = Pace()

    def __len__(self) -> int:
        return self._size

    def add(self, entries: Sequence[Entry]) -> None:
        """Queue a frame's entries; those over their stream's bound are answered ``overloaded`` in their place.

        Once one entry of a stream is refused so are the frame's later ones of that stream: order is kept.

        Raises:
            Overloaded: If they do not all fit the queue, or what waits already would keep one of them waiting too
                long, which nothing does in an empty queue; then none was taken.
        """
        self._refuse_over_bounds(len(entries))
        self._refuse_long_wait({entry.stream for entry in entries})
        taken = 0
        for entry in entries:
            queue = self._waiting.get(entry.stream)
            if queue is None:
                queue = self._waiting[entry.stream] = deque()
            if len(queue) < self._max_per_stream:
                queue.append(entry)
                taken += 1
            else:
                bound = self._max_per_stream
                entry.resolve(Overloaded(f"{bound} items of the stream wait already", max_queue_per_stream=bound))
        self._count(taken)

    def refuse_if_full(self, entries: Sequence[Entry]) -> None:
        """Return if all entries of a frame would be taken, or as many as ever could be.

        Raises:
            Overloaded: As :meth:`add`, or if one of their streams has no room for its own.
        """
        self._refuse_over_bounds(len(entries))
        counts = Counter(entry.stream for entry in entries)
        self._refuse_long_wait(counts)
        for stream, n in counts.items():
            waiting, bound = len(self._waiting.get(stream, ())), self._max_per_stream
            if waiting and waiting + n > bound:
                raise Overloaded(f"{waiting} items of the stream wait, at most {bound} may", max_queue_per_stream=bound)

    def refuse_if_crowded(self) -> None:
        """Return if an item of a new stream would be taken; it says so before anything is known of a frame.

        Raises:
            Overloaded: As :meth:`add`.
        """
        self._refuse_over_bounds(1)
        self._refuse_long_wait([""])  # which names no stream

    def take(self, n: int) -> list[Entry]:
        """Remove and return the first entry of each of the next ``n`` streams, least recently served first."""
        taken = []
        for _ in range(min(n, len(self._waiting))):
            _, queue = self._waiting.popitem(last=False)
            taken.append((queue, queue.popleft()))
        for queue, entry in taken:  # after the loop: a stream has one turn per batch
            if queue:
                self._waiting[entry.stream] = queue
        self._count(-len(taken))
        return [entry for _, entry in taken]

    def give_back(self, group: Sequence[Sequence[Entry]]) -> None:
        """Put back, before all that waits, what was taken in so many turns."""
        for taken in reversed(group):
            for entry in reversed(taken):
                self._waiting.setdefault(entry.stream, deque()).appendleft(entry)
                self._waiting.move_to_end(entry.stream, last=False)
            self._count(len(taken))

    def take_followers(self, batch: Sequence[Entry]) -> list[Entry]:
        """Remove and return what waits behind a batch's entries in the same stream and the same frame.

        Where an item's outcome is a failure, learning those that were sent after it would break their order.
        """
        followers = []
        for entry in batch:
            queue = self._waiting.pop(entry.stream, None)
            if queue is None:
                continue
            kept = deque(e for e in queue if e.frame is not entry.frame)
            followers += [e for e in queue if e.frame is entry.frame]
            if kept:
                self._waiting[entry.stream] = kept
        self._count(-len(followers))
        return followers

    def take_all(self) -> list[Entry]:
        """Remove and return everything."""
        entries = [entry for queue in self._waiting.values() for entry in queue]
        self._waiting.clear()
        self._count(-self._size)
        return entries

    def wait_s(self, *streams: str) -> float:
        """Estimate the seconds that entries of these streams would wait if they came now; 0 in an empty queue."""
        if not streams:
            return 0.0
        return self.pace.wait_s(max(len(self._waiting.get(stream, ())) for stream in streams), len(self._waiting))

    def _refuse_over_bounds(self, n: int) -> None:
        if n and self._size + n > self._max_items:
            raise _too_many(self._size, max_queue=self._max_items)
        if n and not self._total.has_room(n):
            raise _too_many(self._total.taken, max_queue_total=self._total.most)

    def _refuse_long_wait(self, streams: Iterable[str]) -> None:
        wait_s = self.wait_s(*streams)
        if wait_s > self._max_wait_s:
            raise Overloaded(
                f"what waits takes some {wait_s:.1f} seconds, at most {self._max_wait_s:g} may",
                retry_after_s=math.ceil(wait_s - self._max_wait_s),
                max_wait_s=self._max_wait_s,
            )

    def _count(self, n: int) -> None:
        """Take note of ``n`` more that wait, here and over all partitions."""
        self._size += n
        self._total.count(n)


def _too_many(waiting: int, **setting: int) -> Overloaded:
    (bound,) = setting.values()
    return Overloaded(f"{waiting} items wait, at most {bound} may", **setting)
