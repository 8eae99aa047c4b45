"""The ways of a synchronous feed to the server: a socket, or one request after the other."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from stepahead import _wire as wire
from stepahead._core import Answer, Request, failure
from stepahead._frame import Frame
from stepahead._http import lost
from stepahead._link import Link, Target
from stepahead.errors import NoAnswer, StepaheadError

READ_BYTES = 2**18
CLOSE_S = 1.0
"""How long the last bytes of a connection may take to leave."""


class SocketCarrier:
    """Frames over a socket, several on their way.

    Args:
        target: What is connected to.
        make_link: Its protocol.
        connect_s: Seconds that a connection may take to open; ``None`` for any time.
    """

    def __init__(self, target: Target, make_link: Callable[[Target], Link], connect_s: float | None) -> None:
        self._target, self._make_link, self._connect_s = target, make_link, connect_s
        self._socket: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._link: Link | None = None
        self._out = bytearray()
        self.is_up = False
        self.heard_s = 0.0

    @property
    def n_out_bytes(self) -> int:
        """See :class:`stepahead._feed.Carrier`."""
        return len(self._out)

    def connect(self) -> None:
        """See :class:`stepahead._feed.Carrier`."""
        try:
            self._open()
        except OSError as error:
            self.close()
            raise unreached(self._target, error) from error
        except BaseException:
            self.close()
            raise

    def send(self, frame: Frame) -> None:
        """See :class:`stepahead._feed.Carrier`."""
        if self._link is None:
            raise NoAnswer("the connection is closed")
        if self._link.end is not None:
            raise self._link.end
        self._link.send(frame.content)
        self._out += self._link.to_send()
        self._flush()

    def poll(self, wait_s: float) -> list[bytes | StepaheadError]:
        """See :class:`stepahead._feed.Carrier`."""
        link = self._link
        if link is None or self._selector is None or self._socket is None:
            raise NoAnswer("the connection is closed")
        if wait_s > 0:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
            self._selector.modify(self._socket, events)
            self._selector.select(wait_s)
        self._receive(self._socket, link)
        self._flush()
        answers: list[bytes | StepaheadError] = list(link.answers())
        link.answers().clear()
        if link.end is not None and not answers:
            raise link.end
        return answers

    def close(self) -> None:
        """See :class:`stepahead._feed.Carrier`."""
        if self._socket is not None:
            with suppress(OSError):
                if self.is_up and self._link is not None and self._link.end is None:
                    self._link.finish()
                    self._socket.settimeout(CLOSE_S)
                    self._socket.sendall(self._out + self._link.to_send())
            with suppress(OSError):
                self._socket.close()
        if self._selector is not None:
            self._selector.close()
        self._socket = self._selector = self._link = None
        self._out.clear()
        self.is_up = False

    def _open(self) -> None:
        target = self._target
        until_s = None if self._connect_s is None else time.monotonic() + self._connect_s
        connection = socket.create_connection((target.host, target.port), self._connect_s)
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.is_secure:
            context = ssl.create_default_context()
            connection = self._socket = context.wrap_socket(connection, server_hostname=target.host)
        self._link = link = self._make_link(target)
        connection.sendall(link.to_send())
        while not link.is_open and link.end is None:
            if until_s is not None:
                connection.settimeout(max(0.001, until_s - time.monotonic()))
            link.receive(connection.recv(READ_BYTES))
        if link.end is not None:
            raise unopened(link.end)
        connection.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self.is_up = True
        self.heard_s = time.monotonic()

    def _receive(self, connection: socket.socket, link: Link) -> None:
        while link.end is None:
            try:
                data = connection.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                if not link.answers():
                    raise lost(self._target.url, error) from error
                return
            self.heard_s = time.monotonic()
            link.receive(data)
            self._out += link.to_send()

    def _flush(self) -> None:
        while self._out and self._socket is not None:
            try:
                n_sent = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                if self._link is not None and self._link.answers():
                    return
                raise lost(self._target.url, error) from error
            del self._out[:n_sent]


class RequestCarrier:
    """Each frame as a request, one after the other.

    Args:
        send: Sends a request.
        model: Whose items they are.
        params: Of requests with rows.
    """

    def __init__(
        self, send: Callable[[Request], Answer | NoAnswer], model: str, params: Mapping[str, str | int]
    ) -> None:
        self._send, self._model, self._params = send, model, params
        self._answers: list[bytes | StepaheadError] = []
        self.is_up = True
        self.heard_s = 0.0
        self.n_out_bytes = 0

    def connect(self) -> None:
        """See :class:`stepahead._feed.Carrier`."""
        self.is_up = True

    def send(self, frame: Frame) -> None:
        """See :class:`stepahead._feed.Carrier`; returns once the answer is here."""
        self._answers.append(answered(self._send(request_of(frame, self._model, self._params))))

    def poll(self, wait_s: float) -> list[bytes | StepaheadError]:
        """See :class:`stepahead._feed.Carrier`."""
        answers, self._answers = self._answers, []
        if not answers and wait_s > 0:
            time.sleep(wait_s)
        return answers

    def close(self) -> None:
        """See :class:`stepahead._feed.Carrier`."""
        self._answers.clear()
        self.is_up = False


def request_of(frame: Frame, model: str, params: Mapping[str, str | int]) -> Request:
    """A frame as a request."""
    path = wire.path("models", model, frame.call)
    return Request("POST", path, frame.content, params if frame.entries else {})


def answered(answer: Answer | NoAnswer) -> bytes | StepaheadError:
    """What a frame that was sent as a request was answered with.

    Raises:
        StepaheadError: If the same request may work later.
    """
    if isinstance(answer, Answer) and 200 <= answer.status < 300:
        return answer.content
    error = failure(answer)
    if error.retried:
        raise error
    return error


def unreached(target: Target, error: Exception) -> NoAnswer:
    """The error of a connection that did not come to be: nothing was sent."""
    failed = lost(target.url, error)
    failed.outcome_unknown = False
    return failed


def unopened(error: StepaheadError) -> StepaheadError:
    """The error of a handshake that failed: no item was sent."""
    error.outcome_unknown = False
    return error
