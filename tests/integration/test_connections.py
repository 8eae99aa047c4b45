"""Connections to the running service: how many it keeps, and how long it waits for what they send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.test_process import SPEC, WAIT_S, Service, serving, until

HEAD = b"POST /v1/models/m/streams/s/observations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that waits a fifth of a second for what a request is to bring."""
    with serving(tmp_path_factory.mktemp("hurried"), "--head-timeout-s", "0.2", "--body-timeout-s", "0.2") as service:
        yield service


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that waits, and takes small bodies; it has a model ``m``."""
    with serving(tmp_path_factory.mktemp("patient"), "--max-body-bytes", "1024") as service:
        service.client.put("/v1/models/m", json=SPEC)
        yield service


def connected(service: Service, sent: bytes = b"") -> socket.socket:
    """A connection over which something was sent."""
    url = service.client.base_url
    connection = socket.create_connection((url.host, url.port), WAIT_S)
    connection.sendall(sent)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """What arrives until the other side closes the connection or breaks it off."""
    received = b""
    with connection, suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            received += more
    return received


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    """Its calls are ``overloaded`` and it is closed, health checks go through, and once others end there is room."""
    with serving(tmp_path, "--max-connections", "2") as service:
        held = [connected(service), connected(service)]
        with httpx.Client(base_url=service.client.base_url, timeout=WAIT_S) as another:
            answer = another.get("/v1/models")
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
            assert answer.json()["error"]["max_connections"] == 2
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["connection"] == "close"
            for path in ("/healthz", "/readyz"):
                assert another.get(path).status_code == 200
            assert all_of(connected(service)) == b"", "with that one open a further one is cut off"
        for connection in held:
            connection.close()
        until(lambda: httpx.get(f"{service.client.base_url}/v1/models").status_code == 200)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
    ],
)
def test_a_head_that_does_not_come_ends_the_connection(hurried: Service, sent: bytes) -> None:
    """Whether nothing was sent, a part of a head, blank lines, or a blank line after a first answer."""
    received = all_of(connected(hurried, sent))
    assert received.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n\r\n")
    assert (b"HTTP/1.1 408" in received) or not sent.endswith(b"X-Slow: "), "who began a head is told why"


def test_a_body_that_does_not_come_is_answered(hurried: Service) -> None:
    """It is ``request_timeout``, and the connection is closed."""
    head, _, body = all_of(connected(hurried, HEAD + b'Content-Length: 100\r\n\r\n{"item"')).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"


def test_a_body_that_comes_in_time_is_taken(patient: Service) -> None:
    """Piece by piece, and with a head that does too."""
    body = b'{"item": {"load": 1.5}}'
    request = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    connection = connected(patient)
    for i in range(0, len(request), 7):
        connection.sendall(request[i : i + 7])
    assert all_of(connection).startswith(b"HTTP/1.1 200")


def test_a_head_without_end_is_cut_off(patient: Service) -> None:
    """A client that sends one header after the other is not listened to for ever."""
    connection = connected(patient, b"GET /healthz HTTP/1.1\r\n")
    with suppress(ConnectionError):
        for i in range(10_000):
            connection.sendall(b"X-Header-%d: %s\r\n" % (i, b"x" * 1000))
    assert b"HTTP/1.1 200" not in all_of(connection)
    assert patient.client.get("/healthz").status_code == 200


def test_an_answer_before_the_end_of_a_body_arrives(patient: Service) -> None:
    """A body that was refused by its length may be sent to its end; the connection's next request is served."""
    large = b"x" * 300_000
    request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(large), large)
    received = all_of(connected(patient, request + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert received.startswith(b"HTTP/1.1 413")
    assert b"HTTP/1.1 200" in received


def test_not_ready_comes_before_draining(tmp_path: Path) -> None:
    """After a signal the service says that it is not ready and still takes items; then it drains, with status 0."""
    with serving(tmp_path, "--drain-delay-s", "3") as service:
        service.client.put("/v1/models/m", json=SPEC)
        service.observe(1)
        service.process.terminate()
        until(lambda: service.client.get("/readyz").status_code == 503)
        assert service.client.get("/readyz").json()["error"]["code"] == "draining"
        service.observe(2)
        _, errors = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 0
        assert "Traceback" not in errors
    with serving(tmp_path) as service:
        assert service.client.get("/v1/models/m/streams/s").json()["sequence"] == 2


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """While the service still takes items a second signal ends it at once."""
    with serving(tmp_path, "--drain-delay-s", "3600") as service:
        service.process.terminate()
        until(lambda: service.client.get("/readyz").status_code == 503)
        service.process.terminate()
        _, errors = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 1
        assert "Traceback" not in errors
