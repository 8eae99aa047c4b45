"""Calls without I/O: what is asked, what is forgotten, and how long is waited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepahead import BadAnswer, Draining, NoAnswer, NotFound, StreamExists
from stepahead import _wire as wire
from stepahead._core import Answer, Core, Pause, Program, Request, RetryPolicy
from stepahead._http import arguments

SUMMARY = {"stream": "s", "sequence": 16}
MODEL = {"name": "m", "spec": {}}
REPLY = wire.reply({**SUMMARY, "prediction": {"sequence": 17, "fields": {}}})


def ok(data: Any) -> Answer:
    """A good answer."""
    return Answer(200, {}, json.dumps(data).encode())


def refusal(code: str, status: int, **headers: str) -> Answer:
    """The contract's error."""
    return Answer(status, headers, json.dumps({"error": {"code": code, "message": "no", "request_id": "r"}}).encode())


def drive(program: Program[Any], *answers: Answer | NoAnswer) -> tuple[Any, list[Request]]:
    """Run a program to its end; what it returned, and what it sent."""
    left, sent = [*answers], []
    try:
        todo = next(program)
        while True:
            if isinstance(todo, Pause):
                todo = next(program)
            else:
                sent.append(todo)
                todo = program.send(left.pop(0))
    except StopIteration as end:
        assert not left
        return end.value, sent


@pytest.fixture
def core() -> Core:
    """A core that knows the next sequence of a stream."""
    core = Core(RetryPolicy(retries=2))
    core.remember("m", REPLY)
    return core


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda core: core.delete_stream("m", "s"), None),
        (lambda core: core.delete_model("m"), None),
        (lambda core: core.fork("m", "other", "s"), SUMMARY),
        (lambda core: core.restore_stream("m", "s", "1"), SUMMARY),
        (lambda core: core.import_stream("m", "s", b"archive"), SUMMARY),
        (lambda core: core.import_model("m", b"archive"), MODEL),
    ],
)
def test_what_changes_where_a_stream_stands_is_not_outlived(
    core: Core, change: Callable[[Core], Program[Any]], answer: Any, fails: bool
) -> None:
    """Its next sequence is forgotten, whatever came of the call; that of another model's is not."""
    core.remember("m2", REPLY)
    program = change(core)
    if fails:
        with pytest.raises(NoAnswer):
            drive(program, *[NoAnswer("lost")] * 3)
    else:
        drive(program, ok(answer))
    assert core._next.get(("m", "s")) is None
    assert core._next.get(("m2", "s")) == 17


def test_what_a_lost_attempt_created_is_told(core: Core) -> None:
    """The next attempt finds it; where none was lost, somebody else made it."""
    for lost in ([], [NoAnswer("lost")]):
        with pytest.raises(StreamExists) as caught:
            drive(core.fork("m", "s", "t"), *lost, refusal("stream_exists", 409))
        assert caught.value.outcome_unknown is bool(lost)


def test_names_are_checked_before_anything_is_sent(core: Core) -> None:
    """Also those that are not part of a path, or of one below a stream."""
    with pytest.raises(ValueError, match="cannot name"):
        core.fork("m", "s", "a/b")
    with pytest.raises(ValueError, match="cannot name"):
        core.restore_stream("m", "s", "..")


def test_sequences_of_many_streams_take_several_requests(core: Core) -> None:
    """Each stream is asked for once."""
    streams = [f"s{i}" for i in range(1500)]
    parts = [streams[:1000], streams[1000:]]
    found, sent = drive(
        core.sequences("m", [*streams, *streams]), *(ok({"sequences": dict.fromkeys(part, 3)}) for part in parts)
    )
    assert found == dict.fromkeys(streams, 3)
    assert [json.loads(request.content)["streams"] for request in sent if isinstance(request.content, bytes)] == parts
    with pytest.raises(ValueError, match="one name"):
        drive(core.sequences("m", "s"))


def test_history_of_the_usual_length_is_left_to_the_service(core: Core) -> None:
    """One that keeps fewer would refuse the number."""
    for limit, params in ((20, {}), (5, {"limit": 5})):
        assert drive(core.history("m", "s", limit), ok({"items": []}))[1][0].params == params


def test_service_that_starts_is_waited_for(core: Core) -> None:
    """However often it says that it is not ready; what waiting does not change is raised at once."""
    starting = [NoAnswer("refused"), *[refusal("store_unavailable", 503)] * 20]
    assert drive(core.wait_until_ready(3600.0), *starting, ok({"status": "ready"}))[0] is None
    with pytest.raises(NotFound):
        drive(core.wait_until_ready(3600.0), refusal("not_found", 404))
    with pytest.raises(Draining):
        drive(core.wait_until_ready(0.0), refusal("draining", 503))


def test_silence_is_longer_where_it_has_to_be(tmp_path: Path) -> None:
    """An archive is made before its first byte; the question whether the service is ready is cut short."""

    def of(request: Request, timeout: float | None = 30.0) -> Any:
        return arguments(request, httpx.Timeout(timeout))["timeout"]

    assert of(Request("GET", "/")) == httpx.Timeout(30.0)
    assert of(Request("GET", "/", least_read_s=600.0)) == httpx.Timeout(30.0, read=600.0)
    assert of(Request("GET", "/", least_read_s=600.0), None) == httpx.Timeout(None)
    assert of(Request("GET", "/", most_s=2.0), None) == httpx.Timeout(2.0)
    (tmp_path / "archive").write_bytes(b"12345")
    headers = arguments(Request("PUT", "/", tmp_path / "archive", media_type="x/y"), httpx.Timeout(1))["headers"]
    assert headers == {"Content-Type": "x/y", "Content-Length": "5"}


def test_export_that_is_no_json_is_not_read_as_such(core: Core) -> None:
    """Its bytes come as they are."""
    assert drive(core.export("/v1/models/m", None), Answer(200, {}, b"\x00archive"))[0] == b"\x00archive"
    with pytest.raises(BadAnswer):
        drive(core.snapshots("/v1/models/m"), Answer(200, {}, b"\x00archive"))
