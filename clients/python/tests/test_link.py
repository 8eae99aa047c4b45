"""What both kinds of connection say and understand, without a socket."""

from __future__ import annotations

import json
from typing import Any

import h11
import httpx
import pytest
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from stepahead import BodyTooLarge, Draining, NoAnswer, Overloaded, StepaheadError, Unauthorized, UnknownModel
from stepahead._link import Link, NdjsonLink, NoSuchWay, Target, WebSocketLink

TARGET = Target(
    httpx.URL("https://example.org/behind/"), "/v1/models/m/socket", "experts=true", {"Authorization": "Bearer k"}
)
RESOURCE = "/behind/v1/models/m/socket?experts=true"
REFUSAL = json.dumps({"error": {"code": "unknown_model", "message": "no such model", "request_id": "r"}}).encode()
PAGE = b"<html>Not here</html>"


def bytewise(link: Link, data: bytes) -> None:
    """Bytes arrive one by one."""
    for i in range(len(data)):
        link.receive(data[i : i + 1])


def refusal(status: int, content: bytes, **headers: str) -> bytes:
    """An HTTP answer that is no connection."""
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(content)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


def open_socket() -> tuple[WebSocketLink, ServerProtocol]:
    """A WebSocket after its handshake, and the server's side."""
    link, server = WebSocketLink(TARGET), ServerProtocol()
    server.receive_data(link.to_send())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == RESOURCE
    assert request.headers["Authorization"] == "Bearer k"
    assert request.headers["Host"] == "example.org"
    server.send_response(server.accept(request))
    bytewise(link, b"".join(server.data_to_send()))
    assert link.is_open
    return link, server


def open_lines() -> tuple[NdjsonLink, h11.Connection]:
    """An NDJSON exchange after its head, and the server's side."""
    link, server = NdjsonLink(TARGET), h11.Connection(h11.SERVER)
    server.receive_data(link.to_send())
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert request.target == RESOURCE.encode()
    assert dict(request.headers)[b"authorization"] == b"Bearer k"
    bytewise(link, server.send(h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")])) or b"")
    assert link.is_open
    return link, server


def test_messages_are_answers() -> None:
    """Whole or in parts, with pings between, which are answered."""
    link, server = open_socket()
    link.send(b'{"streams":[]}')
    server.receive_data(link.to_send())
    assert [bytes(f.data) for f in server.events_received() if isinstance(f, Frame)] == [b'{"streams":[]}']
    server.send_text(b'{"a"', fin=False)
    server.send_ping(b"life")
    server.send_continuation(b":1}", fin=True)
    server.send_text(b"{}")
    bytewise(link, b"".join(server.data_to_send()))
    assert list(link.answers()) == [b'{"a":1}', b"{}"]
    server.receive_data(link.to_send())
    (pong,) = server.events_received()
    assert isinstance(pong, Frame)
    assert pong.data == b"life"
    link.finish()
    server.receive_data(link.to_send())
    assert server.close_rcvd is not None
    assert server.close_rcvd.code == CloseCode.NORMAL_CLOSURE


@pytest.mark.parametrize(
    ("code", "reason", "kind", "is_retried"),
    [
        (1000, "", NoAnswer, True),
        (1009, "body_too_large", BodyTooLarge, False),
        (1011, "internal", NoAnswer, True),
        (1012, "draining: come back", Draining, True),
        (1013, "overloaded", Overloaded, True),
        (4401, "unauthorized", Unauthorized, False),
        (4404, "unknown_model: deleted", UnknownModel, False),
        (4408, "slow_reader", NoAnswer, True),
    ],
)
def test_close_codes_are_errors(code: int, reason: str, kind: type[StepaheadError], is_retried: bool) -> None:
    """A connection that may be opened again is, and what may have been done is in doubt."""
    link, server = open_socket()
    server.send_text(b"{}")
    server.send_close(code, reason)
    link.receive(b"".join(server.data_to_send()))
    assert list(link.answers()) == [b"{}"]
    assert type(link.end) is kind
    assert link.end.retried == is_retried
    assert link.end.outcome_unknown


@pytest.mark.parametrize("make", [WebSocketLink, NdjsonLink])
def test_refused_handshakes_are_errors(make: Any) -> None:
    """The service's are named and say when to come back; a page of something else is no such way."""
    link = make(TARGET)
    link.receive(refusal(404, REFUSAL))
    assert type(link.end) is UnknownModel
    link = make(TARGET)
    link.receive(refusal(429, REFUSAL.replace(b"unknown_model", b"overloaded"), **{"Retry-After": "7"}))
    assert type(link.end) is Overloaded
    assert link.end.retry_after_s == 7
    for status in (404, 405, 426, 501):
        with pytest.raises(NoSuchWay):
            make(TARGET).receive(refusal(status, PAGE))
    with pytest.raises(NoSuchWay):  # the service, behind a proxy that leaves the wish for a WebSocket out
        make(TARGET).receive(refusal(404, REFUSAL.replace(b"unknown_model", b"not_found")))
    link = make(TARGET)
    link.receive(refusal(502, PAGE))
    assert link.end.retried
    link = make(TARGET)
    link.receive(b"")
    assert type(link.end) is NoAnswer


def test_abrupt_end_is_no_answer() -> None:
    """Of a WebSocket as of a body, after what had arrived."""
    for link, data in ((open_socket()[0], b""), (open_lines()[0], b"")):
        link.receive(data)
        assert type(link.end) is NoAnswer
        assert link.end.outcome_unknown


def test_lines_are_answers() -> None:
    """However they are split; blank ones are a sign of life; the body may still go on."""
    link, server = open_lines()
    link.send(b'{"streams":[]}')
    server.receive_data(link.to_send())
    line = server.next_event()
    assert isinstance(line, h11.Data)
    assert line.data == b'{"streams":[]}\n'
    bytewise(link, b"".join(server.send(h11.Data(data=d)) or b"" for d in (b"\n", b'{"a"', b":1}\n{}\n", b"\n{")))
    assert list(link.answers()) == [b'{"a":1}', b"{}"]
    link.finish()
    server.receive_data(link.to_send())
    assert isinstance(server.next_event(), h11.EndOfMessage)
    bytewise(link, (server.send(h11.Data(data=b"}")) or b"") + (server.send(h11.EndOfMessage()) or b""))
    assert list(link.answers()) == [b'{"a":1}', b"{}", b"{}"]
    assert link.end is not None


@pytest.mark.parametrize(
    ("code", "kind"), [("draining", Draining), ("body_too_large", BodyTooLarge), ("slow_reader", NoAnswer)]
)
def test_final_line_ends_the_exchange(code: str, kind: type[StepaheadError]) -> None:
    """It answers no frame; an answer that only mentions such a thing is one."""
    link, server = open_lines()
    last = {"error": {"code": code, "message": "m", "request_id": "r"}, "final": True}
    mention = b'{"results":[{"stream":"\\"final\\""}]}'
    data = mention + b"\n" + json.dumps(last).encode() + b"\n"
    bytewise(link, (server.send(h11.Data(data=data)) or b""))
    assert list(link.answers()) == [mention]
    assert type(link.end) is kind
    assert link.end.outcome_unknown


def test_answer_to_another_handshake_is_refused() -> None:
    """Something that does not prove that it understood."""
    link = WebSocketLink(TARGET)
    headers = Headers([("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "?")])
    link.receive(Response(101, "Switching Protocols", headers).serialize())
    assert not link.is_open
    assert type(link.end) is NoAnswer
