"""The application: the only place where its parts are wired together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service import __version__
from service.api import (
    archives,
    failures,
    health,
    models,
    observations,
    openapi,
    sizes,
    snapshots,
    stream_snapshots,
    streams,
)
from service.api.middleware import OPEN_PATHS, ApiKeys, BodyLimit, Crowd, RequestContext
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

    app = FastAPI(
        title="stepahead", version=__version__, description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False
    )
    app.state.settings, app.state.metrics = settings, metrics
    for part in (models, snapshots, observations, streams, stream_snapshots, archives, sizes, health):
        app.include_router(part.router)
    failures.install(app)
    openapi.install(app, OPEN_PATHS, settings)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        max_archive_bytes=settings.max_archive_bytes,
        timeout_s=settings.body_timeout_s,
        metrics=metrics,
    )
    app.add_middleware(ApiKeys, keys=settings.keys, metrics=metrics)
    app.add_middleware(Crowd, max_connections=settings.max_connections, metrics=metrics)
    app.add_middleware(RequestContext, metrics=metrics)  # added last: it is the outermost
    return app
