"""The core without I/O: programs are driven by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from stepahead import (
    BadAnswer,
    CategoryPrediction,
    InvalidItem,
    NoAnswer,
    Overloaded,
    RealPrediction,
    RealScore,
    SequenceGap,
    SequenceTaken,
    StepaheadError,
    StoreUnavailable,
    Unavailable,
    UnknownModel,
)
from stepahead import _wire as wire
from stepahead._core import MAX_TRIES, Answer, Core, Pause, Program, Request, RetryPolicy, failure
from stepahead._http import Locks
from stepahead._recent import Recent
from stepahead._turns import Turn

POLICY = RetryPolicy(retries=2, base_s=1.0, cap_s=8.0, patience_s=60.0)
PREDICTION = {
    "sequence": 18,
    "weights_version": 812,
    "new_key": 1,
    "fields": {
        "load": {"mean": 3.1, "std": 0.5, "quantiles": {"0.05": 2.3, "0.5": 3.1, "0.95": 4.0}, "new_key": 1},
        "state": {"top": "idle", "probabilities": {"idle": 0.9, "busy": 0.1}},
        "never_seen": None,
        "of_a_new_kind": {"new_key": 1},
    },
}
SCORE = {
    "nll": 1.31,
    "anomaly": 0.12,
    "fields": {"load": {"error": 0.4, "crps": 0.21, "covered": True}, "state": {"nll": 0.22, "rank": 1}},
}
REPLY = {"stream": "s", "sequence": 17, "duplicate": False, "score": SCORE, "prediction": PREDICTION, "new_key": 1}


def answer(data: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, headers, json.dumps(data).encode())


def refusal(code: str, status: int, **data: Any) -> Answer:
    """An answer with the contract's error."""
    return answer({"error": {"code": code, "message": f"it is {code}", "request_id": "r1", **data}}, status)


def reply(sequence: int, stream: str = "s", *, duplicate: bool = False) -> dict[str, Any]:
    """The contract's reply."""
    return {**REPLY, "stream": stream, "sequence": sequence, "duplicate": duplicate}


def gap(expected: int, received: int) -> dict[str, Any]:
    """An item's place in the results, refused for its sequence."""
    data = {"expected": expected, "received": received}
    return {"error": {"code": "sequence_gap", "message": "a gap", "request_id": "r1", **data}}


class Driven:
    """Drives a program with answers written beforehand, and keeps what it did."""

    def __init__(self, answers: Iterable[Answer | NoAnswer]) -> None:
        self._answers = list(answers)[::-1]
        self.requests: list[Request] = []
        self.pauses_s: list[float] = []

    def __call__(self, program: Program[Any]) -> Any:
        """Run to the end; every answer must be used."""
        try:
            todo = next(program)
            while True:
                if isinstance(todo, Pause):
                    self.pauses_s.append(todo.seconds)
                    todo = next(program)
                else:
                    self.requests.append(todo)
                    todo = program.send(self._answers.pop())
        except StopIteration as end:
            assert not self._answers
            return end.value

    def sent(self, i: int) -> Any:
        """Body of a request."""
        content = self.requests[i].content
        return None if content is None else json.loads(content)


@pytest.fixture
def core() -> Core:
    """A core that retries twice."""
    return Core(POLICY)


def test_reply_is_read_with_its_parts_typed() -> None:
    """Every part of the contract's reply arrives, and keys of newer servers are passed over."""
    read = wire.reply(REPLY)
    assert (read.stream, read.sequence, read.duplicate) == ("s", 17, False)
    assert read.score is not None
    assert read.score["load"] == RealScore(0.4, 0.21, covered=True)
    assert read.score["state"].rank == 1
    assert read.prediction["load"] == RealPrediction(3.1, 0.5, {0.05: 2.3, 0.5: 3.1, 0.95: 4.0})
    assert read.prediction.category("state") == CategoryPrediction("idle", {"idle": 0.9, "busy": 0.1})
    assert read.prediction.real("load").mean == 3.1
    assert set(read.prediction.fields) == {"load", "state"}
    with pytest.raises(TypeError):
        read.prediction.real("state")


