"""Streams: list, summary, delete, prediction, belief, history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service import documents, views
from service.api.routes import (
    ENGINE,
    STORE,
    Engines,
    JsonRoute,
    ModelName,
    Settings,
    StreamPath,
    WithExperts,
    error_docs,
    json_bytes,
    json_response,
)
from service.errors import InvalidRequest, InvalidSpec, UnknownModel, UnknownStream

MAX_PAGE = 1000

HISTORY = 20
"""Items of a history, where nothing else is said and so many are kept."""

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}/streams", tags=["streams"])


@router.get("", response_model=documents.Streams, responses=error_docs(*ENGINE, InvalidRequest))
async def list_streams(
    model: ModelName,
    engines: Engines,
    cursor: Annotated[str, Query(description="The `cursor` of the page before; absent for the first.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most streams in the page.")] = 100,
) -> Response:
    """List a model's streams in the order of their names, a page at a time."""
    async with engines.use(model) as engine:
        page, following = await engine.reader.read_page(cursor, limit, views.summary)
        return json_response({"streams": page, "cursor": following})


@router.get(
    "/{stream}", response_model=documents.StreamSummary, responses=error_docs(*ENGINE, UnknownStream, InvalidRequest)
)
async def read_stream(model: ModelName, stream: StreamPath, engines: Engines) -> Response:
    """Read where a stream stands and how well it is predicted."""
    async with engines.use(model) as engine:
        return json_response(await engine.reader.read(stream, views.summary))


@router.delete("/{stream}", status_code=204, responses=error_docs(*ENGINE, UnknownStream, InvalidRequest))
async def delete_stream(model: ModelName, stream: StreamPath, engines: Engines) -> Response:
    """Delete a stream with all it carries; its next item starts it anew."""
    async with engines.use(model) as engine:
        await engine.delete_stream(stream)
        return Response(status_code=204)


@router.get(
    "/{stream}/prediction",
    response_model=documents.Forecasts,
    responses=error_docs(*ENGINE, UnknownStream, InvalidRequest),
)
async def predict(
    model: ModelName,
    stream: StreamPath,
    engines: Engines,
    settings: Settings,
    horizon: Annotated[int, Query(ge=1, description="Items to predict ahead, up to the service's bound.")] = 1,
    experts: WithExperts = False,
) -> Response:
    """Predict the next items; changes nothing.

    What experts said is shown of the first item; those after it are read off sample paths of the mix.
    """
    if horizon > settings.max_horizon:
        raise InvalidRequest(f"horizon: at most {settings.max_horizon}", max_horizon=settings.max_horizon)
    async with engines.use(model) as engine:
        return json_response(await engine.reader.read(stream, views.forecast_of(horizon, with_experts=experts)))


@router.get(
    "/{stream}/belief",
    response_model=documents.BeliefView,
    responses=error_docs(*ENGINE, UnknownStream, InvalidRequest),
)
async def read_belief(model: ModelName, stream: StreamPath, engines: Engines) -> Response:
    """Inspect a belief: its state and gates, and the item decoded from it before and after the last correction."""
    async with engines.use(model) as engine:
        return json_response(await engine.reader.read(stream, views.belief_inspected))


@router.get(
    "/{stream}/history",
    response_model=documents.History,
    responses=error_docs(UnknownModel, UnknownStream, InvalidSpec, InvalidRequest, *STORE),
)
async def read_history(
    model: ModelName,
    stream: StreamPath,
    engines: Engines,
    settings: Settings,
    limit: Annotated[int | None, Query(ge=1, description="Most items, up to as many as the service keeps.")] = None,
) -> Response:
    """Read a stream's last items, oldest first: what was observed, what had been predicted, how good that was.

    They are kept with the replies. A stream that was forked or imported has none until its next item. One that went
    back to a snapshot tells what its belief has seen, as far back as that can be told.
    """
    kept = settings.kept_replies
    if limit is not None and limit > kept:
        raise InvalidRequest(f"limit: at most {kept}", kept_replies=kept)
    return json_bytes(await engines.history.read(model, stream, min(HISTORY, kept) if limit is None else limit))
