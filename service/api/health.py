"""Whether the service lives and is ready, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from service import documents
from service.api.routes import ANY, Engines, error_docs, json_response
from service.errors import Draining, StoreUnavailable

router = APIRouter(tags=["service"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_model=documents.Health)
async def alive() -> Response:
    """Answer as long as the process lives."""
    return json_response({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=documents.Health, responses=error_docs(StoreUnavailable, Draining))
async def ready(engines: Engines, request: Request) -> Response:
    """Answer 200 while items should be sent: the store answers, and the service is not about to shut down."""
    if engines.leaving:
        raise Draining
    await request.app.state.store_access.check()
    return json_response({"status": "ready"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **error_docs(*ANY)})
async def metrics(request: Request) -> Response:
    """All instruments, in the Prometheus text format."""
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def front() -> Response:
    """Lead a person to the documentation."""
    return RedirectResponse("/docs")
