"""One connection's protocol: bytes in and frames out, frames in and bytes out. No I/O."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import h11
import httpx
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from stepahead import _wire as wire
from stepahead._core import Answer, failure
from stepahead.errors import BodyTooLarge, NoAnswer, StepaheadError, Unauthorized, UnknownModel, error_class

MAX_REFUSAL_BYTES = 2**20
"""Most of a refusal's page that is read."""
NO_UPGRADE = frozenset({400, 404, 405, 426, 501})
"""Statuses with which something that knows no WebSocket answers the handshake."""
NO_CALL = frozenset({None, "not_found", "method_not_allowed"})
"""Codes, if any, that come with them: the service's own where a proxy has left the wish for a WebSocket out."""


class NoSuchWay(Exception):
    """What answers at this address does not take this kind of connection."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a connection is opened.

    Args:
        url: Of the service; http or https.
        path: Of the call.
        query: Of the call; may be empty.
        headers: Sent with the handshake.
    """

    url: httpx.URL
    path: str
    query: str
    headers: dict[str, str]

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.scheme == "https"

    @property
    def host(self) -> str:
        """Host name."""
        return self.url.host

    @property
    def port(self) -> int:
        """Port."""
        return self.url.port or (443 if self.is_secure else 80)

    @property
    def resource(self) -> str:
        """Path and query as they are sent."""
        base = self.url.raw_path.decode().partition("?")[0].rstrip("/")
        return base + self.path + (f"?{self.query}" if self.query else "")


class Link(Protocol):
    """One connection's protocol."""

    @property
    def is_open(self) -> bool:
        """Whether frames may be sent."""

    def send(self, frame: bytes) -> None:
        """A frame is to leave."""

    def finish(self) -> None:
        """No further frame follows."""

    def receive(self, data: bytes) -> None:
        """Bytes have arrived; none for the end.

        Raises:
            NoSuchWay: If this kind of connection is not known there.
        """

    def to_send(self) -> bytes:
        """The bytes that are to leave; takes them out."""

    def answers(self) -> deque[bytes]:
        """The answers that have arrived; whoever reads them takes them out."""

    @property
    def end(self) -> StepaheadError | None:
        """Why there is nothing more to come; ``None`` while there may be."""


