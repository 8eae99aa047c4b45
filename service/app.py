"""The application: the only place where its parts are wired together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service import __version__
from service.api import (
    archives,
    events,
    failures,
    health,
    models,
    observations,
    openapi,
    sequences,
    sizes,
    snapshots,
    socket,
    stream_snapshots,
    streams,
)
from service.api.feeds import Feeds
from service.api.hot import HotRoutes
from service.api.middleware import OPEN_PATHS, BodyLimit, Gate, RequestContext, api_keys, crowd
from service.api.origins import cors, origins
from service.compute import ComputeThread
from service.engines import Engines
from service.metrics import Metrics
from service.settings import Settings
from service.store_access import StoreAccess

log = logging.getLogger("stepahead")

DESCRIPTION = """
Predicts the next item of every stream it is fed, and learns from each item the moment it arrives.

Create a **model**, then send each stream's items in order. Each reply scores the prediction that awaited the item and
gives the next one. Every error is `{"error": {"code", "message", "request_id", …}}`.
"""

FRAMES = """
Items one by one, many at once, or over a connection that lasts: `POST /v1/models/{model}/observations` with
`Content-Type: application/x-ndjson`, or a WebSocket at `/v1/models/{model}/socket`. Both take `?experts=true`.

Over both, **frames** are answered in their order, each by one, and need not wait for each other. A frame is a line or
a message, one JSON object: an observation `{"stream", "item", "sequence"?, "timestamp"?}`, answered by the reply;
`{"observations": […]}`, answered by `{"results": […]}`; or `{"streams": […]}`, answered by `{"sequences", "window"}`
once all before it is. What is wrong with a frame is answered by `{"error"}`, and the connection goes on. Of a
connection no more than `window.items` are taken in before their answers are written; of one stream no more than
`window.per_stream` should await their answers, so that each can be sent again.

NDJSON: lines are answered while the body arrives; blank ones say nothing, in either direction. Where the service ends
the answer, its last line is `{"error", "final": true}`.

WebSocket: a key goes into the header `Authorization`, or, from a browser, into the subprotocol
`stepahead.key.` + base64url of the key without padding, offered beside `stepahead`. What refuses the handshake is
answered as HTTP. It is closed with 1009 `body_too_large`, 1011 `internal`, 1012 `draining`, or 4000 and the error's
status.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; it starts and ends with its lifespan.

    The lifespan raises what keeps the service from starting: ``EmbeddedServerError``, ``StoreUnavailable`` for the
    service's own store, ``ValueError`` for a malformed URL.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        access = StoreAccess(settings)
        store = await access.open()
        compute, reading = ComputeThread("learner", settings.threads), ComputeThread("reader", settings.threads)
        engines = Engines(store, compute, reading, settings, metrics)
        app.state.engines, app.state.store_access = engines, access
        try:
            yield
            await engines.drain()
        finally:
            if not engines.aborted:
                compute.close()
                reading.close()
            await access.close()

    app = _Application(
        title="stepahead",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=[{"name": "observations", "description": FRAMES}],
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.settings, app.state.metrics, app.state.feeds = settings, metrics, Feeds()
    for router in (
        models.router,
        snapshots.router,
        observations.router,
        observations.many,
        sequences.router,
        streams.router,
        events.router,
        stream_snapshots.router,
        archives.router,
        sizes.router,
        health.router,
        socket.router,
    ):
        app.include_router(router)
    failures.install(app)
    openapi.install(app, OPEN_PATHS, settings)
    return app


class _Application(FastAPI):
    """FastAPI behind what every call passes, and behind the calls that are made most."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        else:
            await self._outermost(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """What FastAPI puts around the routes, but for what answers any other failure: RequestContext does."""
        outermost = super().build_middleware_stack()
        if not isinstance(outermost, ServerErrorMiddleware):
            raise TypeError("FastAPI's outermost layer is not the one that answers any other failure")
        return outermost.app

    @cached_property
    def _outermost(self) -> ASGIApp:
        settings, metrics = self.state.settings, self.state.metrics
        app: ASGIApp = HotRoutes(super().__call__, self.state)
        app = BodyLimit(
            app,
            max_bytes=settings.max_body_bytes,
            max_archive_bytes=settings.max_archive_bytes,
            timeout_s=settings.body_timeout_s,
            metrics=metrics,
        )
        checks = [crowd(settings.max_connections), origins(settings.origins)]
        app = Gate(app, [*checks, api_keys(settings.keys)] if settings.keys else checks, metrics)
        if settings.origins:
            app = cors(app, settings.origins)
        return RequestContext(app, metrics)
