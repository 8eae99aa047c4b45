"""Observing over newline-delimited JSON: a line in, a line out, while the body still arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import orjson
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from service.api.connection import LASTING, connection_of
from service.api.conversation import Conversation
from service.api.feeds import read_feed
from service.api.frames import read_experts
from service.api.transport import Gone
from service.errors import BodyTooLarge, ServiceError

TYPE = "application/x-ndjson"
LINES = 256
"""Most lines that are handed on together."""


def is_streamed(content_type: str) -> bool:
    """Whether a body of this type is a conversation."""
    return content_type.partition(";")[0].strip().lower() == TYPE


class Lines:
    """A request's body and its answer as a conversation's transport.

    Args:
        scope: The request's.
        receive: Gives the body.
        send: Takes the answer.
        max_line_bytes: Longest line.
        heartbeat_s: Silence after which an empty line is sent.
        request_id: Told in the last line, if the service is the one to end.
    """

    kind = "ndjson"

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        max_line_bytes: int,
        heartbeat_s: float,
        request_id: str,
    ) -> None:
        self._connection = connection_of(scope)
        self._receive = receive
        self._send = send
        self._max_line_bytes = max_line_bytes
        self.heartbeat_s: float | None = heartbeat_s
        self._request_id = request_id
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []  # pieces of a line whose end has not come
        self._rest_bytes = 0
        self._is_whole = False

    async def receive(self) -> Sequence[bytes] | None:
        """The next lines that came together, without blank ones; ``None`` after the last.

        Raises:
            BodyTooLarge: If a line is too long.
            Gone: If the client went away.
        """
        while not self._lines:
            if self._is_whole:
                return None
            if self._rest_bytes > self._max_line_bytes:
                raise BodyTooLarge(self._max_line_bytes, "line")
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            self._is_whole = not message.get("more_body", False)
            self._split(message.get("body", b""))
        lines: list[bytes] = []
        while self._lines and len(lines) < LINES:
            if len(self._lines[0]) > self._max_line_bytes:
                if lines:
                    break  # those before it are taken
                raise BodyTooLarge(self._max_line_bytes, "line")
            lines.append(self._lines.popleft())
        return lines

    async def send(self, answers: Sequence[bytes]) -> None:
        """Write a line for each answer."""
        await self._write(b"\n".join(answers) + b"\n")

    async def beat(self) -> None:
        """Send an empty line."""
        await self._write(b"\n")

    async def begin(self) -> None:
        """Send the answer's head."""
        headers = [(b"content-type", TYPE.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def end(self, error: ServiceError | None) -> None:
        """End the answer; of an error with a line that says so and answers none."""
        if error is not None and self._connection is not None:
            self.cut_off(error)  # the body goes on
        else:
            await self._write(b"" if error is None else self._last(error), more=False)

    def unsent_bytes(self) -> int | None:
        """How much of what was written has not left yet."""
        return None if self._connection is None else self._connection.unsent_bytes()

    def cut_off(self, error: ServiceError) -> None:
        """End the answer, whether or not the client reads."""
        if self._connection is not None:
            self._connection.cut_off(error.close_code, error.close_reason, self._last(error))

    async def _write(self, content: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": more})

    def _last(self, error: ServiceError) -> bytes:
        return orjson.dumps({**error.to_dict(self._request_id), "final": True}) + b"\n"

    def _split(self, body: bytes) -> None:
        """Sort what came into lines; after the body's end the last one needs no newline."""
        *lines, rest = body.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._rest_bytes = [], 0
        self._rest.append(rest)
        self._rest_bytes += len(rest)
        if self._is_whole:
            lines.append(b"".join(self._rest))
        self._lines.extend(line for line in lines if line and not line.isspace())


class LinesResponse(Response):
    """The answer to a streamed body: it leaves while the body still arrives."""

    media_type = TYPE

    def __init__(self, request: Request, model: str) -> None:
        self.background = None
        self.status_code = 200
        self._request = request
        self._model = model
        self._experts, self._feed = read_experts(request.query_params), read_feed(request.query_params)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Converse until a side ends it."""
        state = self._request.app.state
        request_id = self._request.state.request_id
        scope["state"][LASTING] = True
        lines = Lines(
            scope,
            receive,
            send,
            max_line_bytes=state.settings.max_frame_bytes,
            heartbeat_s=state.settings.heartbeat_s,
            request_id=request_id,
        )
        conversation = Conversation(
            lines,
            self._model,
            state.engines,
            state.settings,
            state.metrics,
            request_id,
            experts=self._experts,
            feeds=state.feeds,
            feed=self._feed,
        )
        await conversation.run()
