"""A conversation over a lasting connection: frames in, answers out, in order, within a window.

One task reads, one writes. What is read is handed to the engine at once and never waits for answers to what came
before; what is written awaits the transport. The transports, NDJSON and WebSocket, are thin.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.api.feeds import Feeds
from service.api.frames import Form, Items, Question, Rows, gather, read_frame, render, render_sequences
from service.api.transport import Gone, Transport
from service.api.window import Window
from service.batcher import Answer
from service.engines import Engines
from service.errors import Draining, ServiceError, SlowReader, Superseded
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger("stepahead")

UNIT = 256
"""Most frames, and items in more than one frame, that are taken as one unit of work."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """Frames that were taken together, and what resolves to the answers to all their items; the items are not kept."""

    forms: list[Form]
    answers: asyncio.Future[list[Answer]] | ServiceError
    size: int


class Conversation:
    """Takes the frames of one connection to one model, in order, and answers each, in order.

    Args:
        transport: The connection.
        model: Whose streams the frames are of.
        engines: Learn them. An engine is in use only while a frame is handed to it: a model may leave memory and come
            back, or be deleted and created anew, while the connection lasts.
        settings: Bounds.
        metrics: What it reports to.
        request_id: Of the call that opened the connection.
        experts: Whether the predictions are to say what each expert said.
        feeds: Know which connection carries a feed.
        feed: That this one carries; None if it names none.
    """

    def __init__(
        self,
        transport: Transport,
        model: str,
        engines: Engines,
        settings: Settings,
        metrics: Metrics,
        request_id: str,
        *,
        experts: bool,
        feeds: Feeds,
        feed: str | None,
    ) -> None:
        self._transport = transport
        self._model = model
        self._engines = engines
        self._settings = settings
        self._metrics = metrics
        self._request_id = request_id
        self._experts = experts
        self._feeds, self._feed = feeds, feed
        self._window = Window(settings.max_window_items)
        # No more than a request may have: that many fit the queue.
        self._unit = min(UNIT, settings.max_window_items, settings.max_items_per_request)
        self._frames = metrics.frames.labels(transport.kind)
        self._unanswered = metrics.unanswered.labels(transport.kind)
        self._taken: deque[_Unit | Question] = deque()
        self._more: asyncio.Future[None] | None = None  # what the writer waits for: another unit, or the last
        self._reader: asyncio.Task[None] | None = None
        self._ended = False
        self._error: ServiceError | None = None  # what it ends of

    async def run(self) -> None:
        """Go on until a side ends it; what was taken is answered as long as the other side is there."""
        async with self._feeds.carrying(self._model, self._feed, self):
            await self._run()

    async def supersede(self) -> None:
        """Take no more, as another connection carries the feed now; returns once all that was taken is learned."""
        self._stop(Superseded())
        if self._reader is not None:
            await asyncio.wait([self._reader])
        taken = [unit.answers for unit in self._taken if isinstance(unit, _Unit)]
        if waiting := [answers for answers in taken if isinstance(answers, asyncio.Future)]:
            await asyncio.wait(waiting)

    async def _run(self) -> None:
        kind = self._transport.kind
        outcome = "gone"
        with self._metrics.conversations.labels(kind).track_inprogress():
            self._reader = reader = asyncio.create_task(self._read(), name=f"{kind} reader {self._model}")
            writer = asyncio.create_task(self._write(), name=f"{kind} writer {self._model}")
            try:
                with self._engines.telling_of_end(self._drain):
                    await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
                    if self._ended:  # nothing more is read
                        await asyncio.wait([writer])
                outcome = await self._settle(reader, writer)
            finally:
                reader.cancel()
                writer.cancel()
                await asyncio.gather(reader, writer, return_exceptions=True)
                self._metrics.closes.labels(kind, outcome).inc()
                for unit in self._taken:
                    self._release(unit)

    async def _settle(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> str:
        """End of what one of the tasks ended of; return a name of it."""
        done = writer if writer.done() else reader
        error = None if done.cancelled() else done.exception()
        match error:
            case None:
                self._metrics.count_errors([self._error])
                return "normal" if self._error is None else self._error.code
            case Gone():
                return "normal" if error.said_so else "gone"
            case ServiceError():
                named = error
            case _:
                log.error("model %s: a connection failed", self._model, exc_info=error)
                named = ServiceError("something broke; the service's log says what, under this request_id")
        self._metrics.count_errors([named])
        self._transport.cut_off(named)
        return named.code

    def _drain(self) -> None:
        self._stop(Draining())

    def _stop(self, error: ServiceError) -> None:
        """Read no more."""
        if not self._ended:
            self._end(error)
            if self._reader is not None:
                self._reader.cancel()

    def _end(self, error: ServiceError | None) -> None:
        """Let the writer end once it has answered what was taken."""
        self._ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def _read(self) -> None:
        if self._ended:
            return
        try:
            while (raws := await self._transport.receive()) is not None:
                await self._take(raws)
        except ServiceError as error:
            self._end(error)
        else:
            self._end(None)

    async def _take(self, raws: Sequence[bytes]) -> None:
        """Take frames that came together, as units."""
        self._frames.inc(len(raws))
        unit: list[Items | Rows] = []
        size = 0
        engine = self._engines.ready(self._model)
        reader = None if engine is None else engine.columns
        for raw in raws:
            frame = read_frame(raw, self._settings.max_items_per_request, reader)
            is_question = isinstance(frame, Question)
            if unit and (is_question or len(unit) >= self._unit or size + frame.size > self._unit):
                await self._take_unit(unit, size)
                unit, size = [], 0
            if isinstance(frame, Question):
                await self._window.take(frame.size)
                self._put(frame)
                await self._window.emptied()  # so that nothing sent after it is in the answer
            else:
                unit.append(frame)
                size += frame.size
        if unit:
            await self._take_unit(unit, size)

    async def _take_unit(self, frames: list[Items | Rows], size: int) -> None:
        """Hand a unit to the engine once window and queue have room.

        Raises:
            Draining: If none is taken any more.
        """
        await self._window.take(size)
        forms = [frame.form for frame in frames]
        settings = self._settings
        try:
            async with self._engines.use(self._model) as engine:
                observations = gather(frames, settings.max_items_per_request, engine.columns)
                answers = await engine.accept(observations, experts=self._experts, wait_s=settings.max_wait_s)
                self._put(_Unit(forms, answers, size))  # before anything is awaited: what is taken is answered
        except Draining:
            raise
        except ServiceError as error:
            self._put(_Unit(forms, error, size))

    def _put(self, unit: _Unit | Question) -> None:
        self._unanswered.inc(unit.size)
        self._taken.append(unit)
        self._wake()

    async def _write(self) -> None:
        await self._transport.begin()  # not before the reader's first receive, which may have to ask for the body
        while True:
            while not self._taken and not self._ended:
                self._more = asyncio.get_running_loop().create_future()
                await self._await(self._more)
            if not self._taken:
                break
            unit = self._taken[0]  # it stays until it is answered
            if isinstance(unit, Question):
                answers = [await self._answer(unit)]
            else:
                answers = await self._answers(unit)
            await self._patiently(partial(self._transport.send, answers))
            self._release(self._taken.popleft())
        await self._patiently(partial(self._transport.end, self._error))

    def _release(self, unit: _Unit | Question) -> None:
        self._window.release(unit.size)
        self._unanswered.dec(unit.size)

    async def _answers(self, unit: _Unit) -> list[bytes]:
        """The answers to a unit's frames, once its items have theirs."""
        if isinstance(unit.answers, ServiceError):
            self._metrics.count_errors([unit.answers] * len(unit.forms))
            return [render(unit.answers, self._request_id)] * len(unit.forms)
        await self._await(unit.answers)
        answers = unit.answers.result()
        self._metrics.count_errors(answers)
        rendered, begin = [], 0
        for form in unit.forms:
            end = begin + form.n_items
            rendered.append(form.render(answers[begin:end], self._request_id))
            begin = end
        return rendered

    async def _answer(self, question: Question) -> bytes:
        """Where the streams are now that all that was taken before is answered."""
        try:
            async with self._engines.use(self._model) as engine:
                sequences = await engine.sequences(question.streams)
        except ServiceError as error:
            self._metrics.count_errors([error])
            return render(error, self._request_id)
        return render_sequences(question.streams, sequences, self._settings)

    async def _await(self, waited_for: asyncio.Future[Any]) -> None:
        """Wait without a word for as long as the other side need not be shown that the connection is alive."""
        beat_s = self._transport.heartbeat_s
        while not waited_for.done():
            done, _ = await asyncio.wait([waited_for], timeout=beat_s)
            if not done:
                await self._patiently(self._transport.beat)

    async def _patiently(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, for as long as the other side goes on reading.

        Raises:
            SlowReader: If nothing of what was written before was read for too long.
        """
        limit_s = self._settings.slow_reader_s
        unsent = self._transport.unsent_bytes()
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    await write()
            except TimeoutError:
                left = self._transport.unsent_bytes()
                if left is None or unsent is None or left >= unsent:
                    raise SlowReader(limit_s) from None
                unsent = left
            else:
                return
