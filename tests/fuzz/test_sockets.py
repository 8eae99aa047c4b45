"""Bytes on a real socket that are no request, or a broken one: the server goes on, and whole requests are answered."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.form import LONG
from tests.integration.test_process import SPEC, WAIT_S, Service, serving, until

MAX_HEAD_BYTES = 16_384
HEAD_TIMEOUT_S = 1.0
MUTANTS = 150 if LONG is None else 10 * LONG

HOST = b"Host: stepahead.test\r\n"
JSON = b"Content-Type: application/json\r\n"
PATH = b"/v1/models/m/streams/s/observations"
BODY = b'{"item": {"load": 1.5}}'
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
OBSERVE = b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (PATH, HOST, JSON, len(BODY), BODY)
CHUNKED = b"POST %b HTTP/1.1\r\n%b%bTransfer-Encoding: chunked\r\n\r\n" % (PATH, HOST, JSON)
CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
CLOSE = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
UPGRADE = (
    b"GET %b HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)  # fmt: skip
OPEN = UPGRADE % b"/v1/models/m/socket"

REFUSED = {
    "garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "nothing but NULs": b"\0" * 100,
    "TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x11" * 190,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "no such method": b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no such version": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "a NUL in the path": b"GET /a\0b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in a header's name": b"GET /healthz HTTP/1.1\r\nX y : 1\r\n\r\n",
    "a length that is no number": OBSERVE.replace(b"Content-Length: 23", b"Content-Length: abc"),
    "a length below 0": OBSERVE.replace(b"Content-Length: 23", b"Content-Length: -1"),
    "two lengths": OBSERVE.replace(b"Content-Length: 23", b"Content-Length: 23\r\nContent-Length: 24"),
    "a length and chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + CHUNK + b"0\r\n\r\n",
    "a chunk of no size": CHUNKED + b"xyz\r\n" + CHUNK,
    "a chunk of endless size": CHUNKED + b"f" * 40 + b"\r\n" + CHUNK,
    "a chunk that is longer than it says": CHUNKED + b"3\r\n" + BODY + b"\r\n0\r\n\r\n",
}
TOO_LARGE = {
    "an endless header": b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 2**20,
    "an endless header's name": b"GET /healthz HTTP/1.1\r\n" + b"a" * 2**20,
    "an endless path": b"GET /" + b"a" * 2**20,
    "a hundred thousand headers": b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 100_000,
}
TAKEN = {
    "in one piece": [OBSERVE],
    "byte by byte": [OBSERVE[i : i + 1] for i in range(len(OBSERVE))],
    "in chunks": [CHUNKED, CHUNK, b"0\r\n\r\n"],
    "in chunks with an extension and a trailer": [
        CHUNKED,
        CHUNK.replace(b"\r\n", b";a=b\r\n", 1),
        b"0\r\nT: 1\r\n\r\n",
    ],
    "with empty lines before it": [b"\r\n\r\n\r\n", OBSERVE],
    "in HTTP 1.0": [OBSERVE.replace(b"HTTP/1.1", b"HTTP/1.0")],
    "without a host": [OBSERVE.replace(HOST, b"")],
    "with a whole URL": [OBSERVE.replace(PATH, b"http://elsewhere" + PATH)],
    "which expects to be told to go on": [OBSERVE.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")],
}
CUT_OFF = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a head": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nConte",
    "half a body": OBSERVE[:-5],
    "a body that is longer than what comes": OBSERVE.replace(b"Length: 23", b"Length: 4000000"),
    "half a chunk": CHUNKED + CHUNK[:10],
    "chunks without an end": CHUNKED + CHUNK,
    "half a trailer": CHUNKED + CHUNK + b"0\r\nTrai",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a model; its bounds on heads are near, so that they are met soon. It logs no traceback."""
    flags = ("--max-head-bytes", str(MAX_HEAD_BYTES), "--head-timeout-s", str(HEAD_TIMEOUT_S), "--log-level", "error")
    with serving(tmp_path_factory.mktemp("data"), *flags) as service:
        assert service.client.put("/v1/models/m", json=SPEC).status_code == 201
        service.observe(1)
        yield service
        assert service.stop() == 0
        assert "Traceback" not in service.log, "a client's bytes are no error of the service"


@pytest.fixture(autouse=True)
def it_goes_on(service: Service) -> Iterator[None]:
    """After each test the server answers, learns, and holds as many descriptors as before."""
    before = descriptors(service)
    yield
    assert exchange(service, [HEALTH + OBSERVE + CLOSE])[0] == [200, 200, 200]
    until(lambda: descriptors(service) <= before)


