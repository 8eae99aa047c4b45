"""What streams of a spec take, before there is a model of it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service import documents
from service.api.routes import ANY, BODY, Engines, SpecRoute, error_docs, json_response
from service.errors import InvalidRequest, InvalidSpec
from service.schemas import SizeIn

router = APIRouter(route_class=SpecRoute, prefix="/v1/size", tags=["models"])


@router.post("", response_model=documents.Size, responses=error_docs(*BODY, *ANY, InvalidSpec, InvalidRequest))
async def size(body: SizeIn, engines: Engines) -> Response:
    """Tell what streams of a spec take in the store, and a model of it in the service; creates nothing."""
    try:
        spec = body.spec.to_spec()
    except ValueError as error:
        raise InvalidSpec(str(error)) from error
    found = await engines.size(spec, body.streams)
    return json_response(found.to_dict())
