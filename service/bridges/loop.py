"""The loop of every bridge: take, number, write down, observe, publish."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

from service.bridges.broker import Broker, Entry, Lost, Number, Refusal
from service.bridges.reading import Observation, Reading
from service.bridges.turns import Turn, publishable, sendable, settle, waves
from stepahead import Model, Reply, StepaheadError, UnknownStream

log = logging.getLogger("stepahead.bridge")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
KEEP_EVERY_S = 1.0
MAX_STREAMS = 100_000
"""Streams whose last number is known; a forgotten one costs a question."""


class Stopped(Exception):
    """The bridge is to end, and what is under way cannot be finished now."""


@dataclass(slots=True)
class Counts:
    """What a bridge has done."""

    predictions: int = 0
    refusals: int = 0


@dataclass(slots=True)
class Bridge:
    """One consumer.

    Args:
        broker: Where entries come from, and predictions go.
        model: What observes them; its client should not retry for long, as the bridge waits by itself.
        reading: How entries are read.
        per_stream: Most items of a stream under way; the service must keep as many replies.
        stop: Ends the bridge once it is set; what is under way is finished, unless the service is away.
    """

    broker: Broker
    model: Model
    reading: Reading
    per_stream: int
    stop: Event
    counts: Counts = field(init=False, default_factory=Counts)
    _last: dict[str, int] = field(init=False, default_factory=dict)
    _away: bool = field(init=False, default=False)

    def run(self) -> None:
        """Work until ``stop`` is set; an absent broker or service is waited for.

        Raises:
            Misconfigured: If the broker refuses what is asked of it.
            StepaheadError: If the service refuses for good: a model that is not there, a wrong key.
        """
        attempt = 0
        while not self.stop.is_set():
            self._last.clear()
            try:
                if self.broker.open(self.stop):
                    while not self.stop.is_set():
                        self._take()
                        attempt = 0
            except Lost as error:
                log.warning("%s; trying again", error)
                self.stop.wait(_wait_s(attempt))
                attempt += 1
            except Stopped:
                pass
            finally:
                self.broker.close()

    def _take(self) -> None:
        entries = self.broker.take()
        read = [self.reading.read(entry) for entry in entries]
        streams = [one.stream if isinstance(one, Observation) else None for one in read]
        for wave in waves(entries, streams, self.per_stream):
            self._pass(entries[wave], read[wave])
            if self.stop.is_set():
                return

    def _pass(self, entries: Sequence[Entry], read: Sequence[Observation | Refusal]) -> None:
        """See entries through until all of them are published."""
        turns = self._numbered(entries, read)
        unwritten = {turn for turn in turns if turn.number is not None and self.broker.written(turn.entry) is None}
        attempt = 0
        disturbed: set[str] = set()
        while turns:
            todo = sendable(turns)
            new = [turn for turn in todo if turn in unwritten]
            self.broker.write([(turn.entry, turn.number) for turn in new if turn.number is not None])
            unwritten.difference_update(new)
            answers, failure = self._observe(todo)
            settled = settle(turns, answers)
            unwritten.update(settled.moved)
            disturbed |= settled.disturbed
            for stream in settled.lost:
                log.warning("stream %r does not stand where it was left; going on from what the service has", stream)
            ready, turns = publishable(turns)
            if ready:
                self.broker.publish([turn.finished for turn in ready])
                self._count(ready)
                attempt = 0
            failure = failure or settled.failure
            if turns and (failure is not None or not ready):
                self._wait(attempt, failure)
                attempt += 1
        for stream in disturbed:
            self._last.pop(stream, None)

    def _numbered(self, entries: Sequence[Entry], read: Sequence[Observation | Refusal]) -> list[Turn]:
        """Entries with their numbers: those written down, else those that follow."""
        turns = []
        given: dict[str, int] = {}
        for entry, said in zip(entries, read, strict=True):
            if isinstance(said, Refusal):
                turns.append(Turn(entry, None, outcome=said))
                continue
            number = self.broker.written(entry)
            fresh = number is None and self.broker.keeps_numbers
            if number is None:
                last = given.get(said.stream)
                number = Number(said.stream, (self._last_of(entry.lane, said.stream) if last is None else last) + 1)
            given[number.stream] = number.sequence
            turns.append(Turn(entry, said, number, fresh=fresh))
        if len(self._last) > MAX_STREAMS:
            self._last.clear()
        self._last.update(given)
        return turns

    def _last_of(self, lane: str, stream: str) -> int:
        """By the ledger, which may have changed hands meanwhile; else as remembered; else by the service."""
        for last in (self.broker.last(lane, stream), self._last.get(stream)):
            if last is not None:
                return last
        return self._ask(stream)

    def _ask(self, stream: str) -> int:
        """The last sequence that the service has applied; 0 for a new stream."""
        attempt = 0
        while True:
            try:
                return self.model.stream(stream).summary().sequence
            except UnknownStream:
                return 0
            except StepaheadError as error:
                if not error.retried:
                    raise
                self._wait(attempt, error)
                attempt += 1

    def _observe(self, turns: Sequence[Turn]) -> tuple[dict[Turn, Reply | StepaheadError], StepaheadError | None]:
        """What the service answers, and why some have no answer."""
        answers: dict[Turn, Reply | StepaheadError] = {}
        rows = [
            {
                "stream": turn.number.stream,
                "sequence": turn.number.sequence,
                "item": turn.observation.item,
                "timestamp": turn.observation.timestamp,
            }
            for turn in turns
            if turn.number is not None and turn.observation is not None
        ]
        if not rows:
            return answers, None
        try:
            answers.update(zip(turns, self.model.observe_many(rows, errors="yield"), strict=False))
        except StepaheadError as error:
            if not error.retried:
                raise
            return answers, error
        if self._away:
            self._away = False
            log.info("the service answers again")
        return answers, None

    def _wait(self, attempt: int, failure: StepaheadError | None) -> None:
        """Wait for the service, in small steps so that the broker knows that this consumer lives.

        Raises:
            Stopped: If the bridge is to end.
        """
        if failure is not None and not self._away:
            self._away = True
            log.warning("waiting for the service: %s (%s)", failure.message, failure.code)
        asked_s = 0.0 if failure is None else failure.retry_after_s or 0.0
        until_s = time.monotonic() + max(_wait_s(attempt), asked_s)
        while (left_s := until_s - time.monotonic()) > 0:
            if self.stop.wait(min(left_s, KEEP_EVERY_S)):
                raise Stopped
            self.broker.keep()

    def _count(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            if isinstance(turn.outcome, Refusal):
                self.counts.refusals += 1
                where = f"entry {turn.entry.position} of {turn.entry.lane}"
                log.warning("%s is refused: %s (%s)", where, turn.outcome.message, turn.outcome.code)
            else:
                self.counts.predictions += 1


def _wait_s(attempt: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 20))
