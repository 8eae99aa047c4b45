"""The state machine of a feed against a server in memory, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from clients.python.tests.model_server import ModelServer, Stream, dumps, error
from hypothesis import given, settings
from hypothesis import strategies as st

from stepahead import (
    BadAnswer,
    BodyTooLarge,
    InvalidItem,
    NoAnswer,
    Reply,
    SequenceGap,
    SequenceTaken,
    StepaheadError,
    StoreUnavailable,
)
from stepahead._core import SOLE_AFTER, Core, RetryPolicy
from stepahead._pipeline import Pipeline
from stepahead._rows import Errors, Outcome, Row

STREAMS = ["a", "b", "c"]
MAX_STEPS = 20_000
MAX_BREAKS = 12


class FreeTurn:
    """A turn that nobody else wants."""

    def take(self, _: object) -> bool:
        """Take it."""
        return True

    def give(self) -> None:
        """Give it back."""

    def wanted_by_others(self, _: object) -> bool:
        """Nobody does."""
        return False


class Nobody:
    """Holds turns that nobody waits for."""

    def let_go(self, _: object) -> None:
        """Nothing is to be done."""


def pipeline_of(core: Core, errors: Errors = "yield", **options: Any) -> Pipeline:
    """A pipeline whose turns are free."""
    return Pipeline(core, "m", lambda _: FreeTurn(), Nobody(), errors=errors, **options)


def core_of(*, sole: bool = True, retries: int = 3) -> Core:
    """A core that waits a second, and that takes itself for the only writer."""
    core = Core(RetryPolicy(retries, base_s=1.0))
    if sole:
        for _ in range(SOLE_AFTER):
            core.count_undisputed("m")
    return core


class Path:
    """A connection to a server, on which each frame's fate is drawn when it arrives.

    Args:
        server: Behind it.
        chance: Chooses.
        late: Whether frames of a broken connection may arrive after it broke.
        rivals: Whether others write the same streams; nothing is in doubt then.
    """

    def __init__(self, server: ModelServer, chance: random.Random, *, late: bool = False, rivals: bool = False) -> None:
        self.server, self._chance, self._late, self.rivals = server, chance, late, rivals
        self.sent: deque[bytes] = deque()
        self.answers: deque[bytes] = deque()
        self.delayed: list[bytes] = []

    def arrive(self) -> None:
        """The server takes the frame that was sent first."""
        content, chance = self.sent.popleft(), self._chance
        if self.delayed and chance.random() < 0.5:
            self.server.answer(self.delayed.pop(0))
        if self.rivals and chance.random() < 0.3:
            stream = chance.choice(STREAMS)
            self.server.streams.setdefault(stream, Stream()).items.append("rival")
        fate = chance.random()
        if fate < 0.15:
            self.answers.append(dumps(error("overloaded", retry_after_s=chance.randrange(4))))
        elif fate < 0.4 and b'{"streams"' not in content[:12]:
            self.answers.append(self.server.answer(content, {chance.randrange(6): self._refusal() for _ in range(2)}))
        else:
            self.answers.append(self.server.answer(content))

    def cut(self) -> None:
        """Break: of what was sent any first part is still done, perhaps later, and no answer comes back."""
        for _ in range(self._chance.randint(0, len(self.sent))):
            self.server.answer(self.sent.popleft())
        if self.sent:
            self.server.answer(self.sent[0], most=self._chance.randrange(4))
            if self._late:
                self.delayed.extend(self.sent)
        self.sent.clear()
        self.answers.clear()

    def _refusal(self) -> dict[str, Any]:
        code = "overloaded" if self.rivals else self._chance.choice(["overloaded", "store_unavailable"])
        return {"code": code, "applied": code == "store_unavailable" and self._chance.random() < 0.5}


def assert_bounded(pipeline: Pipeline) -> None:
    """Neither what is on its way nor what is kept is more than the server and the caller allow."""
    n_items, per_stream = pipeline._window
    assert sum(lane.n_flight for lane in pipeline._lanes.values()) == pipeline._n_flight <= n_items
    assert all(lane.n_flight <= per_stream for lane in pipeline._lanes.values())
    assert len(pipeline._delivery) <= 2 * n_items + pipeline._chunk
    assert pipeline.n_frames <= pipeline.max_frames + 1


def play(pipeline: Pipeline, rows: Iterable[Row], path: Path, chance: random.Random) -> list[Outcome]:
    """Drive a pipeline to its end, in whatever order things happen."""
    todo, outcomes, now, n_breaks = deque(rows), list[Outcome](), 0.0, 0
    for step in itertools.count():
        assert step < MAX_STEPS
        outcomes += pipeline.ready()
        if pipeline.is_over:
            break
        if not todo:
            pipeline.end()
        can = ["send", "send"]
        can += ["add", "add"] if todo and pipeline.takes_row else []
        can += ["arrive"] if path.sent else []
        can += ["answer"] if path.answers else []
        can += ["cut"] if path.sent and not path.rivals and n_breaks < MAX_BREAKS and chance.random() < 0.3 else []
        does = chance.choice(can)
        if does == "add":
            for _ in range(chance.randint(1, 8)):
                if todo and pipeline.takes_row:
                    pipeline.add(todo.popleft())
        elif does == "arrive":
            path.arrive()
        elif does == "answer":
            pipeline.answer(path.answers.popleft(), now)
        elif does == "cut":
            n_breaks += 1
            path.cut()
            now += pipeline.lose(NoAnswer("cut"), now) or 0.0
        else:
            frames = pipeline.frames(now)
            path.sent.extend(frame.content for frame in frames)
            assert_bounded(pipeline)
            if not frames and not path.sent and not path.answers:
                now += pipeline.wait_s(now) or 0.0
    return outcomes


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    late=st.booleans(),
    n_rows=st.integers(0, 80),
    window=st.sampled_from([4, 16, 1024]),
    kept=st.sampled_from([2, 5, 64]),
    sole=st.booleans(),
    chunk=st.sampled_from([1, 3, 256]),
    max_frames=st.integers(1, 4),
)
def test_every_row_is_applied_once_and_in_order(
    seed: int, late: bool, n_rows: int, window: int, kept: int, sole: bool, chunk: int, max_frames: int
) -> None:
    """Whatever is cut, lost, refused or late: each row has one reply, with its own number, in its place."""
    random.seed(0)
    chance = random.Random(seed)
    values = [0, 1] if late else [0, 1, 2, 3, "invalid"]
    rows = [(chance.choice(STREAMS), {"x": chance.choice(values), "i": i}) for i in range(n_rows)]
    server, core = ModelServer(window, kept), core_of(sole=sole, retries=MAX_STEPS)
    pipeline = pipeline_of(core, chunk=chunk, max_frames=max_frames)
    outcomes = play(pipeline, rows, Path(server, chance, late=late), chance)
    pipeline.close()
    assert pipeline.failure is None
    assert len(outcomes) == n_rows
    for stream in STREAMS:
        own = [(item, outcome) for (name, item), outcome in zip(rows, outcomes, strict=True) if name == stream]
        good = [(item, outcome) for item, outcome in own if item["x"] != "invalid"]
        assert server.items(stream) == [item for item, _ in good]
        assert [(o.stream, o.sequence) for _, o in good if isinstance(o, Reply)] == [
            (stream, i + 1) for i in range(len(good))
        ]
        assert all(isinstance(o, InvalidItem) for item, o in own if item["x"] == "invalid")
        assert core.take_number("m", stream) in {None, len(good) + 1}
    assert core.seems_sole("m") or not sole


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 60), sole=st.booleans(), chunk=st.sampled_from([1, 5, 256]))
def test_rivals_take_no_row_and_no_order(seed: int, n_rows: int, sole: bool, chunk: int) -> None:
    """Where others write the same streams each row is applied once, in order and under its own number, or refused."""
    random.seed(0)
    chance = random.Random(seed)
    rows = [(chance.choice(STREAMS), {"i": i}) for i in range(n_rows)]
    server, core = ModelServer(), core_of(sole=sole, retries=MAX_STEPS)
    if not sole:
        core.doubt_sole("m")
    pipeline = pipeline_of(core, chunk=chunk)
    outcomes = play(pipeline, rows, Path(server, chance, rivals=True), chance)
    assert pipeline.failure is None
    applied = [(row, o) for row, o in zip(rows, outcomes, strict=True) if isinstance(o, Reply)]
    assert all(isinstance(o, (Reply, SequenceTaken)) for o in outcomes)
    assert all(server.items(stream)[o.sequence - 1] == item for (stream, item), o in applied)
    for stream in STREAMS:
        assert [item for item in server.items(stream) if item != "rival"] == [
            row[1] for row, _ in applied if row[0] == stream
        ]
    assert sole or len(applied) == n_rows


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32), n_rows=st.integers(1, 60), bad=st.integers(0, 59), chunk=st.sampled_from([1, 5, 256])
)
def test_all_before_the_first_refused_row_is_delivered(seed: int, n_rows: int, bad: int, chunk: int) -> None:
    """Where errors are raised, whatever is cut: the rows before are applied once and in order, the bad one is named."""
    random.seed(0)
    chance = random.Random(seed)
    rows = [(chance.choice(STREAMS), {"x": "invalid" if i == bad else 0, "i": i}) for i in range(n_rows)]
    server = ModelServer()
    pipeline = pipeline_of(core_of(retries=MAX_STEPS), "raise", chunk=chunk)
    outcomes = play(pipeline, rows, Path(server, chance), chance)
    assert len(outcomes) == min(bad, n_rows)
    assert isinstance(pipeline.failure, InvalidItem) == (bad < n_rows)
    for stream in STREAMS:
        before = [item for name, item in rows[:bad] if name == stream]
        assert server.items(stream)[: len(before)] == before


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 60), n_before=st.integers(0, 60), late=st.booleans())
def test_resumed_rows_are_applied_once(seed: int, n_rows: int, n_before: int, late: bool) -> None:
    """A run that is begun again after any part of it passes over what was applied, and ends as one run would."""
    random.seed(0)
    chance = random.Random(seed)
    rows = [(chance.choice(STREAMS), {"i": i}) for i in range(n_rows)]
    server = ModelServer()
    path = Path(server, chance, late=late)
    play(pipeline_of(core_of(retries=MAX_STEPS), resume=True), rows[:n_before], path, chance)
    outcomes = play(pipeline_of(core_of(retries=MAX_STEPS), resume=True), rows, path, chance)
    assert [(o.stream, o.sequence) for o in outcomes if isinstance(o, Reply)] == [
        (stream, sum(name == stream for name, _ in rows[: i + 1]))
        for i, (stream, _) in enumerate(rows)
        if i >= n_before
    ]
    for stream in STREAMS:
        assert server.items(stream) == [item for name, item in rows if name == stream]


class Wire:
    """A pipeline's frames as a test reads them; every answer is given by hand."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.now, self.sent = pipeline, 0.0, deque[Any]()
        self.window = {"items": 1024, "per_stream": 64}

    def send(self) -> list[Any]:
        """What leaves now: streams that are asked for, or rows' streams and numbers."""
        frames = [json.loads(frame.content) for frame in self.pipeline.frames(self.now)]
        self.sent.extend(frames)
        return [
            frame["streams"] if "streams" in frame else [(o["stream"], o["sequence"]) for o in frame["observations"]]
            for frame in frames
        ]

    def tell(self, **sequences: int) -> None:
        """Answer a question."""
        self.sent.popleft()
        self.pipeline.answer(dumps({"sequences": sequences, "window": self.window}), self.now)

    def answer(self, *results: Any) -> None:
        """Answer rows: ``None`` applies one, ``"duplicate"`` had it, anything else is its error."""
        rows = self.sent.popleft()["observations"]
        self.pipeline.answer(dumps({"results": [_result(o, r) for o, r in zip(rows, results, strict=True)]}), self.now)


