"""The entries that are under way: their numbers, and what the service's answers make of them. No I/O.

Numbers of a stream are consecutive in the order of its entries. What the service refuses takes no number, so those
after it move up; and where the service has forgotten a stream, or lost its last items, numbers go on from what it
expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from service.bridges.broker import Entry, Finished, Number, Refusal
from service.bridges.reading import Observation
from stepahead import Reply, SequenceError, SequenceGap, StepaheadError


@dataclass(slots=True, eq=False)
class Turn:
    """One entry that is not published yet.

    Args:
        entry: As the broker gave it.
        observation: What is sent; ``None`` if it could not be read.
        number: Under which it is sent; ``None`` if it is not.
        fresh: Whether it has surely never been sent under this number.
        outcome: What came of it; ``None`` as long as it is to be sent.
    """

    entry: Entry
    observation: Observation | None
    number: Number | None = None
    fresh: bool = False
    outcome: Reply | Refusal | None = None

    @property
    def finished(self) -> Finished:
        """What is published of a turn that has an outcome.

        Raises:
            ValueError: If it has none.
        """
        if self.outcome is None:
            raise ValueError(f"entry {self.entry.position} has no outcome yet")
        return Finished(self.entry, self.number, self.outcome)


def waves(entries: Sequence[Entry], streams: Sequence[str | None], per_stream: int) -> Iterable[slice]:
    """Cut entries so that none holds more than ``per_stream`` of one stream: the service keeps as many replies."""
    begin, counts = 0, dict[str, int]()
    for i, stream in enumerate(streams):
        if stream is None:
            continue
        counts[stream] = counts.get(stream, 0) + 1
        if counts[stream] > per_stream:
            yield slice(begin, i)
            begin, counts = i, {stream: 1}
    if begin < len(entries):
        yield slice(begin, len(entries))


def sendable(turns: Iterable[Turn]) -> list[Turn]:
    """Turns to be sent now: not those that follow one of their stream whose outcome is still to be published.

    Whatever numbers have moved by what came before is then written down with its cause when they are sent.
    """
    held: set[str] = set()
    found = []
    for turn in turns:
        if turn.number is None:
            continue
        if turn.outcome is not None:
            held.add(turn.number.stream)
        elif turn.number.stream not in held:
            found.append(turn)
    return found


def publishable(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Of each lane its first turns that have an outcome, and all others."""
    waiting: set[str] = set()
    ready: list[Turn] = []
    rest: list[Turn] = []
    for turn in turns:
        if turn.outcome is None:
            waiting.add(turn.entry.lane)
        (rest if turn.entry.lane in waiting else ready).append(turn)
    return ready, rest


@dataclass(frozen=True, slots=True)
class Settled:
    """What answers have changed.

    Args:
        moved: Turns whose numbers are others now.
        disturbed: Streams whose next number is not the one after the last that was given out.
        failure: Why some are to be sent again later; ``None`` where none are.
        lost: Streams that the service knows less of than it was sent.
    """

    moved: tuple[Turn, ...]
    disturbed: frozenset[str]
    failure: StepaheadError | None
    lost: frozenset[str]


OUTRUN = frozenset({"sequence_stale", "sequence_taken"})
"""Codes that say that others wrote the stream, too: the number is gone."""

REFUSED = frozenset({"invalid_item", "invalid_request", "body_too_large"}) | OUTRUN
"""Codes of errors that are an entry's own."""


def settle(turns: Sequence[Turn], answers: Mapping[Turn, Reply | StepaheadError]) -> Settled:
    """Give each turn what its answer makes of it; one without answer stays as it is.

    Args:
        turns: All that are under way, in order; changed in place.
        answers: Of those that were sent.

    Raises:
        StepaheadError: If an answer is neither about the entry nor something that passes.
    """
    by_stream: dict[str, list[Turn]] = {}
    for turn in turns:
        if turn.number is not None:
            by_stream.setdefault(turn.number.stream, []).append(turn)
    found = [_settle(own, answers) for own in by_stream.values()]
    return Settled(
        tuple(turn for one in found for turn in one.moved),
        frozenset(stream for stream, one in zip(by_stream, found, strict=True) if one.disturbed),
        next((one.failure for one in found if one.failure is not None), None),
        frozenset(stream for stream, one in zip(by_stream, found, strict=True) if one.lost),
    )


@dataclass(slots=True)
class _Stream:
    """What answers have changed in one stream.

    Args:
        following: The number that the next one to be sent takes, once numbers have moved.
        waits: Whether an earlier one is to be sent again as it is.
    """

    following: int | None = None
    waits: bool = False
    lost: bool = False
    disturbed: bool = False
    failure: StepaheadError | None = None
    moved: list[Turn] = field(default_factory=list)

    def hear(self, turn: Turn, answer: Reply | StepaheadError | None) -> None:
        """Take the answer to a turn."""
        if isinstance(answer, Reply):
            turn.outcome = answer
        elif (expected := _expected(turn, answer)) is not None:
            if not self.waits and self.following is None:
                self.following, self.lost = expected, True
        elif answer is not None and answer.code in REFUSED:
            turn.outcome = Refusal(answer.code, answer.message)
        elif answer is not None:
            if not answer.retried:
                raise answer
            self.failure = self.failure or answer

    def place(self, turn: Turn, number: Number) -> None:
        """Give a turn the number that it has now."""
        outcome = turn.outcome
        if isinstance(outcome, Reply):
            self.following = None if self.following is None else outcome.sequence + 1
        elif isinstance(outcome, Refusal):
            self.disturbed = True
            if self.following is None and outcome.code not in OUTRUN:
                self.following = number.sequence
        elif self.following is None:
            self.waits = True
        else:
            self.disturbed = True
            if self.following != number.sequence:
                turn.number = Number(number.stream, self.following)
                self.moved.append(turn)
            self.following += 1


def _settle(own: Sequence[Turn], answers: Mapping[Turn, Reply | StepaheadError]) -> _Stream:
    found = _Stream()
    for turn in own:
        if turn.outcome is None:
            found.hear(turn, answers.get(turn))
            turn.fresh = False
        if turn.number is not None:
            found.place(turn, turn.number)
    return found


def _expected(turn: Turn, answer: object) -> int | None:
    """The number that the service waits for instead; ``None`` where the answer does not ask for another one."""
    if isinstance(answer, SequenceGap) or (turn.fresh and isinstance(answer, SequenceError)):
        return answer.expected
    return None
