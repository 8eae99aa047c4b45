"""Conversations with a running service, over NDJSON and over WebSockets: order, refusals, errors, ends."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import websockets.exceptions

from tests.integration.conversing import (
    BOTH,
    MAX_ITEMS,
    MAX_LINE_BYTES,
    PATH,
    SOCKET,
    WINDOW,
    Ended,
    Lines,
    Socket,
    item,
    metric,
    talking,
)
from tests.integration.test_process import SPEC, WAIT_S, Service, serving, until

KEY = "key-1_~?>"  # in base64url it has both of its own characters
NDJSON = {"Content-Type": "application/x-ndjson"}
N_NAMES = count(1)


@pytest.fixture
def service(bounded: Service) -> Service:
    """A service with little room, and a model ``m``."""
    return bounded


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for a key, allows pages of one other site, and takes two connections."""
    flags = ("--api-keys", KEY, "--allowed-origins", "https://pages.example", "--max-connections", "2")
    with serving(tmp_path_factory.mktemp("closed"), *flags) as service:
        service.client.headers["Authorization"] = f"Bearer {KEY}"
        service.client.put("/v1/models/m", json=SPEC)
        yield service


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """Either transport."""
    return str(request.param)


@pytest.fixture
def names() -> list[str]:
    """Seven streams that no other test has."""
    first = next(N_NAMES)
    return [f"{first}-{i}" for i in range(7)]


def code(answer: Any) -> str:
    """The code of an error."""
    return str(answer["error"]["code"])


def test_frames_are_answered_in_their_order(service: Service, kind: str, names: list[str]) -> None:
    """Single, many, bad and asking ones, all sent before the first answer is read; a question sees what was before."""
    frames: list[Any] = []
    for n in range(1, 31):
        single = item(names[n % 3], n, None)
        many = {"observations": [item(s, n, n) for s in names[3:]] + [{"stream": "x/y", "item": {}}]}
        frames += [single, many, "{", {"streams": [names[3], names[n % 3], "none"]}]
    with talking(kind, service) as talk:
        talk.send(*frames)
        for n in range(1, 31):
            reply = talk.answer()
            assert (reply["stream"], reply["sequence"]) == (names[n % 3], (n + 2) // 3 if n % 3 else n // 3)
            results = talk.answer()["results"]
            assert [r["sequence"] for r in results[:-1]] == [n] * 4
            assert code(results[-1]) == "invalid_item"
            assert code(talk.answer()) == "invalid_item"
            asked = talk.answer()
            assert asked["sequences"] == {names[3]: n, names[n % 3]: reply["sequence"], "none": 0}
        assert asked["window"] == {"items": WINDOW, "per_stream": 64}


def test_two_connections_share_a_stream(service: Service, names: list[str]) -> None:
    """Each gets its own answers in its own order, and together they are all of the stream's."""
    stream, n = names[0], 100
    with talking("ndjson", service) as one, talking("websocket", service) as other:
        for i in range(n):
            one.send(item(stream, i))
            other.send(item(stream, -i))
        found = [[talk.answer()["sequence"] for _ in range(n)] for talk in (one, other)]
    assert found[0] == sorted(found[0])
    assert found[1] == sorted(found[1])
    assert sorted(found[0] + found[1]) == list(range(1, 2 * n + 1))


def test_a_feed_has_one_connection(service: Service, kind: str, names: list[str]) -> None:
    """A second connection of a feed ends the first, and takes nothing before all that the first took is learned."""
    frames = [{"observations": [item(stream, 1.0) for stream in names]} for _ in range(300)]
    with talking(kind, service, "?feed=f-1") as first, talking(kind, service, "?feed=f-2"):
        first.send(*frames)
        first.answer()
        with talking(kind, service, "?feed=f-1") as second:
            second.send({"streams": names})
            reached = second.answer()["sequences"]
            second.send(*(item(stream, 2.0, reached[stream] + 1) for stream in names))
            assert not any(second.answer()["duplicate"] for _ in names)
            with pytest.raises(Ended, match="superseded"):
                list(iter(first.answer, None))
            second.send({"streams": names})
            assert second.answer()["sequences"] == {stream: n + 1 for stream, n in reached.items()}
    assert service.client.post(PATH + "?feed=a/b", content=b"", headers=NDJSON).status_code == 422


def test_an_answer_is_the_one_of_rest(service: Service, kind: str, names: list[str]) -> None:
    """A resend over REST has the same bytes but for its mark, with what the experts said and without."""
    with talking(kind, service, "?experts=true") as talk:
        talk.send(item(names[0], 1.5, 1), item(names[0], 2.5, 2))
        first, second = talk.answer(), talk.answer()
    path = f"/v1/models/m/streams/{names[0]}/observations?experts=true"
    assert second["prediction"]["fields"]["load"]["experts"]
    for sent, sequence in ((first, 1), (second, 2)):
        resent = service.client.post(path, json={"item": {"load": 0}, "sequence": sequence}).json()
        assert resent == {**sent, "duplicate": True}


def test_full_queues_are_waited_for(service: Service, kind: str, names: list[str]) -> None:
    """Frames of which one fills the queue are all taken: the connection holds the next one until there is room."""
    with talking(kind, service) as talk:
        for n in range(12):
            talk.send({"observations": [item(names[i % 7], n) for i in range(MAX_ITEMS)]})
        answers = [talk.answer()["results"] for _ in range(12)]
    assert all("sequence" in result for results in answers for result in results)


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b'{"stream": ', "invalid_item"),
    "no UTF-8": (b'{"stream": "\xff", "item": {}}', "invalid_item"),
    "NaN": (b'{"stream": "s", "item": {"load": NaN}}', "invalid_item"),
    "half a surrogate pair": (b'{"stream": "s", "item": {"load": "\\ud800"}}', "invalid_item"),
    "a list": ([], "invalid_item"),
    "nothing of an observation": ({}, "invalid_item"),
    "an unknown key": ({**item("s", 1), "colour": "red"}, "invalid_item"),
    "an unknown field": ({"stream": "s", "item": {"lod": 1}}, "invalid_item"),
    "a bad name": (item("a/b", 1), "invalid_item"),
    "a gap": (item("s", 1, 17), "sequence_gap"),
    "items that are no list": ({"observations": 7}, "invalid_item"),
    "too many items": ({"observations": [item("s", 1)] * (MAX_ITEMS + 1)}, "invalid_item"),
    "items and a question": ({"observations": [], "streams": []}, "invalid_request"),
    "a question of a bad name": ({"streams": ["a", "/"]}, "invalid_request"),
    "too many streams": ({"streams": ["a"] * (MAX_ITEMS + 1)}, "invalid_request"),
    "deep nesting": (b"[" * 50_000, "invalid_item"),
}


