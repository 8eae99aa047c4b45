"""WebSockets: uvicorn's protocol, with the bounds and the error object that every connection has here.

Memory stays bounded whatever a client does: while it does not read, nothing of it is read either, not even pings that
would have to be answered.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from service.api.connection import CONNECTION
from service.errors import BodyTooLarge, Malformed, SlowReader

TOO_BIG = 1009


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket, from its handshake's head on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fail = self.conn.fail
        self.conn.fail = self._name_failure  # type: ignore[method-assign]  # the parser's own way to end
        self.frames: list[bytes | bytearray] = []  # type: ignore[assignment]
        self._end: Any = None  # what ends the messages, if it was come upon and not yet received
        self._is_full = False  # more waits to be written than should
        self._unsent_bytes = 0  # when the last ping was sent
        self._heard_s = 0.0  # when something was received last; the loop's clock

    def data_received(self, data: bytes) -> None:
        """Take what came; after the end of what is wanted it is passed over."""
        self._heard_s = self.loop.time()
        if self.conn.parser_exc is not None:
            return
        try:
            super().data_received(data)
        except UnicodeError:  # in a path
            self._refuse_handshake()
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self._refuse_handshake()

    def handle_connect(self, event: Request) -> None:
        """Begin, with what the application may do to the connection in its scope."""
        if self.conn.accept(event).status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)
            self.scope["state"][CONNECTION] = self
        else:
            self._refuse_handshake()

    def handle_cont(self, event: Frame) -> None:
        """Take in a part of a message; a message of very many costs no more than it is long."""
        if not isinstance(self.frames[0], bytearray):
            self.frames = [bytearray(self.frames[0])]
        self.frames[0] += event.data
        if event.fin:
            self.frames = [bytes(self.frames[0])]
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Hand on a message as bytes: what of it is no text costs that message and not the connection."""
        self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send a message; of a close the client has only so long to take note."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # else the end of the application would be logged as an error
        if message["type"] == "websocket.close" and self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None
            self._linger()

    async def receive(self) -> Any:
        """The next message; reading goes on once there is no other."""
        if self._end is not None:
            message, self._end = self._end, None
            return message
        message = await self.queue.get()
        self._read_if_wanted()
        return message

    def messages(self, most: int) -> list[bytes]:
        """The messages behind the last one received that are here already."""
        found: list[bytes] = []
        while len(found) < most and self._end is None and not self.queue.empty():
            message: Any = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                found.append(message["bytes"])
            else:
                self._end = message
        self._read_if_wanted()
        return found

    def handle_ping(self) -> None:
        """Answer a ping, but for one that comes after the end."""
        if not self.close_sent:
            super().handle_ping()

    def handle_close(self, event: Frame) -> None:
        """Close, and break off if the client does not read what was written before."""
        super().handle_close(event)
        self._abort_later()

    def eof_received(self) -> None:
        """Close likewise."""
        self._abort_later()

    def pause_writing(self) -> None:
        """Read nothing while the client does not: pings would be answered, and the answers kept."""
        super().pause_writing()
        self._is_full = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        super().resume_writing()
        self._is_full = False
        self._read_if_may()

    def send_keepalive_ping(self) -> None:
        """Ask for a sign of life."""
        super().send_keepalive_ping()
        self._unsent_bytes = self.unsent_bytes()

    def keepalive_timeout(self) -> None:
        """End a connection that neither reads nor speaks; of one that is not read from only reading can be asked."""
        unsent = self.unsent_bytes()
        is_alive = self._heard_s > self.ping_sent_at or unsent < self._unsent_bytes
        if is_alive or (self.read_paused and not unsent):
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        error = SlowReader(self.ping_timeout or 0.0)
        self.cut_off(error.close_code, error.close_reason, b"")

    def handle_parser_exception(self) -> None:
        """Close as the parser said, and read on until the client knows: a socket closed on unread data would reset."""
        closing = self.conn.close_sent
        code, reason = (1006, "") if closing is None else (closing.code, closing.reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._linger()

    def unsent_bytes(self) -> int:
        """How much of what was written has not left yet."""
        return self.transport.get_write_buffer_size()

    def body_bytes(self) -> None:
        """None: what comes is messages."""

    def cut_off(self, code: int, reason: str, last: bytes) -> None:  # noqa: ARG002 - of answers over HTTP
        """Close, and break off if the client does not read that either."""
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._linger()

    def shutdown(self) -> None:
        """Leave it to the application to close, which answers first what it took."""
        if not self.handshake_initiated:
            self.transport.close()

    def _read_if_wanted(self) -> None:
        if self.queue.empty():
            self.read_paused = False
            self._read_if_may()

    def _read_if_may(self) -> None:
        if not (self.read_paused or self._is_full) or self.close_sent:
            self.transport.resume_reading()

    def _linger(self) -> None:
        """Pass over what still comes, until the client closes or the time for that is over."""
        self.close_sent = True
        self.stop_keepalive()
        self._read_if_may()
        if self.transport.can_write_eof():  # the client need not wait for more
            self.transport.write_eof()
        self._abort_later()

    def _abort_later(self) -> None:
        if self.close_timer is None:
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def _refuse_handshake(self) -> None:
        """Answer what is no handshake."""
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        error = Malformed("this is no opening of a WebSocket")
        request_id = uuid4().hex
        content = orjson.dumps(error.to_dict(request_id))
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"X-Request-ID: %b\r\nConnection: close\r\n\r\n%b" % (len(content), request_id.encode(), content)
        )
        self.transport.close()

    def _name_failure(self, code: int, reason: str = "") -> None:
        limit = self.config.ws_max_size
        self._fail(code, BodyTooLarge(limit, "frame").close_reason if code == TOO_BIG else reason)
