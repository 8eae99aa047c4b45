"""How events are followed over connections that come and go, driven by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from stepahead import BadAnswer, Draining, Event, Missed, NoAnswer, UnknownModel
from stepahead._events import AWAY_S, Open, Opened, Read, follow
from stepahead._program import Answer, Caller, Pause, Request, RetryPolicy

HEAD = Answer(200, {"content-type": "text/event-stream; charset=utf-8"}, b"")
BEGIN = b"retry: 1000\n\n"
PREDICTION = {"sequence": 2, "weights_version": 1, "fields": {}}
LOST = NoAnswer("lost")


def event(event_id: str, sequence: int) -> bytes:
    """An event of the service."""
    data = {"stream": "s", "sequence": sequence, "duplicate": False, "score": None, "prediction": PREDICTION}
    return f"id: {event_id}\ndata: {json.dumps({**data, 'item': {'x': 1.0}, 'timestamp': None})}\n\n".encode()


def end(code: str, **data: Any) -> bytes:
    """The last event of the service."""
    error = {"code": code, "message": f"it is {code}", "request_id": "r", **data}
    return f"event: end\ndata: {json.dumps({'error': error})}\n\n".encode()


def refusal(code: str, status: int, **headers: str) -> Answer:
    """Another answer than events."""
    return Answer(status, headers, json.dumps({"error": {"code": code, "message": "no", "request_id": "r"}}).encode())


class Followed:
    """Drives a follower with what was written beforehand, and keeps what it did."""

    def __init__(
        self, outcomes: Iterable[Answer | NoAnswer | bytes], retries: int = 2, after: str | None = None
    ) -> None:
        self._outcomes = list(outcomes)[::-1]
        caller = Caller(RetryPolicy(retries, base_s=0.1, cap_s=0.1))
        self._program = follow(caller, "m", ["a b", "c"], after)
        self.requests: list[Request] = []
        self.pauses_s: list[float] = []
        self.given: list[Event | Missed] = []

    def run(self) -> None:
        """Until it raises, or all outcomes are used."""
        todo = next(self._program)
        while not isinstance(todo, (Open, Read)) or self._outcomes:
            if isinstance(todo, (Open, Read)):
                if isinstance(todo, Open):
                    self.requests.append(todo.request)
                todo = self._program.send(self._outcomes.pop())
                continue
            if isinstance(todo, Pause):
                self.pauses_s.append(todo.seconds)
            elif not isinstance(todo, Opened):
                self.given.append(todo)
            todo = next(self._program)

    @property
    def resumed_by(self) -> list[str | None]:
        """``Last-Event-ID`` of each connection."""
        return [request.headers.get("Last-Event-ID") for request in self.requests]


def test_lost_connection_goes_on_after_the_last_event() -> None:
    """It is sought again after the time that the service asks for, however often it was lost before."""
    connections = [[HEAD, BEGIN + event(f"b-{i}", i), LOST] for i in range(1, 5)]
    followed = Followed([*(o for c in connections for o in c), HEAD, b": heartbeat\n\n"])
    followed.run()
    assert [e.sequence for e in followed.given if isinstance(e, Event)] == [1, 2, 3, 4]
    assert [e.id for e in followed.given if isinstance(e, Event)] == ["b-1", "b-2", "b-3", "b-4"]
    assert followed.resumed_by == [None, "b-1", "b-2", "b-3", "b-4"]
    assert all(pause_s >= 1 for pause_s in followed.pauses_s)
    assert followed.requests[0].params == {"stream": ["a b", "c"]}


def test_half_an_event_is_not_given_and_not_passed_over() -> None:
    """The service sends it again."""
    followed = Followed([HEAD, event("b-1", 1) + event("b-2", 2)[:-9], b"", HEAD, event("b-2", 2)])
    followed.run()
    assert [e.sequence for e in followed.given if isinstance(e, Event)] == [1, 2]
    assert followed.resumed_by == [None, "b-1"]


def test_missed_events_are_told() -> None:
    """By the service; and by the client, where it had nothing to go on from."""
    followed = Followed(
        [HEAD, BEGIN, LOST, HEAD, b'event: missed\ndata: {"missed": 12}\n\nevent: missed\ndata: {"missed": null}\n\n']
    )
    followed.run()
    assert followed.given == [Missed(None), Missed(12), Missed(None)]


def test_reader_may_go_on_from_an_id_of_before() -> None:
    """Nothing is taken for missed by the client then."""
    followed = Followed([HEAD, BEGIN, LOST, HEAD, BEGIN], after="b-7")
    followed.run()
    assert followed.resumed_by == ["b-7", "b-7"]
    assert followed.given == []


def test_reader_is_open_once_it_can_go_on() -> None:
    """What the service sends first has the id of the event before the next: it is no event, but it is kept."""
    followed = Followed([HEAD, LOST, HEAD, BEGIN + b"id: b-7\n\n", LOST, HEAD, event("b-8", 1)])
    followed.run()
    assert followed.resumed_by == [None, None, "b-7"]
    assert [type(given) for given in followed.given] == [Event]


def test_model_that_is_gone_ends_it() -> None:
    """What came before the end is given first."""
    followed = Followed([HEAD, event("b-1", 1) + end("unknown_model")])
    with pytest.raises(UnknownModel, match="it is unknown_model"):
        followed.run()
    assert len(followed.given) == 1


def test_service_that_restarts_is_waited_for() -> None:
    """As long as it asks for, going on where it was."""
    away = refusal("draining", 503, **{"retry-after": "3"})
    followed = Followed([HEAD, event("b-1", 1) + end("draining", retry_after_s=2), away, HEAD, event("c-1", 2)])
    followed.run()
    assert [2 <= followed.pauses_s[0] < 3, 3 <= followed.pauses_s[1] < 4] == [True, True]
    assert followed.resumed_by == [None, "b-1", "b-1"]


def test_service_that_stays_away_is_told() -> None:
    """After so many attempts if it never was there, after a minute if it was."""
    with pytest.raises(Draining):
        Followed([refusal("draining", 503)] * 3).run()
    followed = Followed([HEAD, BEGIN + end("draining"), *[NoAnswer("refused")] * 100])
    with pytest.raises(NoAnswer):
        followed.run()
    assert AWAY_S <= sum(followed.pauses_s) < AWAY_S + 2


@pytest.mark.parametrize("retries", [0, 2])
def test_nobody_there_is_told_in_the_end(retries: int) -> None:
    """Without retries a lost connection ends the events too."""
    with pytest.raises(NoAnswer):
        Followed([NoAnswer("refused")] * (retries + 1), retries).run()
    if not retries:
        with pytest.raises(NoAnswer):
            Followed([HEAD, event("b-1", 1), b""], retries).run()


def test_refusal_ends_it_at_once() -> None:
    """Waiting would not change it."""
    with pytest.raises(UnknownModel):
        Followed([refusal("unknown_model", 404)]).run()


@pytest.mark.parametrize(
    "outcomes", [[Answer(200, {"content-type": "text/html"}, b"")], [HEAD, b"data: {}\n\n"], [HEAD, b"data: <\n\n"]]
)
def test_other_servers_are_named(outcomes: list[Any]) -> None:
    """What comes is not in the contract's form."""
    with pytest.raises(BadAnswer):
        Followed(outcomes).run()
