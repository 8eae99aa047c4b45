"""Drives a feed: the caller's rows, a connection, and the pipeline between them, in the caller's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from stepahead._frame import Frame
from stepahead._link import NoSuchWay
from stepahead._pipeline import Pipeline
from stepahead._rows import Outcome, Row
from stepahead._turns import Turn
from stepahead.errors import BadAnswer, NoAnswer, StepaheadError

GATHER_S = 0.002
"""How long rows are gathered before they leave, unless they fill a frame earlier."""
IDLE_S = 1.0
"""How long nothing is looked at, at most."""
LEAVE_S = 1.0
"""How long what is on its way is awaited when a feed is left before its end."""
MAX_OUT_BYTES = 2**20
"""Bytes that wait to be sent, at which no further frame is made."""
SHARE = 0.2
"""What the last measurement counts in a running mean."""

_clock = time.monotonic


class Carrier(Protocol):
    """A way to the server."""

    is_up: bool
    """Whether frames can be sent."""
    heard_s: float
    """When something arrived last."""

    def connect(self) -> None:
        """Make it so that frames can be sent.

        Raises:
            StepaheadError: If that fails.
            NoSuchWay: If the server does not take this kind of connection.
        """

    def send(self, frame: Frame) -> None:
        """Send a frame, or as much of it as can leave now.

        Raises:
            StepaheadError: If the connection broke.
        """

    @property
    def n_out_bytes(self) -> int:
        """Bytes that could not leave yet."""

    def poll(self, wait_s: float) -> list[bytes | StepaheadError]:
        """What has arrived, in order; waits for it.

        Raises:
            StepaheadError: If the connection broke, and nothing more arrived before.
        """

    def close(self) -> None:
        """End the connection; :meth:`connect` may open another."""


class Feed:
    """One call of ``observe_many``.

    Args:
        make_pipeline: Makes the pipeline, whose turns this feed takes.
        turn: A stream's turn.
        carrier: The way to the server.
        other: What to go on with where the server does not take this way; ``None`` for an error.
        timeout_s: Seconds without any sign of life after which a connection is given up; ``None`` for never.
    """

    def __init__(
        self,
        make_pipeline: Callable[[Feed], Pipeline],
        turn: Callable[[str], Turn],
        carrier: Carrier,
        other: Callable[[], Carrier] | None,
        timeout_s: float | None,
    ) -> None:
        self._pipeline = make_pipeline(self)
        self._turn, self._carrier, self._other, self._timeout_s = turn, carrier, other, timeout_s
        self._driving = threading.Lock()
        self._idle_s = IDLE_S if timeout_s is None else min(IDLE_S, timeout_s)
        self._retry_at_s = 0.0
        self._source_s = self._reply_s = 0.0

    def run(self, rows: Iterable[Row]) -> Iterator[Outcome]:
        """Feed rows, and give what came of each in their order.

        The source is asked for a row only when nothing that is due waits to be delivered. Where it takes longer than
        the service, the replies to all that it gave are delivered before it is asked again.

        Raises:
            StepaheadError: If the feed cannot go on.
        """
        source = iter(rows)
        fault: Exception | None = None
        pipeline = self._pipeline
        try:
            while True:
                with self._driving:
                    due = pipeline.ready()
                yield from due
                if due:
                    continue
                if pipeline.is_over:
                    break
                if not pipeline.takes_row or (pipeline.n_open and self._source_s > self._reply_s):
                    with self._driving:
                        self._step(self._idle_s)
                    continue
                try:
                    self._read(source)
                except Exception as error:  # the caller's own; raised once all that was read has its reply
                    fault = error
                    pipeline.end()
                with self._driving:
                    self._step(0.0)
        finally:
            with self._driving:
                try:
                    self._leave()
                finally:
                    pipeline.close()
                    self._carrier.close()
        if pipeline.failure is not None:
            raise pipeline.failure
        if fault is not None:
            raise fault

    def let_go(self, turn: object) -> None:
        """See :class:`stepahead._turns.Holder`: for callers that wait while this feed's own does something else."""
        if not self._driving.acquire(blocking=False):
            return
        try:
            while self._pipeline.holds(turn):
                if self._pipeline.failure is not None:
                    self._pipeline.close()
                else:
                    self._step(self._idle_s)
        finally:
            self._driving.release()

    def _read(self, source: Iterator[Row]) -> None:
        """Ask the source for rows, until there are enough or some time has gone by."""
        begun_s = before_s = _clock()
        gather_s = max(GATHER_S, 0.0 if self._pipeline.max_frames > 1 else self._reply_s)
        while self._pipeline.takes_row:
            try:
                row = next(source)
            except StopIteration:
                self._pipeline.end()
                break
            now = _clock()
            self._source_s += (now - before_s - self._source_s) * SHARE
            with self._driving:
                self._pipeline.add(row)
            before_s = now
            if now - begun_s > gather_s:
                break

    def _leave(self) -> None:
        """Take the answers to what is on its way, so that the next call does not meet it under its own numbers."""
        self._pipeline.leave()
        until_s = _clock() + LEAVE_S
        while self._carrier.is_up and not self._pipeline.is_over and (left_s := until_s - _clock()) > 0:
            self._step(left_s)

    def _step(self, wait_s: float) -> None:
        """Send what can be sent and take what has arrived; wait for it where there is nothing."""
        pipeline, carrier, now = self._pipeline, self._carrier, _clock()
        try:
            if not carrier.is_up:
                if now < self._retry_at_s:
                    time.sleep(min(wait_s, self._retry_at_s - now))
                if _clock() < self._retry_at_s:
                    return
                carrier.connect()
            taken = self._take(0.0)
            self._send()
            if not taken and wait_s > 0:
                for lane in pipeline.locked:
                    turn = self._turn(lane.stream)
                    if turn.holder is not None:
                        turn.holder.let_go(turn)
                due_s = pipeline.wait_s(_clock())
                if self._take(wait_s if due_s is None else min(wait_s, due_s)):
                    self._send()
        except NoSuchWay as error:
            carrier.close()
            if self._other is None:
                pipeline.fail(BadAnswer(f"the server does not take this kind of connection ({error})"))
            else:
                self._carrier, pipeline.max_frames = self._other(), 1
        except StepaheadError as error:
            idle = carrier.is_up and not pipeline.n_frames
            carrier.close()
            if not idle:
                self._retry_at_s = _clock() + (pipeline.lose(error, _clock()) or 0.0)

    def _send(self) -> None:
        while self._carrier.n_out_bytes < MAX_OUT_BYTES:
            frames = self._pipeline.frames(_clock())
            if not frames:
                return
            for frame in frames:
                self._carrier.send(frame)

    def _take(self, wait_s: float) -> bool:
        """Whether an answer has arrived."""
        pipeline = self._pipeline
        answers = self._carrier.poll(wait_s)
        for content in answers:
            now = _clock()
            if pipeline.oldest_s is not None:
                self._reply_s += (now - pipeline.oldest_s - self._reply_s) * SHARE
            if isinstance(content, StepaheadError):
                pipeline.refuse(content, now)
            else:
                pipeline.answer(content, now)
        if not answers and self._timeout_s is not None and pipeline.oldest_s is not None:
            silent_s = _clock() - max(pipeline.oldest_s, self._carrier.heard_s)
            if silent_s > self._timeout_s:
                raise NoAnswer(f"no answer within {self._timeout_s:g} s")
        return bool(answers)
