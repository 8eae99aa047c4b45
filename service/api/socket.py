"""Observing over a WebSocket: a frame in, a frame out."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from service.api.connection import connection_of
from service.api.conversation import Conversation
from service.api.failures import respond
from service.api.feeds import read_feed
from service.api.frames import read_experts
from service.api.transport import Gone
from service.errors import InvalidRequest, NotFound, ServiceError

SUBPROTOCOL = "stepahead"
MESSAGES = 256
"""Most frames that are taken together behind the first."""

SAID_SO = frozenset({1000, 1001})
"""Close codes of a client that is done, or whose page is left."""


class Socket:
    """A WebSocket as a conversation's transport; what answers it with pings is the server that holds it."""

    kind = "websocket"
    heartbeat_s: float | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connection = connection_of(scope)
        self._receive = receive
        self._send = send

    async def begin(self) -> None:
        """Do nothing: it is open."""

    async def receive(self) -> Sequence[bytes] | None:
        """The next frame, and those behind it that are here already.

        Raises:
            Gone: If the client went away.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Gone(said_so=message.get("code") in SAID_SO)
        content = message.get("bytes")
        frames = [content if content is not None else message["text"].encode()]
        return frames if self._connection is None else frames + self._connection.messages(MESSAGES)

    async def send(self, answers: Sequence[bytes]) -> None:
        """Write a text frame for each answer."""
        for answer in answers:
            await self._write({"type": "websocket.send", "text": answer.decode()})

    async def beat(self) -> None:
        """Do nothing: the server sends pings."""

    async def end(self, error: ServiceError | None) -> None:
        """Close, of an error with its code."""
        code, reason = (1000, "") if error is None else (error.close_code, error.close_reason)
        await self._write({"type": "websocket.close", "code": code, "reason": reason})

    def unsent_bytes(self) -> int | None:
        """How much of what was written has not left yet."""
        return None if self._connection is None else self._connection.unsent_bytes()

    def cut_off(self, error: ServiceError) -> None:
        """Close, whether or not the client reads."""
        if self._connection is not None:
            self._connection.cut_off(error.close_code, error.close_reason, b"")

    async def _write(self, message: dict[str, object]) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # it is closed
            raise Gone from error


class SocketEndpoint:
    """``WS /v1/models/{model}/socket`` as a plain ASGI application: what it refuses is answered as HTTP."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Converse until a side ends it."""
        state, request_id = scope["app"].state, scope["state"]["request_id"]
        model = scope["path_params"]["model"]
        try:
            query = QueryParams(scope["query_string"])
            experts, feed = read_experts(query), read_feed(query)
            offered = scope.get("subprotocols", [])
            if offered and SUBPROTOCOL not in offered:
                raise InvalidRequest(f"a client that offers subprotocols must offer {SUBPROTOCOL!r}")
            await state.engines.get(model)
        except ServiceError as error:
            await refuse(error, scope, receive, send)
            return
        await receive()  # what opens it
        try:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None, "headers": []})
        except OSError:  # the client has gone already
            return
        conversation = Conversation(
            Socket(scope, receive, send),
            model,
            state.engines,
            state.settings,
            state.metrics,
            request_id,
            experts=experts,
            feeds=state.feeds,
            feed=feed,
        )
        await conversation.run()


class Elsewhere:
    """A WebSocket that no path takes: answered as every call that there is not."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse it."""
        await refuse(NotFound("no WebSocket has this path"), scope, receive, send)


async def refuse(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake with an error, as HTTP."""
    scope["app"].state.metrics.count_errors([error])
    await respond(error, scope["state"]["request_id"])(scope, receive, send)


router = APIRouter()
router.routes += [
    WebSocketRoute("/v1/models/{model}/socket", SocketEndpoint()),
    WebSocketRoute("/{path:path}", Elsewhere()),
]