def _result(observation: Any, result: Any) -> Any:
    if isinstance(result, dict):
        return result
    number = observation["sequence"]
    prediction = {"sequence": number + 1, "fields": {}}
    duplicate = result == "duplicate"
    return {"stream": observation["stream"], "sequence": number, "duplicate": duplicate, "prediction": prediction}


def wire_of(rows: Iterable[Row], *, sole: bool = True, **options: Any) -> Wire:
    """A pipeline that has all these rows, and whose client knows the window."""
    core = core_of(sole=sole)
    core.window = (1024, 64)
    pipeline = pipeline_of(core, **options)
    for row in rows:
        pipeline.add(row)
    pipeline.end()
    return Wire(pipeline)


def told(wire: Wire) -> list[Any]:
    """Sequences of replies and classes of errors, in order."""
    return [type(o) if isinstance(o, StepaheadError) else o.sequence for o in wire.pipeline.ready()]


def test_streams_are_asked_for_together_and_once() -> None:
    """What is known afterwards is remembered for the next feed."""
    wire = wire_of([("a", {"x": 1}), ("b", {"x": 1}), ("a", {"x": 2})])
    assert wire.send() == [["a", "b"]]
    wire.tell(a=4, b=0)
    assert wire.send() == [[("a", 5), ("b", 1), ("a", 6)]]
    wire.answer(None, None, None)
    assert told(wire) == [5, 1, 6]
    assert wire.pipeline.is_over
    assert wire.pipeline._core.take_number("m", "a") == 7


