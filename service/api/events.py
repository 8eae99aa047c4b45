"""Replies as they are made, as server-sent events.

The response is Starlette's streaming one, with a bound on how long a client may take nothing: that needs the connection
itself. Libraries for such responses encode each event for each reader anew, and know nothing of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from service.api.connection import LASTING, connection_of
from service.api.routes import STORE, Engines, JsonRoute, ModelName, Settings, error_docs
from service.errors import Draining, InvalidRequest, InvalidSpec, UnknownModel
from service.events import Reader
from service.metrics import Metrics
from service.schemas import StreamId

MAX_FILTER = 100
"""Most streams that a reader may name."""

LAST_WORDS_S = 1.0
"""Longest wait for a client to take what it is sent, once nothing comes any more."""

CUT_OFF = b": cut off\n\n"

HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has many
}

_EXAMPLE = """retry: 1000
id: 5f0c9b1d2e3a-41

id: 5f0c9b1d2e3a-42
data: {"stream":"site-7","sequence":17,"duplicate":false,"score":{…},"prediction":{…},"item":{…},"timestamp":null}

event: missed
data: {"missed":12}

: heartbeat

event: end
data: {"error":{"code":"draining","message":"the service is shutting down","request_id":"…","retry_after_s":1}}
"""

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}/events", tags=["observations"])


class EventStream(StreamingResponse):
    """Sends what a reader is given, until it ends, or the client goes or takes nothing for too long.

    Args:
        reading: Holds the reader.
        check: Returns if there is something to be read; what it raises is the answer.
        heartbeat_s: Longest silence.
        slow_reader_s: Longest wait for the client.
        metrics: Count readers.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        reading: AbstractContextManager[Reader],
        check: Callable[[], Awaitable[object]],
        heartbeat_s: float,
        slow_reader_s: float,
        metrics: Metrics,
    ) -> None:
        super().__init__((), headers=HEADERS)
        self._reading = reading
        self._check = check
        self._heartbeat_s = heartbeat_s
        self._slow_reader_s = slow_reader_s
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self._reading as reader:
            await self._check()  # after the reader is there: a model that goes from now on ends it
            scope["state"][LASTING] = True
            pieces = reader.run(self._heartbeat_s, scope["state"]["request_id"])
            with self._metrics.event_readers.track_inprogress():
                async with aclosing(pieces) as self.body_iterator:
                    await self._send_all(reader, scope, receive, send)

    async def _send_all(self, reader: Reader, scope: Scope, receive: Receive, send: Send) -> None:
        patience = _Patience(send, self._slow_reader_s)
        reader.on_end = patience.hurry
        try:
            await super().__call__(scope, receive, patience)
        except TimeoutError:
            connection = connection_of(scope)
            if connection is not None:
                connection.cut_off(0, "", CUT_OFF)


class _Patience:
    """Sends messages, and waits for each to be taken for so long and no longer.

    Args:
        send: To the client.
        limit_s: Longest wait.
    """

    def __init__(self, send: Send, limit_s: float) -> None:
        self._send = send
        self._limit_s = limit_s
        self._waiting: asyncio.Timeout | None = None

    async def __call__(self, message: Message) -> None:
        """Send one message.

        Raises:
            TimeoutError: If it was not taken.
        """
        try:
            async with asyncio.timeout(self._limit_s) as self._waiting:
                await self._send(message)
        finally:
            self._waiting = None

    def hurry(self) -> None:
        """Wait no longer than ``LAST_WORDS_S`` from now on."""
        self._limit_s = min(self._limit_s, LAST_WORDS_S)
        if self._waiting is not None:
            soon_s = asyncio.get_running_loop().time() + self._limit_s
            self._waiting.reschedule(min(soon_s, self._waiting.when() or soon_s))


@router.get(
    "",
    status_code=200,
    response_class=Response,  # of errors the type is JSON
    responses={
        200: {
            "description": "Events, until the client goes or `end` comes.",
            "content": {"text/event-stream": {"example": _EXAMPLE}},
        },
        **error_docs(UnknownModel, InvalidSpec, InvalidRequest, Draining, *STORE),
    },
)
async def follow(
    model: ModelName,
    request: Request,
    engines: Engines,
    settings: Settings,
    stream: Annotated[
        list[StreamId],
        Query(max_length=MAX_FILTER, default_factory=list, description="Streams to follow; all where none is named."),
    ],
    last_event_id: Annotated[
        str, Header(description="The last event that was had: those after it come first, as far as they are kept.")
    ] = "",
    after: Annotated[
        str, Query(description="The same, where a header cannot be sent; the header goes before it.")
    ] = "",
) -> Response:
    """Follow replies as they are made, as server-sent events: each once, those of a stream in their order.

    A message is the reply with its `item` and `timestamp`. `missed` comes where some were passed over: how many, or
    `null` where that cannot be told, as after the service began anew, or where streams are named. `end` is the last
    one, with an error: `unknown_model` once the model is deleted, `draining` when the service shuts down.

    Some thousand events of a model are kept while somebody follows it, and for two minutes after. Nobody waits for a
    slow reader; one that takes nothing for `slow_reader_s` is cut off. Where several instances share a store, an
    instance tells what it learned itself: follow the one that has the model.
    """
    return EventStream(
        engines.events.reading(model, stream, last_event_id or after or None),
        lambda: engines.catalogue.record(model),
        settings.heartbeat_s,
        settings.slow_reader_s,
        request.app.state.metrics,
    )