def test_prediction_of_what_was_never_seen_is_read() -> None:
    """A real field's ``null`` is no prediction, a category without values has no most likely one."""
    fields = {"load": None, "state": {"top": None, "probabilities": {}}}
    read = wire.reply({**REPLY, "prediction": {"sequence": 2, "weights_version": None, "fields": fields}})
    assert read.prediction.fields == {"state": CategoryPrediction(None, {})}


def test_first_reply_has_no_score() -> None:
    """``null`` is ``None``."""
    assert wire.reply({**REPLY, "score": None}).score is None


def test_summary_of_an_older_server_is_read() -> None:
    """Stream and sequence are enough."""
    summary = wire.summary({"stream": "s", "sequence": 3})
    assert (summary.sequence, summary.rmse, summary.fields, summary.created_at) == (3, None, {}, None)


def test_times_are_read_with_their_zone() -> None:
    """``Z`` is UTC on every Python."""
    summary = wire.summary({"stream": "s", "sequence": 3, "created_at": "2026-01-01T10:00:00.500000Z"})
    assert summary.created_at == datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=timezone.utc)


def test_fields_are_written_in_the_contracts_form() -> None:
    """Kinds have a short form each, and the long one passes through."""
    fields = {"a": "real", "b": ["x", "y"], "c": {"capacity": 100}, "d": {"kind": "real"}}
    assert wire.fields_to_wire(fields) == [
        {"name": "a", "kind": "real"},
        {"name": "b", "kind": "category", "values": ["x", "y"]},
        {"name": "c", "kind": "category", "capacity": 100},
        {"name": "d", "kind": "real"},
    ]
    with pytest.raises(ValueError, match="capacity"):
        wire.fields_to_wire({"a": "category"})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    """NaN is never taken for a missing value."""
    with pytest.raises(ValueError, match="None stands for a missing value"):
        wire.item_to_wire({"a": number})


def test_values_of_other_types_are_refused() -> None:
    """What JSON has no word for does not leave."""
    with pytest.raises(TypeError, match="'a' takes a number"):
        wire.item_to_wire({"a": object()})


def test_times_without_zone_are_refused() -> None:
    """A time with zone is written as ISO 8601, a text passes through."""
    zone = timezone(timedelta(hours=2))
    assert wire.timestamp_to_wire(datetime(2026, 1, 1, tzinfo=zone)) == "2026-01-01T00:00:00+02:00"
    assert wire.timestamp_to_wire("2026-01-01") == "2026-01-01"
    with pytest.raises(ValueError, match="no time zone"):
        wire.timestamp_to_wire(datetime(2026, 1, 1))


def test_paths_are_percent_encoded() -> None:
    """Any printable text can name a stream."""
    assert wire.path("models", "m", "streams", "ä b%?#") == "/v1/models/m/streams/%C3%A4%20b%25%3F%23"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb"])
def test_texts_that_cannot_be_a_name_are_refused(name: str) -> None:
    """Nothing that would lead to another path is sent."""
    with pytest.raises(ValueError, match="cannot name"):
        wire.path("models", name)


def test_error_carries_all_that_was_sent() -> None:
    """Code, message, status, request id, the time to wait, and the rest as data."""
    error = failure(
        Answer(409, {"retry-after": "3"}, refusal("sequence_gap", 409, expected=5, received=9, stream="s").content)
    )
    assert isinstance(error, SequenceGap)
    assert (error.message, error.status, error.request_id, error.retry_after_s) == ("it is sequence_gap", 409, "r1", 3)
    assert (error.expected, error.received, error.data["stream"]) == (5, 9, "s")


def test_an_item_says_when_to_come_back() -> None:
    """One item of many has no header of its own: its error object says after how many seconds it may be sent again."""
    error = wire.item_error({"code": "overloaded", "message": "full", "request_id": "r", "retry_after_s": 4})
    assert (error.retry_after_s, error.data) == (4.0, {})


@pytest.mark.parametrize(
    ("code", "status", "expected"), [("brand_new", 400, StepaheadError), ("brand_new", 503, Unavailable)]
)
def test_unknown_code_becomes_the_class_of_its_status(code: str, status: int, expected: type[StepaheadError]) -> None:
    """The code of a newer server is kept."""
    error = failure(refusal(code, status))
    assert type(error) is expected
    assert error.code == code