def descriptors(service: Service) -> int:
    """File descriptors that the server holds, but for its pool of connections to the store, which is bounded."""
    inodes = [line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    to_store = {f"socket:[{inode}]" for inode in inodes}
    held = 0
    for link in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held += os.readlink(link) not in to_store
    return held


def connect(service: Service) -> socket.socket:
    """A connection to the server; nothing on it may take longer than a test may wait."""
    url = service.client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=WAIT_S)


def exchange(service: Service, parts: list[bytes], *, end: bool = False) -> tuple[list[int], bytes]:
    """Send the parts, and read until the server closes; the replies' statuses, and the body of the last one.

    Args:
        service: Sent to.
        parts: One after the other, each as far as the server takes it.
        end: Whether to say that no more will come.
    """
    received = b""
    with connect(service) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except OSError:  # it was refused before all was sent
            pass
        try:
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionResetError:  # it closed on what was still coming
            pass
    return replies(received)


def replies(received: bytes) -> tuple[list[int], bytes]:
    """Statuses of a sequence of replies, each of which is whole, and the body of the last."""
    statuses, body = [], b""
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        assert separator, received
        status, length = int(head.split(None, 2)[1]), 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert len(rest) >= length, "a reply was cut off"
        body, received = rest[:length], rest[length:]
        if status != 100:
            statuses.append(status)
    return statuses, body


def expect_error(body: bytes, code: str) -> None:
    """The body is the contract's error object."""
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"]


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_is_no_http_is_refused(service: Service, sent: bytes) -> None:
    """It is answered with the error object, and the connection ends."""
    statuses, body = exchange(service, [sent])
    assert statuses == [400]
    expect_error(body, "invalid_request")


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_without_an_end_is_refused(service: Service, sent: bytes) -> None:
    """It is not kept: once it is over the bound it is refused, or the connection is reset on what still comes."""
    statuses, body = exchange(service, [sent])
    assert statuses in ([431], [])
    if statuses:
        expect_error(body, "head_too_large")


def test_an_endless_head_in_small_pieces_is_refused(service: Service) -> None:
    """The bound is on the whole of a head, and the refusal names it."""
    statuses, body = exchange(service, [b"GET /healthz HTTP/1.1\r\n", *([b"X: " + b"a" * 100 + b"\r\n"] * 170)])
    assert statuses in ([431], [])
    with connect(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (MAX_HEAD_BYTES - 20))
        statuses, body = replies(connection.recv(65_536))
    assert statuses == [431]
    expect_error(body, "head_too_large")


@pytest.mark.parametrize(
    "tail", [b"0\r\n" + b"T: 1\r\n" * 400_000, b"1;" + b"x" * 2**21], ids=["trailers", "extension"]
)
def test_a_body_without_an_end_is_refused(service: Service, tail: bytes) -> None:
    """What comes after or between chunks and is no body is bounded as a head is."""
    statuses, _ = exchange(service, [CHUNKED, CHUNK, tail])
    assert statuses in ([431], [])


@pytest.mark.parametrize("parts", TAKEN.values(), ids=TAKEN)
def test_a_request_is_taken_however_it_comes(service: Service, parts: list[bytes]) -> None:
    """A valid request is answered, and so is the next one on its connection, where there may be one."""
    is_last = b"HTTP/1.0" in parts[0]
    statuses, _ = exchange(service, [*parts] if is_last else [*parts, CLOSE])
    assert statuses == ([200] if is_last else [200, 200])


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """All of many requests in one segment are answered, the malformed end after them too, and last."""
    statuses, _ = exchange(service, [(HEALTH + OBSERVE) * 20 + CLOSE])
    assert statuses == [200] * 41
    statuses, body = exchange(service, [OBSERVE * 3 + b"\0garbage\r\n\r\n"])
    assert statuses == [200, 200, 200, 400]
    expect_error(body, "invalid_request")
    statuses, _ = exchange(service, [OBSERVE * 2 + CHUNKED + b"zz\r\n"])
    assert statuses == [200, 200, 400]


