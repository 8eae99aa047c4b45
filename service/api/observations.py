"""Observing items: one, or many in one request."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.api import routes
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
from service.batcher import Observation
from service.documents import Reply, Results
from service.errors import InvalidItem, InvalidRequest, SequenceGap, SequenceStale, ServiceError
from service.schemas import ObservationIn, ObservationsIn, StreamObservationIn

router = APIRouter(route_class=ObservationRoute, prefix="/v1/models/{model}", tags=["observations"])


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


@router.post("/observations", response_model=Results, responses=error_docs(*BODY, *ENGINE, InvalidItem, InvalidRequest))
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
    """
    if len(body.observations) > settings.max_items_per_request:
        raise InvalidItem(f"at most {settings.max_items_per_request} observations fit one request")
    async with engines.use(model) as engine:
        answers = await engine.submit([read_observation(value) for value in body.observations], experts=experts)
    request_id = request.state.request_id
    results = (a if isinstance(a, bytes) else orjson.dumps(a.to_dict(request_id)) for a in answers)
    request.app.state.metrics.count_errors(answers)
    return routes.json_bytes(b'{"results":[' + b",".join(results) + b"]}")


def read_observation(value: Any) -> Observation | InvalidItem:
    """One observation with its stream, or what is wrong with it."""
    try:
        observation = StreamObservationIn.model_validate(value)
    except ValidationError as error:
        return InvalidItem(routes.describe(error.errors(include_url=False)))
    return observation.to_observation(observation.stream)