def test_a_bad_frame_costs_itself(service: Service, kind: str, names: list[str]) -> None:
    """It is answered by its error in its place, with REST's code and the connection's request id, and all goes on."""
    with talking(kind, service) as talk:
        for i, (frame, expected) in enumerate(BAD.values(), 1):
            talk.send(frame, item(names[0], 1.0, i))
            answer = talk.answer()
            assert code(answer) == expected, answer
            assert answer["error"]["message"]
            assert talk.answer()["sequence"] == i
        talk.send({"observations": []}, {"streams": []})
        assert talk.answer() == {"results": []}
        assert talk.answer()["sequences"] == {}
    if kind == "ndjson":
        assert answer["error"]["request_id"] == talk.response.headers["x-request-id"]


def test_lines_may_come_in_any_pieces(service: Service, names: list[str]) -> None:
    """Byte by byte, with blank lines and carriage returns between, and without a newline at the end."""
    content = b"\n \r\n" + json.dumps(item(names[0], 1)).encode() + b"\r\n\n" + json.dumps(item(names[0], 2)).encode()
    with talking("ndjson", service) as lines:
        for i in range(len(content)):
            lines.put(content[i : i + 1])
        lines.end()
        assert [lines.answer()["sequence"] for _ in range(2)] == [1, 2]
        with pytest.raises(Ended, match="normal"):
            lines.answer()


