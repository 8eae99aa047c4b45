"""Replies as they are made, for whoever wants to follow them: one bounded ring per model, and readers that are cursors.

A ring is there while somebody reads it, and for ``RESUME_S`` after: until then a reader that was cut off can go on
where it was. Without a ring nothing is done. Nobody waits for a reader: one that is too slow misses what the ring has
dropped, and is told so. Rings are of the process, not of engines, which may close and open again meanwhile; they hold
what was learned here, not what another instance learned.

An event's id is ``<boot>-<n>``: what tells this ring from every other that the model has had, and the event's number.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import orjson

from service.errors import ServiceError, UnknownModel

MAX_EVENTS = 4096
"""Most events that a ring holds."""

MAX_RING_BYTES = 4 * 2**20
"""Most bytes that a ring holds."""

MAX_BYTES = 64 * 2**20
"""Most bytes that all rings hold; where there are many each has an equal share."""

RESUME_S = 120.0
"""How long a ring that nobody reads is filled, so that who was cut off misses nothing."""

RETRY_MS = 1000
"""After what time a reader that was cut off should come back."""

CHUNK_BYTES = 64 * 2**10
"""Events are sent together until there are so many bytes of them."""

EVENT_BYTES = 300
"""What an event takes in memory beside its text and its stream's name."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one item led to.

    Args:
        stream: The item's.
        text: The reply with its item, as JSON.
    """

    stream: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """What readers are sent.

    Args:
        stream: That it is of; None for what concerns all.
        text: Its lines. What they hold is JSON, and that has no line ends.
    """

    stream: str | None
    text: bytes

    @property
    def n_bytes(self) -> int:
        """In memory, nearly."""
        return len(self.text) + len(self.stream or "") + EVENT_BYTES


class Ring:
    """The last events of one model, numbered from 1."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(6)
        self.first, self.last = 1, 0  # numbers of those that it holds
        self.gap = 0  # number of the last event that says that some were lost
        self.n_bytes = 0
        self.arrived = asyncio.Event()  # set, and replaced, once there is more to read
        self.refusal: ServiceError | None = None  # why it has ended
        self.readers: set[Reader] = set()
        self.expiry: asyncio.TimerHandle | None = None
        self._events: dict[int, Event] = {}

    def __getitem__(self, number: int) -> Event:
        return self._events[number]

    def number_of(self, event_id: str) -> int | None:
        """The number of an event that was sent; None if that was not from here."""
        boot, _, digits = event_id.partition("-")
        if boot != self.boot or not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(self.last)):
            return None
        return int(digits) if int(digits) <= self.last else None

    def place(self, number: int) -> bytes:
        """The line that names an event."""
        return f"id: {self.boot}-{number}\n".encode()

    def missed(self, number: int, count: int | None) -> bytes:
        """What tells a reader that it missed so many up to this event; None where that is not known."""
        return self.place(number) + b'event: missed\ndata: {"missed":%b}\n\n' % orjson.dumps(count)

    def add(self, told: Told) -> None:
        """Append what one item led to."""
        self._append(told.stream, b"%bdata: %b\n\n" % (self.place(self.last + 1), told.text))

    def add_gap(self) -> None:
        """Append that some may have been learned that are not told."""
        self.gap = self.last + 1
        self._append(None, self.missed(self.gap, None))

    def trim(self, max_bytes: int) -> None:
        """Drop the oldest events, so that no more are held than may be."""
        while self.last - self.first >= MAX_EVENTS or self.n_bytes > max_bytes:
            self.n_bytes -= self._events.pop(self.first).n_bytes
            self.first += 1

    def wake(self) -> None:
        """Let all readers look."""
        self.arrived.set()
        self.arrived = asyncio.Event()

    def end(self, refusal: ServiceError) -> None:
        """Say that nothing comes any more, and why; readers are given what there is."""
        self.refusal = refusal
        if self.expiry is not None:
            self.expiry.cancel()
        self.wake()
        for reader in self.readers:
            reader.on_end()

    def _append(self, stream: str | None, text: bytes) -> None:
        self.last += 1
        self._events[self.last] = event = Event(stream, text)
        self.n_bytes += event.n_bytes


