"""Where streams are: how far each has come, and how far a caller may go ahead."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service.api import frames, routes
from service.api.routes import BODY, ENGINE, Engines, JsonRoute, ModelName, Settings, error_docs
from service.documents import Sequences
from service.errors import InvalidRequest
from service.schemas import StreamsIn

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}", tags=["observations"])


@router.post("/sequences", response_model=Sequences, responses=error_docs(*BODY, *ENGINE, InvalidRequest))
async def sequences(model: ModelName, body: StreamsIn, engines: Engines, settings: Settings) -> Response:
    """Say which item of each stream was applied last.

    A caller that numbers its items and was cut off goes on from there. Items whose answers are still due may be
    applied after it was read.
    """
    streams = frames.read_streams(body, settings.max_items_per_request)
    async with engines.use(model) as engine:
        found = await engine.sequences(streams)
    return routes.json_bytes(frames.render_sequences(streams, found, settings))
