"""Many items in one request: numbering, and what is sent again. No I/O.

A stream's items are applied in their order, and another writer may take any number meanwhile: of two items in one
request the first may find its number taken and the second not. So a request holds one item of a stream, until the
client has reason to take itself for the model's only writer. Items that the caller numbered need no such care.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict

from stepahead import _wire as wire
from stepahead._core import MAX_TRIES, Core, Pause, Program, Request, Sent, asking, forgotten, taken, was_taken
from stepahead.errors import BadAnswer, InvalidItem, SequenceGap, StepaheadError
from stepahead.types import Reply


class _RowRequired(TypedDict):
    stream: str
    item: Mapping[str, Any]


class RowDict(_RowRequired, total=False):
    """A row as a mapping; ``sequence`` numbers it explicitly."""

    timestamp: datetime | str | None
    sequence: int | None


MAX_PER_STREAM = 64
"""Most rows of one stream in a chunk: the service keeps as many replies, so that a whole chunk can be sent again."""

Row = tuple[str, Mapping[str, Any]] | RowDict | Mapping[str, Any]
Errors = Literal["raise", "yield"]
Outcome = Reply | StepaheadError


@dataclass(frozen=True, slots=True)
class Observation:
    """One row in the contract's form; ``sequence`` ``None`` numbers it on the stream's last."""

    stream: str
    item: dict[str, Any]
    timestamp: str | None
    sequence: int | None


@dataclass(slots=True)
class Chunk:
    """Rows that travel together, and what came of them.

    Args:
        errors: With ``"raise"`` nothing is sent again after the first refused row.
        size: Most rows.
        experts: Whether the replies are to say what each expert said.
    """

    errors: Errors
    size: int
    experts: bool = False
    outcomes: dict[int, Outcome] = field(init=False, default_factory=dict)
    todo: dict[int, Observation] = field(init=False, default_factory=dict)
    in_doubt: dict[int, int] = field(init=False, default_factory=dict)
    """Numbers of rows to be sent again that may have been applied under them."""
    n_taken: Counter[int] = field(init=False, default_factory=Counter)
    """How many numbers of a row were taken by other writers."""
    _n_rows: Counter[str] = field(init=False, default_factory=Counter)

    def __len__(self) -> int:
        return len(self.outcomes) + len(self.todo)

    def add(self, row: Row) -> bool:
        """Take one more row; whether the chunk is full with it. A row that cannot be sent is refused here."""
        i = len(self)
        try:
            self.todo[i] = observation = _observation(row)
        except (ValueError, TypeError) as error:
            refusal = InvalidItem(str(error))
            refusal.__cause__ = error
            self.outcomes[i] = refusal
            return self.errors == "raise" or len(self) >= self.size
        self._n_rows[observation.stream] += 1
        return len(self) >= self.size or self._n_rows[observation.stream] >= MAX_PER_STREAM

    @property
    def streams(self) -> set[str]:
        """Streams that the rows to be sent belong to."""
        return {observation.stream for observation in self.todo.values()}

    def deliver(self) -> Iterator[Outcome]:
        """What came of the rows, in order; with ``errors="raise"`` up to the first error, which is raised.

        Raises:
            StepaheadError: See above.
        """
        for i in sorted(self.outcomes):
            outcome = self.outcomes[i]
            if self.errors == "raise" and isinstance(outcome, StepaheadError):
                raise outcome
            yield outcome


def observe(core: Core, model: str, chunk: Chunk) -> Program[None]:
    """Send a chunk until every row has an outcome, or with ``errors="raise"`` every row up to the first error.

    Raises:
        StepaheadError: If a whole request failed for good; what became of the rows without outcome is then unknown.
    """
    path = wire.path("models", model, "observations")
    attempt = 0
    while chunk.todo:
        together = _together(chunk, sole=core.seems_sole(model))
        numbers = yield from _number(core, model, chunk, together)
        core.forget(model, {o.stream for o in together.values()})
        body = {
            "observations": [
                {"stream": o.stream, "sequence": numbers[i], "item": o.item, "timestamp": o.timestamp}
                for i, o in together.items()
            ]
        }
        sent = Sent()
        results = yield from core.call(
            Request("POST", path, wire.dumps(body), asking(chunk.experts)), wire.results, sent
        )
        if len(results) != len(together):
            raise BadAnswer(f"{len(together)} items were answered with {len(results)} results")
        if sent.in_doubt:
            chunk.in_doubt.update(numbers)
        delay_s = _settle(core, model, chunk, numbers, dict(zip(together, results, strict=True)), attempt)
        if delay_s is None:
            attempt = 0
        else:
            yield Pause(delay_s)
            attempt += 1


def _together(chunk: Chunk, *, sole: bool) -> dict[int, Observation]:
    """Rows that may share the next request: several of a stream for a sole writer, or if the caller numbered them."""
    together: dict[int, Observation] = {}
    takes_more: dict[str, bool] = {}
    for i, o in chunk.todo.items():
        numbered_here = o.sequence is None
        if sole or o.stream not in takes_more or (takes_more[o.stream] and not numbered_here):
            together[i] = o
        takes_more[o.stream] = takes_more.get(o.stream, True) and not numbered_here
    return together


def _number(core: Core, model: str, chunk: Chunk, together: Mapping[int, Observation]) -> Program[dict[int, int]]:
    following: dict[str, int] = {}
    numbers: dict[int, int] = {}
    for i, o in together.items():
        if o.sequence is not None:
            number = o.sequence
        elif i in chunk.in_doubt:
            number = chunk.in_doubt[i]
        elif o.stream in following:
            number = following[o.stream]
        else:
            number = yield from core.next_sequence(model, o.stream)
        following[o.stream] = number + 1
        numbers[i] = number
    return numbers


def _settle(
    core: Core, model: str, chunk: Chunk, numbers: Mapping[int, int], results: Mapping[int, Outcome], attempt: int
) -> float | None:
    """Keep what is final and leave in ``chunk.todo`` what is sent again; seconds to wait before, ``None`` for none.

    An item that is not applied opens a gap for those of its stream that follow it in the same request. They are sent
    again, numbered anew, unless the caller numbered them on an item that was refused. An item whose number was taken is
    sent again too, unless a later one of its stream was applied: it would come out of order.
    """
    lost = _lost(core, model, chunk, results)
    last_applied = {chunk.todo[i].stream: i for i, r in results.items() if isinstance(r, Reply) and i not in lost}
    delays_s: list[float] = []
    waiting: set[str] = set()  # streams with an item that is sent again
    refused: set[str] = set()  # streams with an item that never will be applied
    for i, result in results.items():
        o = chunk.todo[i]
        if i in lost:
            chunk.n_taken[i] += 1
            if chunk.n_taken[i] < MAX_TRIES and i > last_applied.get(o.stream, -1):
                core.meet_other_writer(model, o.stream, numbers[i], chunk.n_taken[i])
                waiting.add(o.stream)
                continue
            refused.add(o.stream)
            chunk.outcomes[i] = taken(o.stream, numbers[i])
        elif isinstance(result, Reply):
            core.remember(model, result)
            chunk.outcomes[i] = result
        elif (delay_s := core.delay_s(attempt, result)) is not None:
            delays_s.append(delay_s)
            waiting.add(o.stream)
            if result.outcome_unknown:
                chunk.in_doubt[i] = numbers[i]
            continue
        elif isinstance(result, SequenceGap) and (
            o.stream in waiting or (o.sequence is None and (o.stream in refused or forgotten(result)))
        ):
            waiting.add(o.stream)
            chunk.in_doubt.pop(i, None)
            continue
        else:
            core.forget(model, [o.stream])
            refused.add(o.stream)
            chunk.outcomes[i] = result
        del chunk.todo[i]
    if chunk.errors == "raise":
        first_error = min((i for i, o in chunk.outcomes.items() if isinstance(o, StepaheadError)), default=len(chunk))
        chunk.todo = {i: o for i, o in chunk.todo.items() if i < first_error}
    return max(delays_s, default=None)


def _lost(core: Core, model: str, chunk: Chunk, results: Mapping[int, Outcome]) -> set[int]:
    """Rows whose number was another writer's; tells the core whether there is one."""
    first_attempts = {i for i in results if chunk.todo[i].sequence is None and i not in chunk.in_doubt}
    lost = {i for i in first_attempts if was_taken(results[i])}
    if lost:
        core.doubt_sole(model)
    elif first_attempts:
        core.count_undisputed(model)
    return lost


def _observation(row: Row) -> Observation:
    if isinstance(row, Mapping):
        if not {"stream", "item"} <= row.keys():
            raise ValueError("a row is a pair of stream and item, or a mapping with these keys")
        stream, item, timestamp, sequence = row["stream"], row["item"], row.get("timestamp"), row.get("sequence")
    else:
        (stream, item), timestamp, sequence = row, None, None
    wire.path(stream)  # refuses what cannot name a stream
    return Observation(stream, wire.item_to_wire(item), wire.timestamp_to_wire(timestamp), sequence)