class Reader:
    """A cursor into a ring.

    Args:
        ring: That is read.
        streams: Whose events are wanted; those of all if there are none.
        after: Id of the last event that was had; None to begin with the next.
    """

    def __init__(self, ring: Ring, streams: Collection[str], after: str | None) -> None:
        self._ring = ring
        self._streams = frozenset(streams)
        had = ring.last if after is None else ring.number_of(after)
        self._is_lost = had is None  # then all that the ring holds came after what it had, from another one
        self._next = ring.first if had is None else had + 1
        self.on_end: Callable[[], object] = lambda: None

    def take(self) -> bytes:
        """What there is to be sent now; empty if there is nothing."""
        ring, parts, n_bytes = self._ring, list[bytes](), 0
        if self._is_lost or self._next < ring.first:
            can_tell = not (self._is_lost or self._streams or self._next <= ring.gap < ring.first)
            parts.append(ring.missed(ring.first - 1, ring.first - self._next if can_tell else None))
            self._is_lost, self._next = False, ring.first
        while self._next <= ring.last and n_bytes < CHUNK_BYTES:
            event = ring[self._next]
            self._next += 1
            if not self._streams or event.stream is None or event.stream in self._streams:
                parts.append(event.text)
                n_bytes += len(event.text)
        return b"".join(parts)

    async def run(self, heartbeat_s: float, request_id: str) -> AsyncGenerator[bytes, None]:
        """What is to be sent, piece by piece, until the ring ends.

        A sign of life names the last event that was passed, so that a reader of a quiet stream can resume as well.

        Args:
            heartbeat_s: Longest silence.
            request_id: Of the request, for the error that it ends with.
        """
        now_s = asyncio.get_running_loop().time
        yield b"retry: %d\n\n" % RETRY_MS + (self.take() or self._place)
        due_s = now_s() + heartbeat_s
        while True:
            arrived = self._ring.arrived
            if text := self.take():
                yield text
                due_s = now_s() + heartbeat_s
            elif self._ring.refusal is not None:
                yield b"event: end\ndata: %b\n\n" % orjson.dumps(self._ring.refusal.to_dict(request_id))
                return
            elif now_s() >= due_s:
                yield b": heartbeat\n" + self._place
                due_s = now_s() + heartbeat_s
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due_s):
                        await arrived.wait()

    @property
    def _place(self) -> bytes:
        """Where it stands, which makes no event: it has no data."""
        return self._ring.place(self._next - 1) + b"\n"


class Events:
    """The rings of all models that are read, or were until a moment ago."""

    def __init__(self) -> None:
        self._rings: dict[str, Ring] = {}
        self._refusal: ServiceError | None = None

    @contextmanager
    def reading(self, model: str, streams: Collection[str], after: str | None) -> Iterator[Reader]:
        """A reader of a model's events, which are kept until the end of the block and for a while after.

        Nothing is kept of a model where the block ends with ``UnknownModel``.

        Args:
            model: Its name.
            streams: Whose events are wanted; those of all if there are none.
            after: Id of the last event that was had; None to begin with the next.

        Raises:
            Draining: If the service shuts down.
        """
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        ring = self._rings.get(model) or self._begin(model)
        if ring.expiry is not None:
            ring.expiry.cancel()
        reader = Reader(ring, streams, after)
        ring.readers.add(reader)
        try:
            yield reader
        except UnknownModel as error:
            if self._rings.get(model) is ring:  # and not that of a model which was made meanwhile
                self.end(model, error)
            raise
        finally:
            ring.readers.discard(reader)
            if not ring.readers and ring.refusal is None:
                ring.expiry = asyncio.get_running_loop().call_later(RESUME_S, self._rings.pop, model, None)

    def publish(self, model: str, learned: Iterable[Told]) -> None:
        """Tell readers what was learned; does nothing where there are none, and does not even look at it."""
        ring = self._rings.get(model)
        if ring is None:
            return
        for told in learned:
            ring.add(told)
        ring.trim(self._share)
        ring.wake()

    def lose(self, model: str) -> None:
        """Tell readers that some items may have been learned that they are not told of."""
        ring = self._rings.get(model)
        if ring is not None:
            ring.add_gap()
            ring.trim(self._share)
            ring.wake()

    def end(self, model: str, refusal: ServiceError) -> None:
        """Forget a model; its readers end with an error."""
        ring = self._rings.pop(model, None)
        if ring is not None:
            ring.end(refusal)

    def close(self, refusal: ServiceError) -> None:
        """End all readers, and take no more."""
        self._refusal = refusal
        for model in list(self._rings):
            self.end(model, refusal)

    @property
    def _share(self) -> int:
        """Most bytes of one ring."""
        return min(MAX_RING_BYTES, MAX_BYTES // max(1, len(self._rings)))

    def _begin(self, model: str) -> Ring:
        ring = self._rings[model] = Ring()
        for other in self._rings.values():
            other.trim(self._share)
        return ring