def test_a_body_may_be_long_and_a_connection_used_again(service: Service, names: list[str]) -> None:
    """A declared length over that of a request is taken, the answer ends, and the next request is answered."""
    lines = b"".join(json.dumps(item(names[i % 7], i)).encode() + b"\n" for i in range(400))
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n"
    url = service.client.base_url
    with socket.create_connection((url.host, url.port), WAIT_S) as connection:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(lines) + lines)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    answers, _, after = received.partition(b"\r\n0\r\n\r\n")
    assert answers.count(b'"sequence":') == 2 * 400
    assert after.startswith(b"HTTP/1.1 200 OK")
    elsewhere = service.client.post(
        "/v1/models/m/streams/s/observations", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    assert elsewhere.status_code == 413, "on other paths the type makes no difference"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on PATH")
def test_curl_converses(service: Service, names: list[str]) -> None:
    """Lines piped into curl are answered while its input stays open; it is told to go on."""
    command = ["curl", "-sSN", "-T", ".", "-X", "POST", "-H", "Content-Type: application/x-ndjson"]
    url = f"{str(service.client.base_url).rstrip('/')}{PATH}"
    with subprocess.Popen([*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as curl:
        assert curl.stdin is not None
        assert curl.stdout is not None
        for n in range(1, 4):
            curl.stdin.write(json.dumps(item(names[0], n)).encode() + b"\n")
            assert json.loads(curl.stdout.readline())["sequence"] == n
        curl.stdin.close()
        assert curl.stdout.read() == b""
    assert curl.returncode == 0


def test_a_client_that_waits_to_be_told_is_told(service: Service) -> None:
    """Who expects ``100 Continue`` gets it before the answer's head."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
    url = service.client.base_url
    with socket.create_connection((url.host, url.port), WAIT_S) as connection, connection.makefile("rb") as answer:
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert answer.readline() == b"\r\n"
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def test_too_large_a_frame_ends_it(service: Service, kind: str, names: list[str]) -> None:
    """It is ``body_too_large``: the last line, or close code 1009; over NDJSON what came before is answered."""
    large = {"stream": names[0], "item": {"load": "x" * MAX_LINE_BYTES}}
    with talking(kind, service) as talk:
        talk.send(item(names[0], 1))
        if kind == "websocket":
            assert talk.answer()["sequence"] == 1
        talk.send(large)
        if kind == "ndjson":
            assert talk.answer()["sequence"] == 1
        with pytest.raises(Ended) as ended:
            talk.answer()
    assert (ended.value.code, ended.value.close_code) == ("body_too_large", 0 if kind == "ndjson" else 1009)
    until(lambda: metric(service, f'stepahead_lasting_connections{{kind="{kind}"}}') == 0)


def test_a_model_may_go_and_come_back(service: Service, kind: str) -> None:
    """While it is gone frames are ``unknown_model``; of a new one of its name they are learned from the start."""
    client, model = service.client, f"/v1/models/gone-{kind}"
    client.put(model, json=SPEC)
    talk: Any = BOTH[kind](service, f"{model}/{'observations' if kind == 'ndjson' else 'socket'}")
    for _ in range(2):
        talk.send(item("s", 1), item("s", 2))
        assert [talk.answer()["sequence"] for _ in range(2)] == [1, 2]
        client.delete(model)
        talk.send(item("s", 3), {"streams": ["s"]})
        assert [code(talk.answer()) for _ in range(2)] == ["unknown_model"] * 2
        client.put(model, json=SPEC)
    talk.send({"streams": ["s"]})
    assert talk.answer()["sequences"] == {"s": 0}
    talk.vanish()


def test_who_vanishes_leaves_nothing_behind(service: Service, kind: str, names: list[str]) -> None:
    """With items in progress and half a frame sent; what was taken is learned, and nothing counts the connection."""
    talk: Any = BOTH[kind](service, PATH if kind == "ndjson" else SOCKET)
    talk.send(*(item(names[0], n) for n in range(40)))
    talk.answer()
    if kind == "ndjson":
        talk.put(b'{"stream": ')
    else:
        talk.socket.socket.sendall(b"\x81\xfe\x01\x00\x00\x00")
    talk.vanish()
    for gauge in ("lasting_connections", "unanswered_items"):
        until(lambda gauge=gauge: metric(service, f'stepahead_{gauge}{{kind="{kind}"}}') == 0)
    until(lambda: metric(service, 'stepahead_queue_items{model="m"}') == 0)
    assert service.client.get(f"/v1/models/m/streams/{names[0]}").json()["sequence"] >= 1


def test_sequences_are_asked_over_rest(service: Service, names: list[str]) -> None:
    """The same answer as over a connection; errors as everywhere."""
    service.client.post(f"/v1/models/m/streams/{names[0]}/observations", json={"item": {"load": 1}})
    path = "/v1/models/m/sequences"
    answer = service.client.post(path, json={"streams": [names[0], names[1]]})
    assert answer.json() == {
        "sequences": {names[0]: 1, names[1]: 0},
        "window": {"items": WINDOW, "per_stream": 64},
    }
    for body, status in (({"streams": ["/"]}, 422), ({"streams": ["s"] * (MAX_ITEMS + 1)}, 422), ({}, 422)):
        refused = service.client.post(path, json=body)
        assert (refused.status_code, code(refused.json())) == (status, "invalid_request")
    unknown = service.client.post("/v1/models/none/sequences", json={"streams": []})
    assert (unknown.status_code, code(unknown.json())) == (404, "unknown_model")


def refusal(service: Service, path: str = SOCKET, **given: Any) -> tuple[int, str]:
    """Status and code that a handshake is refused with."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        Socket(service, path, **given)
    response = refused.value.response
    error = json.loads(response.body)["error"]
    assert response.headers["X-Request-ID"] == error["request_id"]
    return response.status_code, error["code"]


def refused_lines(service: Service, path: str = PATH) -> int:
    """Status that a streamed body is refused with."""
    lines = Lines(service, path)
    error = json.loads(lines.response.read())["error"]
    assert lines.response.headers["X-Request-ID"] == error["request_id"]
    lines.vanish()
    return lines.response.status


def offer(key: str) -> list[str]:
    """What a browser offers that has a key."""
    return ["stepahead", "stepahead.key." + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")]


def test_an_opening_is_refused_as_http(service: Service) -> None:
    """With the contract's error object, whichever transport; a bad query and subprotocol too."""
    assert refusal(service, "/v1/models/none/socket") == (404, "unknown_model")
    assert refusal(service, "/v1/models/m") == (404, "not_found")
    assert refusal(service, f"{SOCKET}?experts=perhaps") == (422, "invalid_item")
    assert refusal(service, subprotocols=["chat"]) == (422, "invalid_request")
    assert refusal(service, origin="https://elsewhere.example") == (403, "forbidden_origin")
    for path, status in (("/v1/models/none/observations", 404), (f"{PATH}?experts=perhaps", 422)):
        assert refused_lines(service, path) == status


def test_keys_open_connections(closed: Service) -> None:
    """In the header, or in a subprotocol as a browser has to; the service picks the other one."""
    for none in ({}, {"subprotocols": offer("other")}, {"subprotocols": ["stepahead", "stepahead.key.%%"]}):
        assert refusal(closed, **none) == (401, "unauthorized")
    assert refused_lines(closed) == 401
    talk = Socket(closed, subprotocols=offer(KEY))
    assert talk.socket.subprotocol == "stepahead"
    talk.send(item("s", 1))
    assert "prediction" in talk.answer()
    talk.end()
    lines = Lines(closed, Authorization=f"Bearer {KEY}")
    lines.send({"streams": ["s"]})
    assert lines.answer()["sequences"]["s"] >= 1
    lines.vanish()


def test_pages_of_other_sites_are_refused(closed: Service) -> None:
    """But for those allowed, and the service's own; these see what they are answered."""
    own = f"http://{closed.client.base_url.host}:{closed.client.base_url.port}"
    for origin, expected in (
        ("https://elsewhere.example", 403),
        ("null", 403),
        ("https://pages.example", 200),
        (own, 200),
    ):
        answer = closed.client.post("/v1/models/m/sequences", json={"streams": []}, headers={"Origin": origin})
        assert answer.status_code == expected, origin
        is_allowed = origin == "https://pages.example"
        assert answer.headers.get("access-control-allow-origin") == (origin if is_allowed else None)
        assert closed.client.get("/v1/models", headers={"Origin": origin}).status_code == 200
        if expected == 403:
            assert code(answer.json()) == "forbidden_origin"
            assert refusal(closed, origin=origin, subprotocols=offer(KEY)) == (403, "forbidden_origin")
        else:
            Socket(closed, origin=origin, subprotocols=offer(KEY)).end()
    allowed = closed.client.options(
        "/v1/models/m/observations",
        headers={
            "Origin": "https://pages.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert allowed.status_code == 200
    exposed = closed.client.get("/v1/models", headers={"Origin": "https://pages.example"}).headers
    assert exposed["access-control-expose-headers"] == "Retry-After, X-Request-ID"


def test_connections_beyond_the_bound_are_refused(closed: Service) -> None:
    """A WebSocket counts as a connection, and is refused as a call is."""
    held = [Socket(closed, subprotocols=offer(KEY)) for _ in range(1)]
    closed.client.get("/healthz")  # the second
    assert refusal(closed, subprotocols=offer(KEY)) == (429, "overloaded")
    for talk in held:
        talk.end()
    until(lambda: metric(closed, 'stepahead_lasting_connections{kind="websocket"}') == 0)
    Socket(closed, subprotocols=offer(KEY)).end()
