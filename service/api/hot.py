"""The calls that are made most, answered ahead of FastAPI's machinery.

What is in order is read, learned and answered here. All else goes on to the route of the same path, which says what is
wrong with it: so the routes are what the documentation shows, and every refusal of what was sent is written once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import NamedTuple

from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import observations
from service.api.failures import respond
from service.api.frames import render_results
from service.api.head import header
from service.batcher import Answer
from service.columns import ColumnReader, Columns
from service.errors import ServiceError

_PATH = re.compile(r"/v1/models/([^/]+)(?:/streams/([^/]+))?/observations")
_EXPERTS = {b"": False, b"experts=false": False, b"experts=true": True}
_ONE, _MANY = observations.router.routes[0], observations.many.routes[0]


class _Call(NamedTuple):
    """What the head of a call asks for.

    Args:
        model: Named in the path.
        stream: Named in the path; ``None`` where each item of the body names its own.
        experts: Whether the answer is to say what each expert said.
    """

    model: str
    stream: str | None
    experts: bool


class HotRoutes:
    """``POST`` of observations, one or many in a body, as plain ASGI.

    Args:
        app: Answers every other call, and those that are not in order.
        state: The application's; its engines are there once its lifespan has begun.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        call = _call(scope)
        return self._app(scope, receive, send) if call is None else self._serve(call, scope, receive, send)

    async def _serve(self, call: _Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or hand it on with what was read of it."""
        body = _Body(receive)
        try:
            content = await self._answer(call, body, scope)
        except ServiceError as error:
            self._state.metrics.count_errors([error])
            await respond(error, scope["state"]["request_id"])(scope, receive, send)
            return
        if content is None:
            await self._app(scope, body.receive, send)
            return
        length = b"%d" % len(content)
        headers = [(b"content-length", length), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, call: _Call, body: _Body, scope: Scope) -> bytes | None:
        """Learn what was sent; ``None`` if that is for the route."""
        state = self._state
        engine = state.engines.ready(call.model)
        if engine is None:
            return None
        scope["route"] = _MANY if call.stream is None else _ONE  # what refusals are counted under, too
        if call.stream is None:
            engine.refuse_if_crowded()  # before many items are read
        content = await body.read()
        if content is None or not engine.is_open:
            return None
        columns = self._columns(engine.columns, content, call.stream)
        if columns is None:
            return None
        answers = await engine.submit(columns, experts=call.experts)
        if call.stream is None:
            state.metrics.count_errors(answers)
            return render_results(answers, scope["state"]["request_id"])
        answer: Answer = answers[0]
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def _columns(self, reader: ColumnReader, content: bytes, stream: str | None) -> Columns | None:
        if stream is not None:
            return reader.one(content, stream)
        read = reader.rows(content)
        if read is None:
            return None
        rows, is_many = read
        return reader.columns(rows) if is_many and 0 < len(rows) <= self._state.settings.max_items_per_request else None


def _call(scope: Scope) -> _Call | None:
    """What is called, if it is one of the calls here and its head is a plain one."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["root_path"]:
        return None
    path, experts = _PATH.fullmatch(scope["path"]), _EXPERTS.get(scope["query_string"])
    if path is None or experts is None:
        return None
    if header(scope, b"content-type").partition(";")[0].rstrip().lower() != "application/json":
        return None
    return _Call(path[1], path[2], experts)


class _Body:
    """A request's body, which can be read here and then once more.

    Args:
        receive: Gives it.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []

    async def read(self) -> bytes | None:
        """All of it; ``None`` if it does not come to its end."""
        while True:
            message = await self._receive()
            self._read.append(message)
            if message["type"] != "http.request":
                return None
            if not message.get("more_body", False):
                break
        if len(self._read) == 1:
            content: bytes = message.get("body", b"")
            return content
        return b"".join(part.get("body", b"") for part in self._read)

    async def receive(self) -> Message:
        """What was read, from its beginning; then what comes after it."""
        return self._read.pop(0) if self._read else await self._receive()