def test_page_of_a_proxy_is_an_error_of_its_status() -> None:
    """What is no JSON still says what happened."""
    error = failure(Answer(502, {}, b"<html>Bad gateway</html>"))
    assert type(error) is Unavailable
    assert error.status == 502


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b""])
def test_success_that_is_not_the_contracts_is_named(core: Core, content: bytes) -> None:
    """Some other server answered."""
    with pytest.raises(BadAnswer):
        Driven([Answer(200, {}, content)])(core.models())


def test_delay_doubles_up_to_its_cap() -> None:
    """Jitter takes at most half of it away."""
    policy = RetryPolicy(retries=5, base_s=1.0, cap_s=3.0)
    assert [policy.delay_s(i, NoAnswer("lost"), 0.0) for i in range(3)] == [0.5, 1.0, 1.5]
    assert [policy.delay_s(i, NoAnswer("lost"), 1.0) for i in range(3)] == [1.0, 2.0, 3.0]


def test_delay_is_at_least_what_the_server_asks_for() -> None:
    """Jitter only adds to it; a wait beyond all patience is none."""
    assert POLICY.delay_s(0, Overloaded("full", retry_after_s=7), 0.0) == 7
    assert POLICY.delay_s(0, Overloaded("full", retry_after_s=7), 0.99) >= 7
    assert POLICY.delay_s(0, Overloaded("full", retry_after_s=61), 0.0) is None


def test_only_what_may_work_later_is_sent_again() -> None:
    """A refusal is final, and so is the last attempt."""
    assert POLICY.delay_s(0, InvalidItem("bad"), 0.0) is None
    assert POLICY.delay_s(2, NoAnswer("lost"), 0.0) is None
    assert POLICY.delay_s(1, StoreUnavailable("down"), 0.0) is not None


def test_last_failure_is_raised(core: Core) -> None:
    """Once all retries are used, the error of the last attempt stands for all."""
    driven = Driven([NoAnswer("lost"), refusal("overloaded", 429), refusal("store_unavailable", 503)])
    with pytest.raises(StoreUnavailable):
        driven(core.models())
    assert len(driven.pauses_s) == 2


def test_deletion_whose_answer_was_lost_is_done(core: Core) -> None:
    """Not found is a success the second time, an error the first."""
    Driven([NoAnswer("lost"), refusal("unknown_model", 404)])(core.delete_model("m"))
    with pytest.raises(UnknownModel):
        Driven([refusal("unknown_model", 404)])(core.delete_model("m"))


def test_numbering_begins_where_the_server_stands(core: Core) -> None:
    """The server is asked once; after that the replies tell."""
    first, second = Driven([answer({"stream": "s", "sequence": 16}), answer(reply(17))]), Driven([answer(reply(18))])
    first(core.observe("m", "s", {"load": 1}, None, None))
    second(core.observe("m", "s", {"load": 2}, None, None))
    assert [first.sent(1)["sequence"], second.sent(0)["sequence"]] == [17, 18]


def test_new_stream_begins_at_one(core: Core) -> None:
    """An unknown stream is one without items."""
    driven = Driven([refusal("unknown_stream", 404), answer(reply(1))])
    driven(core.observe("m", "s", {"load": 1}, None, None))
    assert driven.sent(1)["sequence"] == 1


def test_resend_is_the_same_request(core: Core) -> None:
    """After a lost answer the same bytes leave again, and the duplicate's reply is returned."""
    driven = Driven([refusal("unknown_stream", 404), NoAnswer("lost"), answer(reply(1, duplicate=True))])
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).duplicate
    assert driven.requests[1] == driven.requests[2]


def test_server_is_asked_again_after_a_failure(core: Core) -> None:
    """Whether the lost item was applied is not guessed; the error tells what to send again."""
    driven = Driven([refusal("unknown_stream", 404), *[NoAnswer("lost")] * 3])
    with pytest.raises(NoAnswer) as caught:
        driven(core.observe("m", "s", {"load": 1}, None, None))
    assert caught.value.data == {"stream": "s", "sequence": 1}
    driven = Driven([answer({"stream": "s", "sequence": 1}), answer(reply(2))])
    driven(core.observe("m", "s", {"load": 2}, None, None))
    assert driven.sent(1)["sequence"] == 2


