"""The wire as a load generator needs it: requests that are bytes beforehand, and answers that are only counted.

A connection owns a socket that does not block. Answers are looked at as far as is needed to see that they are whole and
no errors: a generator that parsed JSON would take more of the machine than what it measures.
"""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle

_RECEIVE_BYTES = 2**16
_TIMEOUT_S = 30.0
_ERROR = b'{"error":{"code"'
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PING, _PONG, _CLOSE = 0x9, 0xA, 0x8


class RefusedError(RuntimeError):
    """A server answered with an error; the message holds the beginning of what it said."""

    def __init__(self, said: bytes) -> None:
        super().__init__(f"refused: {said[:500].decode(errors='replace')}")


class Connection:
    """A connection whose requests are taken in turn, over and over; a subclass finds the ends of answers.

    Args:
        address: Host and port.
        requests: As they go over the wire.
        opening: What is said first.
    """

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], opening: bytes = b"") -> None:
        self.requests = cycle(requests)
        self.due_s: deque[float] = deque()
        """When each request that is not answered yet was to be sent."""
        self.unsent = bytearray()
        self._received = bytearray()
        self.socket = socket.create_connection(address, timeout=_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if opening:
            self.socket.sendall(opening)
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Send, and keep what the socket does not take for :meth:`flush`."""
        n_sent = 0
        if not self.unsent:
            with suppress(BlockingIOError):
                n_sent = self.socket.send(data)
        if n_sent < len(data):
            self.unsent += data[n_sent:]

    def flush(self) -> None:
        """Send what the socket did not take before."""
        with suppress(BlockingIOError):
            del self.unsent[: self.socket.send(self.unsent)]

    def receive(self) -> int:
        """Take what has arrived.

        Returns:
            How many answers are whole with it.

        Raises:
            RefusedError: If one is an error.
            ConnectionError: If the connection has ended.
        """
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            raise ConnectionError(f"the server ended the connection: {bytes(self._received[:500])!r}")
        self._received += data
        return self._count()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def _count(self) -> int:
        raise NotImplementedError


class Rest(Connection):
    """HTTP requests over a connection that stays open."""

    def _count(self) -> int:
        n, received = 0, self._received
        while (end := received.find(b"\r\n\r\n")) >= 0:
            size = _LENGTH.search(received, 0, end + 2)
            if size is None:
                raise RefusedError(bytes(received))
            whole = end + 4 + int(size[1])
            if len(received) < whole:
                break
            if not received.startswith(b"HTTP/1.1 200"):
                raise RefusedError(bytes(received))
            del received[:whole]
            n += 1
        return n


class WebSocket(Connection):
    """Messages of a WebSocket."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], path: str) -> None:
        self._is_open = False
        super().__init__(address, requests, _upgrade(address, path))
        self.socket.setblocking(True)  # nothing may be sent before the upgrade is answered
        while b"\r\n\r\n" not in self._received:
            super().receive()
        self.socket.setblocking(False)
        if not self._received.startswith(b"HTTP/1.1 101"):
            raise RefusedError(bytes(self._received))
        del self._received[: self._received.index(b"\r\n\r\n") + 4]
        self._is_open = True

    def _count(self) -> int:
        if not self._is_open:
            return 0
        received = self._received
        n = at = 0
        while (found := _frame(received, at)) is not None:
            kind, begin, end = found
            if kind == _PING:
                self.send(masked(bytes(received[begin:end]), _PONG))
            elif kind == _CLOSE or received.find(_ERROR, begin, end) >= 0:
                raise RefusedError(bytes(received[begin:end]))
            else:
                n += 1
            at = end
        del received[:at]
        return n


class Ndjson(Connection):
    """Lines of one request's body, and of its answer."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], path: str) -> None:
        head = (*_head("POST", address, path), "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")
        super().__init__(address, requests, _joined(head))
        self._is_open = False

    def _count(self) -> int:
        received = self._received
        if not self._is_open:
            if b"\r\n\r\n" not in received:
                return 0
            if not received.startswith(b"HTTP/1.1 200"):
                raise RefusedError(bytes(received))
            self._is_open = True
        if _ERROR in received:
            raise RefusedError(bytes(received[received.index(_ERROR) :]))
        n = received.count(b"}\n")  # JSON has no line's end in it, and a chunk's is \r\n
        del received[: max(len(received) - len(_ERROR), received.rfind(b"}\n") + 2)]
        return n

    def close(self) -> None:
        """End the body, and with it the connection."""
        self.send(b"0\r\n\r\n")
        super().close()


def post(address: tuple[str, int], path: str, body: bytes) -> bytes:
    """A request of :class:`Rest`."""
    head = (*_head("POST", address, path), "Content-Type: application/json", f"Content-Length: {len(body)}")
    return _joined(head) + body


def message(body: bytes) -> bytes:
    """A request of :class:`WebSocket`."""
    return masked(body, 0x1)


def line(body: bytes) -> bytes:
    """A request of :class:`Ndjson`: a chunk that is a line."""
    return b"%x\r\n%b\n\r\n" % (len(body) + 1, body)


def masked(payload: bytes, kind: int) -> bytes:
    """A WebSocket frame as a client sends it (RFC 6455); the mask is zero and changes nothing."""
    n = len(payload)
    if n < 126:
        size = bytes((0x80 | n,))
    elif n < 2**16:
        size = b"\xfe" + n.to_bytes(2, "big")
    else:
        size = b"\xff" + n.to_bytes(8, "big")
    return bytes((0x80 | kind,)) + size + bytes(4) + payload


def _frame(received: bytearray, at: int) -> tuple[int, int, int] | None:
    """Kind, begin and end of the payload of a server's frame; ``None`` while it is not whole."""
    if len(received) < at + 2:
        return None
    kind, n, begin = received[at] & 0xF, received[at + 1] & 0x7F, at + 2
    if n >= 126:
        width = 2 if n == 126 else 8
        if len(received) < begin + width:
            return None
        n, begin = int.from_bytes(received[begin : begin + width], "big"), begin + width
    return None if len(received) < begin + n else (kind, begin, begin + n)


def _upgrade(address: tuple[str, int], path: str) -> bytes:
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    return _joined(
        (*_head("GET", address, path), "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
    )


def _head(method: str, address: tuple[str, int], path: str) -> tuple[str, str]:
    return f"{method} {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}"


def _joined(head: Sequence[str]) -> bytes:
    return "\r\n".join((*head, "", "")).encode()
