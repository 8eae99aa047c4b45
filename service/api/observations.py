"""Observing items: one, or many in one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api import frames, ndjson, routes
from service.api.routes import (
    BODY,
    ENGINE,
    Engines,
    ModelName,
    ObservationRoute,
    Settings,
    StreamPath,
    WithExperts,
    error_docs,
)
from service.documents import Reply, Results
from service.errors import InvalidItem, InvalidRequest, SequenceGap, SequenceStale, ServiceError
from service.schemas import ObservationIn, ObservationsIn

LINES_IN: dict[str, Any] = {
    ndjson.TYPE: {
        "schema": {"type": "string", "description": "A frame in each line, for as long as the sender likes."},
        "example": '{"stream": "site-7", "item": {"load": 3.2}}\n{"streams": ["site-7"]}\n',
    }
}
LINES_OUT: dict[str, Any] = {
    ndjson.TYPE: {"schema": {"type": "string", "description": "The answer to each frame in a line, in their order."}}
}


class ManyRoute(ObservationRoute):
    """A route that takes items as one body, or line by line for as long as the sender likes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle a request by the type of its body."""
        handle = super().get_route_handler()

        async def handle_either(request: Request) -> Response:
            if not ndjson.is_streamed(request.headers.get("content-type", "")):
                return await handle(request)
            model = request.path_params["model"]
            response = ndjson.LinesResponse(request, model)
            await request.app.state.engines.get(model)  # what keeps it from being used is answered before the head
            return response

        return handle_either


router = APIRouter(route_class=ObservationRoute, prefix="/v1/models/{model}", tags=["observations"])
many = APIRouter(route_class=ManyRoute, prefix="/v1/models/{model}", tags=["observations"])


@router.post(
    "/streams/{stream}/observations",
    response_model=Reply,
    responses=error_docs(*BODY, *ENGINE, SequenceGap, SequenceStale, InvalidItem, InvalidRequest),
)
async def observe(
    model: ModelName, stream: StreamPath, body: ObservationIn, engines: Engines, experts: WithExperts = False
) -> Response:
    """Score the prediction this item was awaited for, learn from it, and give the next one.

    The reply leaves only once the new belief is durable, so sending the same `sequence` again returns the same
    reply, marked `duplicate`, and learns nothing twice. What experts said is part of the kept reply if the first
    sending asked for it; a resend shows it if it asks too.
    """
    async with engines.use(model) as engine:
        (answer,) = await engine.submit([body.to_observation(stream)], experts=experts)
    if isinstance(answer, ServiceError):
        raise answer
    return routes.json_bytes(answer)


@many.post(
    "/observations",
    response_model=Results,
    responses={200: {"content": LINES_OUT}, **error_docs(*BODY, *ENGINE, InvalidItem, InvalidRequest)},
    openapi_extra={"requestBody": {"content": LINES_IN}},
)
async def observe_many(
    model: ModelName,
    body: ObservationsIn,
    engines: Engines,
    settings: Settings,
    request: Request,
    experts: WithExperts = False,
) -> Response:
    """Observe many items of any streams; the results are in their order.

    Several items of one stream are learned in their order. A bad item gets its `error` in its place and changes
    nothing; the others go on. Where the queue has no room for all of them none is taken, and the whole request is
    answered `overloaded`.

    With `Content-Type: application/x-ndjson` the answer leaves while the body still arrives, line for line: see
    *observations* above.
    """
    observations = frames.read_observations(body, settings.max_items_per_request)
    async with engines.use(model) as engine:
        answers = await engine.submit(observations, experts=experts)
    request.app.state.metrics.count_errors(answers)
    return routes.json_bytes(frames.render_results(answers, request.state.request_id))