def test_more_than_the_window_is_never_on_its_way() -> None:
    """Neither of all rows nor of one stream."""
    wire = wire_of([("a", {"x": 1})] * 5 + [("b", {"x": 1})] * 5)
    wire.window = {"items": 5, "per_stream": 3}
    wire.send()
    wire.tell(a=0, b=0)
    assert wire.send() == [[("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]]
    assert wire.send() == []
    wire.pipeline.answer(dumps({"sequences": {}}), 0.0)
    assert isinstance(wire.pipeline.failure, BadAnswer)


def test_stranger_holds_items_of_a_stream_apart() -> None:
    """Until frames have met no other writer one item of a stream is on its way, but all that the caller numbered."""
    rows: list[Row] = [("a", {"x": 1}), ("a", {"x": 2}), ("b", {"x": 1})]
    rows += [{"stream": "c", "item": {"x": s}, "sequence": s} for s in (1, 2)]
    wire = wire_of(rows, sole=False)
    assert wire.send() == [["a", "b"], [("c", 1), ("c", 2)]]
    wire.tell(a=4, b=4)
    assert wire.send() == [[("a", 5), ("b", 5)]]
    wire.answer(None, None)
    wire.answer(None, None)
    assert wire.send() == [[("a", 6)]]
    wire.answer(None)
    assert told(wire) == [5, 6, 5, 1, 2]


def test_forgotten_stream_begins_anew() -> None:
    """What was on its way when the stream was deleted or expired becomes its first items."""
    wire = wire_of([("a", {"x": 1}), ("a", {"x": 2})])
    wire.send()
    wire.tell(a=16)
    wire.send()
    assert wire.pipeline.lose(NoAnswer("cut"), 0.0) is not None
    wire.sent.clear()
    assert wire.send() == [[("a", 17), ("a", 18)]]
    wire.answer(gap(1, 17), gap(1, 18))
    assert wire.send() == [[("a", 1), ("a", 2)]]


def test_lost_items_are_not_papered_over() -> None:
    """A server that lost some of a stream's items is an error, once; those behind go on where it stands."""
    wire = wire_of([("a", {"x": 1}), ("a", {"x": 2})])
    wire.send()
    wire.tell(a=16)
    wire.send()
    wire.answer(gap(12, 17), gap(12, 18))
    assert told(wire) == [SequenceGap]
    wire.send()
    wire.answer(None) if wire.sent and "observations" in wire.sent[0] else wire.tell(a=11)
    assert wire.send() in ([[("a", 12)]], [])


def test_own_sequences_are_never_changed() -> None:
    """Behind a refused one they are gaps; duplicates are theirs."""
    rows = [{"stream": "a", "item": {"x": 1}, "sequence": s} for s in (1, 2, 3)]
    wire = wire_of(rows)
    assert wire.send() == [[("a", 1), ("a", 2), ("a", 3)]]
    wire.answer("duplicate", error("invalid_item"), gap(2, 3))
    assert told(wire) == [1, InvalidItem, SequenceGap]


def test_item_that_would_come_out_of_order_is_refused() -> None:
    """Another writer took its number, and a later one of its stream was applied already."""
    wire = wire_of([("a", {"x": 1}), ("a", {"x": 2})])
    wire.send()
    wire.tell(a=4)
    wire.send()
    wire.answer("duplicate", None)
    assert told(wire) == [SequenceTaken, 6]
    assert not wire.pipeline._core.seems_sole("m")


def test_breaks_without_progress_end_the_feed() -> None:
    """Attempts are counted anew once anything is answered; the error tells which rows may have been applied."""
    wire = wire_of([("a", {"x": 1}), ("a", {"x": 2})], sole=False)
    wire.send()
    wire.tell(a=0)
    for _ in range(2):
        wire.send()
        assert all(wire.pipeline.lose(NoAnswer("cut"), 0.0) for _ in range(3))
        wire.sent.clear()
        wire.send()
        wire.answer("duplicate") if wire.pipeline._n_answered == 0 else wire.sent.clear()
    assert wire.pipeline.lose(NoAnswer("cut"), 0.0) is None
    assert told(wire) == [1]
    assert wire.pipeline.is_over
    assert wire.pipeline.failure is not None
    assert wire.pipeline.failure.data["in_doubt"] == [{"stream": "a", "sequence": 2}]


def test_items_that_keep_failing_get_their_error() -> None:
    """Retries end, and those behind go on."""
    wire = wire_of([("a", {"x": 1}), ("b", {"x": 1})])
    wire.send()
    wire.tell(a=0, b=0)
    wire.send()
    wire.answer(error("store_unavailable"), None)
    for _ in range(4):  # the first time something else was answered
        wire.now += 100
        assert wire.send() == [[("a", 1)]]
        wire.answer(error("store_unavailable"))
    assert told(wire) == [StoreUnavailable, 1]


def test_too_large_frames_are_halved() -> None:
    """Until they fit, or one row alone does not."""
    wire = wire_of([("a", {"x": i}) for i in range(4)])
    wire.send()
    wire.tell(a=0)
    assert wire.send() == [[("a", 1), ("a", 2), ("a", 3), ("a", 4)]]
    wire.pipeline.lose(BodyTooLarge("too much"), 0.0)
    wire.sent.clear()
    assert wire.send() == [[("a", 1), ("a", 2)]]
    assert wire.send() == [[("a", 3), ("a", 4)]]
    wire.pipeline.refuse(BodyTooLarge("too much"), 0.0)
    wire.sent.popleft()
    wire.answer(gap(1, 3), gap(1, 4))
    assert wire.send() == [[("a", 1)]]
    wire.pipeline.refuse(BodyTooLarge("too much"), 0.0)
    assert told(wire) == [BodyTooLarge]


def test_unsendable_rows_are_refused_in_their_place() -> None:
    """NaN, impossible stream names and rows of another form are errors of one row."""
    wire = wire_of([("a", {"x": float("nan")}), ("a/b", {"x": 1}), {"stream": "a"}, ("a", {"x": 1})])
    wire.send()
    wire.tell(a=0)
    wire.send()
    wire.answer(None)
    assert told(wire) == [InvalidItem, InvalidItem, InvalidItem, 1]


def gap(expected: int, received: int) -> dict[str, Any]:
    """A row refused for its sequence."""
    return error("sequence_gap", expected=expected, received=received)
