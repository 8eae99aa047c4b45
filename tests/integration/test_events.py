"""Events over real sockets: readers that come back, fall asleep or go, and the end of the service."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.integration.conversing import WIDE, wide_item
from tests.integration.test_connections import all_of
from tests.integration.test_process import SPEC, WAIT_S, Service, until
from tests.sent_events import Sent, dispatched

EVENTS = "/v1/models/{}/events"


@pytest.fixture
def service(lively: Service) -> Iterator[Service]:
    """A service that soon shows life, and soon cuts off who takes nothing; nobody follows anything."""
    yield lively
    until(lambda: readers(lively) == 0)


def create(service: Service, model: str, spec: dict[str, Any] = SPEC) -> str:
    """Make a model; its name."""
    assert service.client.put(f"/v1/models/{model}", json=spec).status_code == 201
    return model


def observe(service: Service, model: str, *rows: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Send items of streams; their replies."""
    body = {"observations": [{"stream": stream, "item": item} for stream, item in rows]}
    results: list[dict[str, Any]] = service.client.post(f"/v1/models/{model}/observations", json=body).json()["results"]
    assert all("error" not in result for result in results)
    return results


def follow(client: httpx.Client, model: str, **request: Any) -> AbstractContextManager[httpx.Response]:
    """The events of a model, once they have begun."""
    return client.stream("GET", EVENTS.format(model), **request)


def sleeping(service: Service, model: str) -> socket.socket:
    """A reader that reads no more than the head."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(WAIT_S)
    connection.connect((service.client.base_url.host, service.client.base_url.port))
    connection.sendall(f"GET {EVENTS.format(model)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
    return connection


def flood(service: Service, model: str) -> None:
    """Send items whose replies are more than the sockets on both sides hold, a part of them at a time."""
    for _ in range(5):
        observe(service, model, *((f"s{n}", wide_item("")["item"]) for n in range(40)))


def readers(service: Service) -> int:
    """How many follow events now."""
    found = re.search(r"^stepahead_event_readers (\S+)$", service.client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def places(events: list[Sent]) -> list[tuple[str, int]]:
    """Stream and sequence of messages."""
    return [(event.data["stream"], event.data["sequence"]) for event in events if event.kind == "message"]


def test_readers_follow_and_come_back(service: Service) -> None:
    """Each gets what it asked for, in order, and where it was cut off it goes on."""
    model = create(service, "follow")
    rows = [(stream, {"load": float(n)}) for n in range(3) for stream in ("a", "späße")]
    everything = [(stream, n) for n in (1, 2, 3) for stream in ("a", "späße")]
    with (
        follow(service.client, model) as all_streams,
        follow(service.client, model, params={"stream": ["a", "none"]}) as one,
    ):
        assert all_streams.headers["content-type"].startswith("text/event-stream")
        assert all_streams.headers["cache-control"] == "no-store, no-transform"
        assert all_streams.headers["x-accel-buffering"] == "no"
        replies = observe(service, model, *rows)
        found = list(islice(dispatched(all_streams.iter_lines()), 6))
        assert sorted(places(found)) == sorted(everything)
        assert places(list(islice(dispatched(one.iter_lines()), 3))) == [("a", 1), ("a", 2), ("a", 3)]
    by_place = {(reply["stream"], reply["sequence"]): reply for reply in replies}
    for event in found:
        item = {"load": event.data["sequence"] - 1.0}
        assert event.data == {**by_place[places([event])[0]], "item": item, "timestamp": None}
    observe(service, model, *rows[:2])
    for resumed in ({"headers": {"Last-Event-ID": found[3].last_id}}, {"params": {"after": found[3].last_id}}):
        with follow(service.client, model, **resumed) as response:
            later = list(islice(dispatched(response.iter_lines()), 4))
        assert places(later)[:2] == places(found[4:])
        assert sorted(places(later)[2:]) == [("a", 4), ("späße", 4)]


def test_what_cannot_be_followed(service: Service) -> None:
    """No such model, or names that are no stream's, are refused before anything begins."""
    answer = service.client.get(EVENTS.format("none"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_model")
    model = create(service, "refused")
    for params in ({"stream": "a/b"}, {"stream": ""}, {"stream": ["a"] * 101}):
        answer = service.client.get(EVENTS.format(model), params=params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_silence_is_broken_and_deletion_is_told(service: Service) -> None:
    """A comment comes where nothing is learned, and ``end`` once the model is gone."""
    model = create(service, "silent")
    with follow(service.client, model) as response:
        lines = response.iter_lines()
        assert next(lines) == "retry: 1000"
        assert ": heartbeat" in lines
        assert service.client.delete(f"/v1/models/{model}").status_code == 204
        (end,) = dispatched(lines)
    assert (end.kind, end.data["error"]["code"]) == ("end", "unknown_model")
    assert end.data["error"]["request_id"] == response.headers["x-request-id"]


def test_who_takes_nothing_is_cut_off(service: Service) -> None:
    """While others, and who learns, go on as if it were not there."""
    model = create(service, "flood", WIDE)
    with sleeping(service, model) as asleep:
        assert readers(service) == 1
        flood(service, model)
        until(lambda: readers(service) == 0)
        assert all_of(asleep).endswith(b": cut off\n\n\r\n0\r\n\r\n")


def test_who_goes_leaves_nothing_behind(service: Service) -> None:
    """A reader whose connection is gone is none."""
    model = create(service, "left")
    gone = [sleeping(service, model) for _ in range(10)]
    assert readers(service) == 10
    for connection in gone:
        connection.close()
    until(lambda: readers(service) == 0)