def test_server_is_asked_again_after_a_cancelled_call(core: Core) -> None:
    """An item that was on its way when the caller left may have been applied."""
    core.remember("m", wire.reply(reply(16)))
    program = core.observe("m", "s", {"load": 1}, None, None)
    next(program)
    program.close()
    driven = Driven([answer({"stream": "s", "sequence": 17}), answer(reply(18))])
    assert driven(core.observe("m", "s", {"load": 2}, None, None)).sequence == 18


def test_forgotten_stream_begins_anew(core: Core) -> None:
    """An item for a stream that expired meanwhile becomes its first."""
    core.remember("m", wire.reply(reply(16)))
    driven = Driven([answer(gap(1, 17), 409), answer(reply(1))])
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).sequence == 1
    assert driven.sent(1)["sequence"] == 1


def test_lost_items_are_not_papered_over(core: Core) -> None:
    """A server that lost some of a stream's items is an error, once."""
    core.remember("m", wire.reply(reply(16)))
    with pytest.raises(SequenceGap):
        Driven([answer(gap(12, 17), 409)])(core.observe("m", "s", {"load": 1}, None, None))
    driven = Driven([answer({"stream": "s", "sequence": 11}), answer(reply(12))])
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).sequence == 12


def test_own_sequence_is_sent_as_it_is(core: Core) -> None:
    """Nothing is asked, and a gap is the caller's."""
    with pytest.raises(SequenceGap):
        Driven([answer(gap(1, 17), 409)])(core.observe("m", "s", {"load": 1}, None, 17))


def test_number_that_another_writer_took_is_not_the_items(core: Core) -> None:
    """The item is sent again under the next one; the second time the server is asked."""
    driven = Driven(
        [
            refusal("unknown_stream", 404),
            answer(reply(1, duplicate=True)),
            answer(reply(2, duplicate=True)),
            answer({"stream": "s", "sequence": 8}),
            answer(reply(9)),
        ]
    )
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).sequence == 9
    assert [driven.sent(i)["sequence"] for i in (1, 2, 4)] == [1, 2, 9]


def test_number_that_was_taken_long_ago_is_not_the_items(core: Core) -> None:
    """Its reply is no longer kept, which is the same."""
    core.remember("m", wire.reply(reply(16)))
    stale = refusal("sequence_stale", 409, expected=100, received=17)
    driven = Driven([stale, stale, answer({"stream": "s", "sequence": 99}), answer(reply(100))])
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).sequence == 100


def test_request_that_never_left_leaves_no_doubt(core: Core) -> None:
    """A refusal for lack of room does neither: a duplicate after it is somebody else's."""
    unsent = NoAnswer("refused")
    unsent.outcome_unknown = False
    driven = Driven(
        [
            refusal("unknown_stream", 404),
            unsent,
            refusal("overloaded", 429),
            answer(reply(1, duplicate=True)),
            answer(reply(2)),
        ]
    )
    assert driven(core.observe("m", "s", {"load": 1}, None, None)).sequence == 2


def test_numbers_are_not_tried_for_ever(core: Core) -> None:
    """Whoever always loses is told, and that nothing was applied."""
    core.next_sequence = lambda *_: iter_value(1)  # type: ignore[method-assign]
    with pytest.raises(SequenceTaken) as caught:
        Driven([answer(reply(1, duplicate=True))] * MAX_TRIES)(core.observe("m", "s", {"load": 1}, None, None))
    assert (caught.value.received, caught.value.data["stream"]) == (1, "s")


def iter_value(value: int) -> Program[int]:
    """A program that needs nothing."""
    yield from ()
    return value


def test_own_sequence_may_be_a_duplicate(core: Core) -> None:
    """Whoever numbers items himself resends them so."""
    assert Driven([answer(reply(1, duplicate=True))])(core.observe("m", "s", {"load": 1}, None, 1)).duplicate


def test_memory_is_bounded() -> None:
    """The entry that was written longest ago gives way."""
    recent: Recent[str, int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        recent.put(key, value)
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (3, None, 4, 2)


def test_locks_live_while_they_are_held() -> None:
    """Two callers get the same lock; nobody leaves one behind."""
    locks = Locks(Turn)
    held = locks.of("m", ["b", "a"])
    assert locks.of("m", ["a", "b"]) == held
    del held
    assert not locks._locks