@pytest.mark.parametrize("sent", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("how", ["end", "reset", "silence"])
def test_a_request_that_breaks_off_costs_nothing(service: Service, sent: bytes, how: str) -> None:
    """Whether the client ends, resets or falls silent, no other call is kept waiting and nothing stays behind."""
    if how == "silence" and sent.count(b"\r\n\r\n"):
        return  # a body may take its time: who is slow keeps his own connection, and no other
    if how == "reset":
        with connect(service) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    if how == "end" and sent.count(b"\r\n\r\n"):
        with connect(service) as connection:
            connection.sendall(sent)
        return
    statuses, body = exchange(service, [sent], end=how == "end")
    assert statuses in ([408], [400], [])
    if statuses == [408]:
        expect_error(body, "request_timeout")


def test_a_reset_in_the_middle_of_a_reply_costs_nothing(service: Service) -> None:
    """A client that goes while a long reply is on its way leaves nothing behind."""
    rows = [{"stream": f"t{i % 10}", "item": {"load": i}} for i in range(300)]
    content = json.dumps({"observations": rows}).encode()
    head = b"POST /v1/models/m/observations HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (HOST, JSON, len(content))
    for n_read in (0, 1, 1000):
        with connect(service) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head + content)
            if n_read:
                connection.recv(n_read)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("path", [b"/", b"/healthz", b"/v1/models/m", b"/v1/models/none/socket", b"/none", b"/docs"])
def test_an_upgrade_is_refused(service: Service, path: bytes) -> None:
    """A request to change to WebSocket where there is none is answered as HTTP, in one whole reply."""
    statuses, body = exchange(service, [UPGRADE % path + CLOSE])
    assert statuses == [404]
    expect_error(body, "unknown_model" if b"socket" in path else "not_found")


NO_OPENING = {
    "no key": OPEN.replace(b"Sec-WebSocket-Key", b"X-Key"),
    "a key that is none": OPEN.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"abc"),
    "another version": OPEN.replace(b"Version: 13", b"Version: 7"),
    "a method that opens nothing": OPEN.replace(b"GET", b"POST"),
    "a header that is long": OPEN.replace(b"\r\n\r\n", b"\r\nX: " + b"a" * 10_000 + b"\r\n\r\n"),
    "very many headers": OPEN.replace(b"\r\n\r\n", b"\r\nX: 1" * 300 + b"\r\n\r\n"),
    "a path that is not ASCII": OPEN.replace(b"/v1", b"/\xff1"),
}


@pytest.mark.parametrize("sent", NO_OPENING.values(), ids=NO_OPENING)
def test_a_malformed_opening_is_refused(service: Service, sent: bytes) -> None:
    """It is answered with the error object, and the connection ends."""
    statuses, body = exchange(service, [sent])
    assert statuses[0] in {400, 404}
    assert json.loads(body)["error"]["code"] in {"invalid_request", "not_found"}


def test_changed_bytes_of_a_websocket_end_it_or_are_answered(service: Service) -> None:
    """Frames with bytes turned over, taken out and put in; the server closes, or goes on until the client does."""
    source = random.Random(11)
    content = b'{"stream": "w", "item": {"load": 1.5}}'
    frame = b"\x81" + bytes([0x80 | len(content)]) + b"\0\0\0\0" + content
    parts = [frame, b"\x89\x80\0\0\0\0", b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0", b"\x82" + frame[1:]]
    for _ in range(MUTANTS):
        sent = bytearray(b"".join(source.choices(parts, k=6)))
        for _ in range(source.randrange(4)):
            at = source.randrange(len(sent))
            match source.randrange(3):
                case 0:
                    sent[at] = source.randrange(256)
                case 1:
                    del sent[at : at + source.randrange(1, 4)]
                case _:
                    sent[at:at] = source.randbytes(source.randrange(1, 5))
        with connect(service) as connection:
            connection.sendall(OPEN)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 101")
            with suppress(OSError):  # it was closed meanwhile
                connection.sendall(bytes(sent))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass


def test_changed_bytes_end_in_replies(service: Service) -> None:
    """Valid requests with bytes turned over, taken out and put in are answered or refused, never with 500."""
    source = random.Random(7)
    for _ in range(MUTANTS):
        sent = bytearray(source.choice([OBSERVE, CHUNKED + CHUNK + b"0\r\n\r\n", HEALTH, UPGRADE % b"/x"]) * 2)
        for _ in range(source.randrange(1, 6)):
            at = source.randrange(len(sent))
            match source.randrange(3):
                case 0:
                    sent[at] = source.choice(b"\0\r\n :;/\xff%" + bytes(range(256)))
                case 1:
                    del sent[at : at + source.randrange(1, 4)]
                case _:
                    sent[at:at] = source.choice(
                        [b"\r\n", b"\r\n\r\n", b"\0", b" ", b":", source.randbytes(3), b"9" * 30]
                    )
        with connect(service) as connection:
            connection.sendall(bytes(sent))
            connection.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while piece := connection.recv(65_536):
                    received += piece
            except ConnectionResetError:
                continue
        assert all(status < 500 for status in replies(received)[0]), bytes(sent)
