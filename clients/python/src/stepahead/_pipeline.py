"""Rows in, frames out; answers in, outcomes out, in the order of the rows. No I/O.

One machine for every way to the server: several frames on their way over a long-lived connection, one over requests.
Every row ends with exactly one outcome, and the rows of a stream are applied once and in order, whatever is lost on the
way: what was unanswered when a connection broke leaves again first, under the same numbers.

Another writer of a stream may take any number meanwhile, so only one row of a stream that the caller did not number is
on its way until the client has reason to take itself for the model's only writer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from stepahead import _wire as wire
from stepahead._core import Core, was_taken
from stepahead._delivery import Delivery
from stepahead._frame import Frame, Told
from stepahead._lane import FeedTurn, Lane
from stepahead._lane_queue import LaneQueue
from stepahead._places import Places
from stepahead._rows import Entry, Errors, Outcome, Row, entry
from stepahead._turns import Holder
from stepahead.errors import BadAnswer, BodyTooLarge, InvalidItem, InvalidRequest, SequenceGap, StepaheadError
from stepahead.types import Reply

MAX_FRAMES = 8
"""Most frames on their way: enough to keep the server busy, few enough for rows to gather into full ones."""
MAX_FRAME_BYTES = 256 * 2**10
"""Size at which a frame takes no further row."""
QUOTA = 16
"""Rows of a stream that a feed sends before it lets another call have its turn."""
_TOO_MUCH = (BodyTooLarge, InvalidRequest, InvalidItem)
"""Refusals of a whole frame that parts of it may not meet."""


class Pipeline:
    """The state of one feed. Its clock is whatever the caller passes as ``now``, in seconds.

    Args:
        core: The client's numbers, retries and knowledge of other writers.
        model: Its model.
        turn: A stream's turn.
        holder: Who takes turns.
        errors: With ``"raise"`` nothing is sent after the first refused row.
        chunk: Most rows in a frame.
        resume: Whether rows are numbered by their place in their stream, and those that were applied are passed over.
        max_frames: Most frames on their way.
    """

    def __init__(
        self,
        core: Core,
        model: str,
        turn: Callable[[str], FeedTurn],
        holder: Holder,
        *,
        errors: Errors = "raise",
        chunk: int = 256,
        resume: bool = False,
        max_frames: int = MAX_FRAMES,
    ) -> None:
        self._core, self._model, self._turn, self._holder = core, model, turn, holder
        self._chunk = chunk
        self.max_frames = max_frames
        """Most frames on their way."""
        self._places = Places() if resume else None
        self._size = chunk
        self._ask_size = chunk
        self._lanes: dict[str, Lane] = {}
        self._queue = LaneQueue()
        self._flight: deque[Frame] = deque()
        self._delivery = Delivery(errors)
        self.n_open = 0
        """Rows without an outcome."""
        self._n_rows = self._n_flight = 0
        self._n_answered = 0
        self._failed = (0, 0)  # breaks without anything being answered, and what was by then
        self._ended = self._left = False
        self.failure: StepaheadError | None = None
        """What is to be raised once all that is ready was delivered."""

    @property
    def takes_row(self) -> bool:
        """Whether a further row is welcome now."""
        return (
            not self._ended
            and self.failure is None
            and self._delivery.stop == math.inf
            and self.n_waiting < self._chunk
            and len(self._delivery) < 2 * self._window[0] + self._chunk
        )

    @property
    def n_waiting(self) -> int:
        """Rows to be sent."""
        return self.n_open - self._n_flight

    @property
    def n_frames(self) -> int:
        """Frames on their way."""
        return len(self._flight)

    @property
    def oldest_s(self) -> float | None:
        """When the frame that is answered next was sent; ``None`` when none is on its way."""
        return self._flight[0].sent_s if self._flight else None

    @property
    def is_full(self) -> bool:
        """Whether no further frame may leave."""
        return len(self._flight) >= self.max_frames

    @property
    def is_due(self) -> bool:
        """Whether there is something to deliver."""
        return self._delivery.is_due

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do but to deliver."""
        if self._left:
            return not self._flight or self.failure is not None
        return self.failure is not None or (self.n_open == 0 and (self._ended or self._delivery.stop < math.inf))

    @property
    def _window(self) -> tuple[int, int]:
        return self._core.window or (self._chunk, 1)

    def add(self, row: Row) -> None:
        """Take a row."""
        new = entry(self._n_rows, row)
        self._n_rows += 1
        self._delivery.add(new)
        if new.outcome is not None:
            self._refused(new)
            return
        if self._places is not None:
            self._places.number(new)
        self.n_open += 1
        lane = self._lanes.get(new.stream)
        if lane is None:
            lane = self._lanes[new.stream] = Lane(new.stream)
        lane.waiting.append(new)
        if len(lane.waiting) == 1:
            self._queue.offer(lane)

    def end(self) -> None:
        """No further row comes."""
        self._ended = True

    def frames(self, now: float) -> list[Frame]:
        """What is to be sent now: at most a question and a frame of rows, in this order."""
        queue = self._queue
        queue.wake(now)
        if self.is_full or self._left or self.failure is not None:
            return []
        sole = self._core.seems_sole(self._model)
        room = min(self._size, max(self._window[0] - self._n_flight, 0 if self._n_flight else 1))
        entries: list[Entry] = []
        lanes: list[Lane] = []
        parts: list[bytes] = []
        n_bytes = 0
        while len(entries) < room and len(lanes) < self._ask_size and n_bytes < MAX_FRAME_BYTES:
            lane = queue.first
            if lane is None:
                break
            if not self._may_send(lane, now, sole=sole):
                queue.remove_first()
                continue
            number = None if self._must_ask(lane) else lane.number(lane.waiting[0])
            if number is None:
                queue.remove_first()
                if not lane.n_flight and lane.waiting:
                    lane.asking = True
                    lanes.append(lane)
                continue
            sent = lane.send(number)
            entries.append(sent)
            self._n_flight += 1
            part = sent.head + b',"sequence":%d}' % number
            parts.append(part)
            n_bytes += len(part) + 1
            queue.renew_first()
        out: list[Frame] = []
        if lanes:
            out.append(Frame(wire.dumps({"streams": [lane.stream for lane in lanes]}), [], lanes, now))
        if entries:
            out.append(Frame(b'{"observations":[' + b",".join(parts) + b"]}", entries, [], now))
        self._flight.extend(out)
        return out

    def wait_s(self, now: float) -> float | None:
        """Seconds until there may be something to send without an answer; ``None`` where only an answer can help."""
        return self._queue.wait_s(now)

    @property
    def locked(self) -> list[Lane]:
        """Lanes whose turn somebody else has."""
        return self._queue.locked

    def holds(self, turn: object) -> bool:
        """Whether this feed has a turn."""
        return any(lane.turn is turn for lane in self._lanes.values())

    def answer(self, content: bytes, now: float) -> None:
        """The frame that was sent first of those on their way was answered."""
        try:
            if not self._flight:
                raise BadAnswer(f"an answer to nothing: {content[:80]!r}")
            frame = self._flight[0]
            read = wire.read(frame.read, content)
        except BadAnswer as error:
            self.fail(error)
            return
        if isinstance(read, StepaheadError):
            self.refuse(read, now)
            return
        self._flight.popleft()
        if isinstance(read, Told):
            self._tell(frame, read)
        else:
            self._settle_all(frame, read, now)

    def refuse(self, error: StepaheadError, now: float) -> None:
        """The frame that was sent first of those on their way was refused as a whole."""
        frame = self._flight.popleft()
        for lane in frame.lanes:
            self._refuse_question(lane, error, len(frame.lanes), now)
        if isinstance(error, _TOO_MUCH) and len(frame.entries) > 1:
            self._size = max(1, min(self._size, len(frame.entries) // 2))
            for e in frame.entries:
                lane = self._land(e)
                lane.delay(e, in_doubt=False)
                self._rest(lane)
        elif error.retried or isinstance(error, _TOO_MUCH):
            for e in frame.entries:
                self._settle(e, error, now)
        elif not (frame.lanes and isinstance(error, _TOO_MUCH)):
            self.fail(error)

    def lose(self, error: StepaheadError, now: float) -> float | None:
        """The connection broke; seconds until it may be tried again, ``None`` where the feed ends with the error.

        All that is on its way leaves again first, under the same numbers.
        """
        frames, self._flight = self._flight, deque()
        if splits := isinstance(error, BodyTooLarge) and bool(frames):
            self._flight.append(frames.popleft())
            self.refuse(error, now)
        for frame in frames:
            for e in frame.entries:
                self._land(e).delay(e, in_doubt=error.outcome_unknown)
            for lane in frame.lanes:
                lane.asking = False
        for lane in list(self._lanes.values()):
            self._rest(lane)
        n, answered = self._failed
        n = n if answered == self._n_answered else 0
        delay_s = 0.0 if splits else self._core.delay_s(n, error)
        if delay_s is None:
            self.fail(error)
        self._failed = (n + 1, self._n_answered)
        return delay_s

    def fail(self, error: StepaheadError) -> None:
        """End with an error, once what is ready was delivered; it tells which rows may have been applied."""
        flight = {id(e) for frame in self._flight for e in frame.entries}
        in_doubt = self._delivery.in_doubt(flight)
        if in_doubt:
            error.data["in_doubt"] = in_doubt
        self.failure = error

    def ready(self) -> list[Outcome]:
        """The outcomes that are due; takes them out."""
        due, error = self._delivery.ready()
        self.failure = error or self.failure
        return due

    def leave(self) -> None:
        """Send nothing more: only what is on its way is awaited, so that it is known where the streams stand."""
        self._left = True

    def close(self) -> None:
        """Give back all turns; where the rows on their way leave their streams is not known."""
        for lane in self._lanes.values():
            if lane.turn is not None:
                self._give(lane)
        self._lanes.clear()
        self._flight.clear()

    def _may_send(self, lane: Lane, now: float, *, sole: bool) -> bool:
        if not lane.waiting or lane.hole is not None or lane.asking or lane.waiting[0].i > self._delivery.stop:
            return False
        if lane.due_s > now:
            if not lane.in_doubt:
                self._give(lane)
            self._queue.pause(lane)
            return False
        if lane.turn is None:
            turn = self._turn(lane.stream)
            if not turn.take(self._holder):
                self._queue.lock(lane, now)
                return False
            lane.turn, lane.n_sent = turn, 0
            if not lane.in_doubt:
                lane.above = 0  # whoever had the turn may have deleted the stream, or taken it back
            if lane.next is None:
                lane.next = self._core.take_number(self._model, lane.stream)
            return True
        if not lane.n_flight:
            return True
        is_given = lane.waiting[0].given is not None
        return (
            lane.n_flight < self._window[1]
            and not lane.is_alone
            and is_given == lane.is_given
            and (sole or is_given)
            and not (lane.n_sent >= QUOTA and lane.turn.wanted_by_others(self._holder))
        )

    def _must_ask(self, lane: Lane) -> bool:
        """Whether something besides the number has to be known first; passes over what was applied in earlier runs."""
        if self._core.window is None:
            return True
        if self._places is None:
            return False
        if not self._places.knows(lane.stream):
            return True
        self.n_open -= self._places.pass_over(lane)
        if not lane.waiting:
            self._rest(lane)
        return not lane.waiting

    def _tell(self, frame: Frame, told: Told) -> None:
        self._core.window = told.window
        for lane, last in zip(frame.lanes, told.last, strict=True):
            lane.asking = False
            lane.next = last + 1
            if self._places is not None:
                self._places.tell(lane.stream, last)
            self._rest(lane)

    def _settle_all(self, frame: Frame, results: list[Reply | StepaheadError], now: float) -> None:
        first_attempts = [e.given is None and e.doubt != e.number for e in frame.entries]
        if any(first and was_taken(result) for first, result in zip(first_attempts, results, strict=True)):
            self._core.doubt_sole(self._model)
        elif any(first_attempts):
            was_sole = self._core.seems_sole(self._model)
            self._core.count_undisputed(self._model)
            if not was_sole and self._core.seems_sole(self._model):
                for lane in self._lanes.values():
                    self._queue.offer(lane)
        for e, result in zip(frame.entries, results, strict=True):
            self._settle(e, result, now)

    def _settle(self, e: Entry, result: Reply | StepaheadError, now: float) -> None:
        lane = self._land(e)
        if e.given is None and e.doubt != e.number and was_taken(result):
            self._core.doubt_sole(self._model)
            lane.lose(e)
        elif isinstance(result, Reply):
            lane.apply(e, result)
            self._close_row()
        elif (delay_s := self._delay_s(e, result)) is not None:
            lane.delay(e, in_doubt=result.outcome_unknown)
            lane.due_s = max(lane.due_s, now + delay_s)
        elif not (isinstance(result, SequenceGap) and lane.meet_gap(e, result)):
            if result.outcome_unknown:
                result.data.update(stream=e.stream, sequence=e.number)
            lane.drop(e, result)
            self._close_row()
            self._refused(e)
        self._rest(lane)

    def _land(self, e: Entry) -> Lane:
        lane = self._lanes[e.stream]
        lane.n_flight -= 1
        self._n_flight -= 1
        return lane

    def _delay_s(self, e: Entry, error: StepaheadError) -> float | None:
        n, answered = e.attempt
        n = n if answered == self._n_answered else 0
        delay_s = self._core.delay_s(n, error)
        e.attempt = (n + 1, self._n_answered)
        return delay_s

    def _refuse_question(self, lane: Lane, error: StepaheadError, n_asked: int, now: float) -> None:
        lane.asking = False
        if not lane.waiting:
            self._rest(lane)
            return
        first = lane.waiting[0]
        if (delay_s := self._delay_s(first, error)) is not None:
            lane.due_s = max(lane.due_s, now + delay_s)
        elif isinstance(error, _TOO_MUCH) and n_asked > 1:
            self._ask_size = max(1, min(self._ask_size, n_asked // 2))
        elif error.retried or isinstance(error, _TOO_MUCH):
            lane.waiting.popleft()
            lane.drop(first, error)
            self._close_row()
            self._refused(first)
        self._rest(lane)

    def _close_row(self) -> None:
        self.n_open -= 1
        self._n_answered += 1

    def _refused(self, e: Entry) -> None:
        """A row ended with an error: where these are raised, nothing after it is sent any more."""
        if self._delivery.refuse(e):
            for lane in self._lanes.values():
                self._trim(lane)

    def _trim(self, lane: Lane) -> None:
        while lane.waiting and lane.waiting[-1].i > self._delivery.stop:
            lane.waiting.pop()
            self.n_open -= 1

    def _rest(self, lane: Lane) -> None:
        """Something of a lane was settled: send on, or give its turn back."""
        if lane.n_flight == 0 and not lane.asking:
            for e in lane.regroup():
                self._close_row()
                self._refused(e)
            self._trim(lane)
            if not lane.waiting:
                if lane.turn is not None:
                    self._give(lane)
                self._lanes.pop(lane.stream, None)
                return
            if lane.turn is not None and lane.turn.wanted_by_others(self._holder) and not lane.in_doubt:
                self._give(lane)
        self._queue.offer(lane)

    def _give(self, lane: Lane) -> None:
        turn, lane.turn = lane.turn, None
        if lane.next is not None and not lane.in_doubt and lane.hole is None:
            self._core.put_number(self._model, lane.stream, lane.next)
            lane.next = None
        if turn is not None:
            turn.give()
