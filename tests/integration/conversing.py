"""Clients of lasting connections: one over NDJSON, one over a WebSocket, with the same few verbs."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import websockets.exceptions
import websockets.sync.client

from tests.integration.test_process import WAIT_S, Service

PATH = "/v1/models/m/observations"
SOCKET = "/v1/models/m/socket"

MAX_ITEMS = 64
"""Items that a frame may have, and that may wait: a second such frame has to wait for the first."""

MAX_LINE_BYTES = 65_536
WINDOW = 128
"""Items of two frames, so that one more waits for the queue."""

SLOW_S = 0.5
"""How long a client of the service that soon gives up may read nothing."""

WIDE: dict[str, Any] = {
    "fields": [{"name": f"field-{n}"} for n in range(64)],
    "quantiles": [(n + 1) / 32 for n in range(31)],
    "hidden": 1,
    "experts": "none",
}
"""Whose replies are some 60 kB: few of them are more than sockets hold."""


class Ended(Exception):
    """The service ended the conversation.

    Args:
        code: What its last line says, or the reason of its close frame; ``normal`` for an end without one.
        close_code: A WebSocket's.
    """

    def __init__(self, code: str, close_code: int = 0) -> None:
        super().__init__(code, close_code)
        self.code = code
        self.close_code = close_code


class Conversation(Protocol):
    """Frames out, answers in."""

    def send(self, *frames: Any) -> None:
        """Send frames together; a text or bytes as they are, all else as JSON."""

    def answer(self) -> Any:
        """The next answer."""

    def end(self) -> None:
        """Say that no more will come."""

    def vanish(self) -> None:
        """Go without a word."""


class Lines:
    """A conversation over NDJSON."""

    def __init__(self, service: Service, path: str = PATH, **headers: str) -> None:
        url = service.client.base_url
        self.http = http.client.HTTPConnection(url.host, url.port or 80, timeout=WAIT_S)
        self.http.putrequest("POST", path)
        sent = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked", **headers}
        for name, value in sent.items():
            self.http.putheader(name.replace("_", "-"), value)
        self.http.endheaders()
        self.response = self.http.getresponse()

    def send(self, *frames: Any) -> None:
        """Send lines in one chunk."""
        self.put(b"".join(encoded(frame) + b"\n" for frame in frames))

    def put(self, content: bytes) -> None:
        """Send a chunk."""
        self.http.sock.sendall(b"%x\r\n%b\r\n" % (len(content), content))

    def line(self) -> bytes:
        """The next line, blank ones too."""
        return self.response.readline()

    def answer(self) -> Any:
        """The next answer; blank lines are passed over."""
        while (line := self.line()) == b"\n":
            pass
        if not line:
            raise Ended("normal")
        answer = json.loads(line)
        if answer.get("final"):
            assert self.response.read() == b"", "nothing comes after the last line"
            raise Ended(answer["error"]["code"])
        return answer

    def end(self) -> None:
        """End the body."""
        self.http.sock.sendall(b"0\r\n\r\n")

    def vanish(self) -> None:
        """Break the connection off."""
        self.response.close()
        self.http.close()


class Socket:
    """A conversation over a WebSocket."""

    def __init__(self, service: Service, path: str = SOCKET, **given: Any) -> None:
        url = str(service.client.base_url).replace("http", "ws", 1).rstrip("/")
        self.socket = websockets.sync.client.connect(url + path, open_timeout=WAIT_S, proxy=None, **given).__enter__()

    def send(self, *frames: Any) -> None:
        """Send a message for each."""
        for frame in frames:
            self.socket.send(encoded(frame), text=True)

    def answer(self) -> Any:
        """The next answer."""
        try:
            answer = self.socket.recv(WAIT_S)
        except websockets.exceptions.ConnectionClosed as error:
            if error.rcvd is None:
                raise
            raise Ended(error.rcvd.reason.partition(":")[0] or "normal", error.rcvd.code) from error
        assert isinstance(answer, str), "answers are text"
        return json.loads(answer)

    def end(self) -> None:
        """Close in good order."""
        self.socket.close()

    def vanish(self) -> None:
        """Break the connection off."""
        with suppress(OSError):  # it is closed already
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


Open = Callable[..., Conversation]
BOTH = {"ndjson": Lines, "websocket": Socket}


@contextmanager
def talking(kind: str, service: Service, query: str = "") -> Iterator[Any]:
    """A conversation that is over at the end, whatever came."""
    talk = BOTH[kind](service, (PATH if kind == "ndjson" else SOCKET) + query)
    try:
        yield talk
    finally:
        talk.vanish()


def encoded(frame: Any) -> bytes:
    """A frame as it is sent."""
    match frame:
        case bytes():
            return frame
        case str():
            return frame.encode()
        case _:
            return json.dumps(frame).encode()


def item(stream: str, load: float, sequence: int | None = None) -> dict[str, Any]:
    """An observation."""
    numbered = {} if sequence is None else {"sequence": sequence}
    return {"stream": stream, "item": {"load": load}, **numbered}


def wide_item(stream: str) -> dict[str, Any]:
    """An observation of the wide model."""
    return {"stream": stream, "item": {field["name"]: 1.0 for field in WIDE["fields"]}}


def metric(service: Service, name: str) -> float:
    """A number that the service tells of itself; 0 for one that it does not."""
    for line in service.client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0