class WebSocketLink:
    """Frames as WebSocket messages."""

    def __init__(self, target: Target) -> None:
        scheme = "wss" if target.is_secure else "ws"
        netloc = target.url.netloc.decode()
        self._protocol = ClientProtocol(parse_uri(f"{scheme}://{netloc}{target.resource}"), max_size=None)
        request = self._protocol.connect()
        for name, value in target.headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._parts: list[bytes] = []
        self._answers: deque[bytes] = deque()
        self.is_open = False
        self.end: StepaheadError | None = None

    def send(self, frame: bytes) -> None:
        """See :meth:`Link.send`."""
        self._protocol.send_text(frame)

    def finish(self) -> None:
        """See :meth:`Link.finish`."""
        if self.is_open and self.end is None:
            self._protocol.send_close(1000)

    def receive(self, data: bytes) -> None:
        """See :meth:`Link.receive`."""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        refusal = self._protocol.handshake_exc
        if refusal is not None:
            self.end = self._refused(refusal)
            return
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            else:
                self.is_open = True
        if self.end is None and (not data or self._protocol.close_expected()):
            self.end = self._closed()

    def to_send(self) -> bytes:
        """See :meth:`Link.to_send`."""
        return b"".join(self._protocol.data_to_send())

    def answers(self) -> deque[bytes]:
        """See :meth:`Link.answers`."""
        return self._answers

    def _take(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self._answers.append(b"".join(self._parts))
                self._parts.clear()

    def _refused(self, refusal: Exception) -> StepaheadError:
        if not isinstance(refusal, InvalidStatus):
            return NoAnswer(f"the WebSocket handshake failed: {refusal}")
        response = refusal.response
        return refused(response.status_code, dict(response.headers.raw_items()), bytes(response.body or b""))

    def _closed(self) -> StepaheadError:
        close = self._protocol.close_rcvd
        if close is None:
            failed = self._protocol.parser_exc
            return NoAnswer(f"the connection broke{f': {failed}' if failed else ''}")
        code, _, message = close.reason.partition(": ")
        status = close.code - 4000 if close.code >= 4000 else None
        return ended(code or None, status, message or f"the server closed the connection ({close.code} {close.reason})")


class NdjsonLink:
    """Frames as lines of one request's body, answered by lines of its response while both still go on."""

    def __init__(self, target: Target) -> None:
        self._http = h11.Connection(h11.CLIENT)
        headers = {
            "Host": target.url.netloc.decode(),
            **target.headers,
            "Content-Type": "application/x-ndjson",
            "Accept": "application/x-ndjson",
            "Transfer-Encoding": "chunked",
        }
        self._out = [self._sent(h11.Request(method="POST", target=target.resource, headers=list(headers.items())))]
        self._status = 0
        self._headers: dict[str, str] = {}
        self._rest = b""
        self._answers: deque[bytes] = deque()
        self.end: StepaheadError | None = None

    @property
    def is_open(self) -> bool:
        """See :meth:`Link.is_open`."""
        return self._status == 200

    def send(self, frame: bytes) -> None:
        """See :meth:`Link.send`."""
        self._out.append(self._sent(h11.Data(data=frame + b"\n")))

    def finish(self) -> None:
        """See :meth:`Link.finish`."""
        if self._http.our_state is h11.SEND_BODY:
            self._out.append(self._sent(h11.EndOfMessage()))

    def receive(self, data: bytes) -> None:
        """See :meth:`Link.receive`."""
        try:
            self._http.receive_data(data)
            while self.end is None:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                    self._headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    self._take(bytes(event.data))
                elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                    self.end = self._ended()
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError as error:
            self.end = self.end or NoAnswer(f"the connection broke: {error}")
        if not data and self.end is None:
            self.end = self._ended()

    def to_send(self) -> bytes:
        """See :meth:`Link.to_send`."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def answers(self) -> deque[bytes]:
        """See :meth:`Link.answers`."""
        return self._answers

    def _sent(self, event: Any) -> bytes:
        return self._http.send(event) or b""

    def _take(self, data: bytes) -> None:
        if not self.is_open:
            if len(self._rest) < MAX_REFUSAL_BYTES:
                self._rest += data
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        if not line.strip():
            return  # a sign of life
        if b'"final"' in line:
            try:
                last = json.loads(line)
            except ValueError:
                last = {}
            if isinstance(last, dict) and last.get("final") is True:
                error = wire.item_error(last["error"])
                self.end = ended(error.code, error.status, error.message, error.retry_after_s)
                return
        self._answers.append(line)

    def _ended(self) -> StepaheadError:
        if self._status == 0:
            return NoAnswer("the connection broke before there was an answer")
        if not self.is_open:
            return refused(self._status, self._headers, self._rest)
        self._take_line(self._rest)
        self._rest = b""
        return self.end or NoAnswer("the server ended the answer")


def refused(status: int, headers: dict[str, str], content: bytes) -> StepaheadError:
    """The error of a handshake that was refused with an HTTP answer.

    Raises:
        NoSuchWay: If it is the answer of something that knows no such connection, or was not asked for one.
    """
    answer = Answer(status, {name.lower(): value for name, value in headers.items()}, content)
    if status in NO_UPGRADE and _code(content) in NO_CALL:
        raise NoSuchWay(f"HTTP {status}")
    error = failure(answer)
    error.outcome_unknown = False  # nothing was sent
    return error


def ended(code: str | None, status: int | None, message: str, retry_after_s: float | None = None) -> StepaheadError:
    """The error of a connection that the server ended, sent again unless it would only end the same way."""
    error = error_class(code, status)(message, code=code, status=status, retry_after_s=retry_after_s)
    if error.retried or isinstance(error, (BodyTooLarge, Unauthorized, UnknownModel)) or status == 403:
        error.outcome_unknown = True
        return error
    return NoAnswer(message, data={"code": code} if code else None, retry_after_s=retry_after_s)


def _code(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["error"]["code"])
    except (ValueError, TypeError, KeyError):
        return None
