"""Drives a feed in an event loop: one task reads the caller's rows, one sends them and takes the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Protocol

from stepahead._feed import GATHER_S, IDLE_S, LEAVE_S
from stepahead._frame import Frame
from stepahead._link import NoSuchWay
from stepahead._pipeline import Pipeline
from stepahead._rows import Outcome, Row
from stepahead.errors import BadAnswer, NoAnswer, StepaheadError

Rows = Iterable[Row] | AsyncIterable[Row]
_clock = time.monotonic


class AsyncCarrier(Protocol):
    """A way to the server; see :class:`stepahead._feed.Carrier`."""

    is_up: bool
    changed: Callable[[], None]
    """Called when there is something to poll, or room to send."""

    @property
    def heard_s(self) -> float:
        """When something arrived last."""

    async def connect(self) -> None:
        """Make it so that frames can be sent."""

    async def send(self, frame: Frame) -> None:
        """Send a frame."""

    @property
    def has_room(self) -> bool:
        """Whether a frame can leave at once."""

    def poll(self) -> list[bytes | StepaheadError]:
        """What has arrived, in order."""

    async def close(self) -> None:
        """End the connection."""


class AsyncFeed:
    """One call of ``observe_many``; see :class:`stepahead._feed.Feed`."""

    def __init__(
        self,
        make_pipeline: Callable[[AsyncFeed], Pipeline],
        carrier: AsyncCarrier,
        other: Callable[[], AsyncCarrier] | None,
        timeout_s: float | None,
    ) -> None:
        self._pipeline = make_pipeline(self)
        self._carrier, self._other, self._timeout_s = carrier, other, timeout_s
        self._wake, self._due, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle_s = IDLE_S if timeout_s is None else min(IDLE_S, timeout_s)
        self._fault: Exception | asyncio.CancelledError | None = None
        carrier.changed = self._wake.set

    async def run(self, rows: Rows) -> AsyncGenerator[Outcome, None]:
        """Feed rows, and give what came of each in their order.

        Raises:
            StepaheadError: If the feed cannot go on.
        """
        pipeline = self._pipeline
        tasks = [asyncio.create_task(self._read(rows)), asyncio.create_task(self._drive())]
        try:
            while True:
                self._due.clear()
                due = pipeline.ready()
                for outcome in due:
                    yield outcome
                if due:
                    self._make_room()
                    continue
                if pipeline.is_over:
                    break
                await self._due.wait()
                if tasks[1].done() and not tasks[1].cancelled() and tasks[1].exception() is not None:
                    break
        finally:
            await self._leave(*tasks)
        if pipeline.failure is not None:
            raise pipeline.failure
        if self._fault is not None:
            raise self._fault
        if not tasks[1].cancelled():
            tasks[1].result()

    async def _leave(self, reading: asyncio.Task[None], driving: asyncio.Task[None]) -> None:
        """See :meth:`stepahead._feed.Feed._leave`."""
        try:
            reading.cancel()
            self._pipeline.leave()
            self._wake.set()
            await asyncio.wait([driving], timeout=LEAVE_S)
        finally:
            driving.cancel()
            await asyncio.wait([reading, driving])
            self._pipeline.close()
            await self._carrier.close()

    def let_go(self, turn: object) -> None:  # noqa: ARG002 - the task that drives the feed sees to it
        """See :class:`stepahead._turns.Holder`."""
        self._wake.set()

    async def _read(self, rows: Rows) -> None:
        try:
            if isinstance(rows, AsyncIterable):
                async for row in rows:
                    await self._add(row)
            else:
                begun_s = _clock()
                for row in rows:
                    await self._add(row)
                    if _clock() - begun_s > GATHER_S:
                        await asyncio.sleep(0)
                        begun_s = _clock()
        except (Exception, asyncio.CancelledError) as error:  # the caller's own; raised behind all replies
            self._fault = error
        self._pipeline.end()
        self._wake.set()
        self._due.set()

    async def _add(self, row: Row) -> None:
        while not self._pipeline.takes_row:
            self._room.clear()
            await self._room.wait()
        self._pipeline.add(row)
        self._wake.set()
        if self._pipeline.is_due:
            self._due.set()

    def _make_room(self) -> None:
        if self._pipeline.takes_row:
            self._room.set()

    async def _drive(self) -> None:
        pipeline = self._pipeline
        try:
            while not pipeline.is_over:
                carrier = self._carrier
                try:
                    if not carrier.is_up:
                        while not pipeline.n_waiting and not pipeline.is_over:
                            await self._pause()
                        await carrier.connect()
                    self._take()
                    await self._send()
                    self._make_room()
                    await self._pause()
                except NoSuchWay as error:
                    await carrier.close()
                    if self._other is None:
                        pipeline.fail(BadAnswer(f"the server does not take this kind of connection ({error})"))
                    else:
                        self._carrier, pipeline.max_frames = self._other(), 1
                        self._carrier.changed = self._wake.set
                except StepaheadError as error:
                    idle = carrier.is_up and not pipeline.n_frames
                    await carrier.close()
                    if not idle:
                        await asyncio.sleep(pipeline.lose(error, _clock()) or 0.0)
        finally:
            self._due.set()

    async def _send(self) -> None:
        while self._carrier.has_room:
            frames = self._pipeline.frames(_clock())
            if not frames:
                return
            for frame in frames:
                await self._carrier.send(frame)
            self._take()

    def _take(self) -> None:
        pipeline = self._pipeline
        answers = self._carrier.poll()
        for content in answers:
            if isinstance(content, StepaheadError):
                pipeline.refuse(content, _clock())
            else:
                pipeline.answer(content, _clock())
        if pipeline.is_due or pipeline.is_over:
            self._due.set()
        if not answers and (silent_s := self._silent_s()) is not None and silent_s > (self._timeout_s or 0.0):
            raise NoAnswer(f"no answer within {self._timeout_s:g} s")

    def _silent_s(self) -> float | None:
        """For how long an answer is awaited without a sign of life; ``None`` where that does not matter."""
        if self._timeout_s is None or self._pipeline.oldest_s is None:
            return None
        return _clock() - max(self._pipeline.oldest_s, self._carrier.heard_s)

    async def _pause(self) -> None:
        """Wait until there may be something to do."""
        due_s = self._pipeline.wait_s(_clock())
        wait_s = self._idle_s if due_s is None else min(due_s, self._idle_s)
        timer = asyncio.get_running_loop().call_later(wait_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()
