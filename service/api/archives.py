"""Models and streams as files: export and import."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from model.spec import check_model_name
from service import archives, documents
from service.api.models import describe
from service.api.routes import (
    BODY,
    ENGINE,
    STORE,
    Engines,
    JsonRoute,
    ModelName,
    Settings,
    StreamPath,
    error_docs,
    json_response,
)
from service.errors import (
    ArchiveTooLarge,
    Draining,
    InvalidArchive,
    InvalidRequest,
    ModelExists,
    StreamExists,
    UnknownStream,
)

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}", tags=["archives"])

MEDIA_TYPE = "application/octet-stream"

_FILE: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
_AS_BODY = {"requestBody": {"required": True, **_FILE}}
_AS_ANSWER: dict[int | str, dict[str, Any]] = {200: {"description": "A safetensors file.", **_FILE}}


@router.get(
    "/archive",
    response_class=Response,
    responses={**_AS_ANSWER, **error_docs(*ENGINE, ArchiveTooLarge, InvalidRequest)},
)
async def export_model(
    model: ModelName,
    engines: Engines,
    settings: Settings,
    streams: Annotated[
        Literal["none", "all"], Query(description="Whether the beliefs of the model's streams go with it.")
    ] = "none",
) -> Response:
    """Export a model as a safetensors file: spec, weights, optimiser state, vocabulary and counts.

    With `streams=all` nothing is learned while the streams are read. Where the file would be over the service's
    `max_archive_bytes` it is `archive_too_large`.
    """
    async with engines.use(model) as engine:
        with_streams, most = streams == "all", settings.max_archive_bytes
        data = await archives.export_model(engine, with_streams=with_streams, max_bytes=most)
        return _file(data, model)


@router.put(
    "/archive",
    response_model=documents.ModelInfo,
    status_code=201,
    responses=error_docs(*BODY, ModelExists, InvalidArchive, InvalidRequest, Draining, *STORE),
    openapi_extra=_AS_BODY,
)
async def import_model(model: ModelName, engines: Engines, request: Request) -> Response:
    """Create a model from its file, under any name; it goes on, to the bit, where the exported one stood.

    A file that cannot be used is `invalid_archive`, and nothing is created.
    """
    try:
        name = check_model_name(model)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    record = await archives.import_model(engines, name, await request.body())
    return json_response(await describe(name, record, engines), 201)


@router.get(
    "/streams/{stream}/archive",
    response_class=Response,
    responses={**_AS_ANSWER, **error_docs(*ENGINE, UnknownStream, InvalidRequest)},
)
async def export_stream(model: ModelName, stream: StreamPath, engines: Engines) -> Response:
    """Export a stream as a safetensors file: its belief, its sequence, and the spec of its model."""
    async with engines.use(model) as engine:
        return _file(await archives.export_stream(engine, stream), f"{model}.{stream}")


@router.put(
    "/streams/{stream}/archive",
    response_model=documents.StreamSummary,
    status_code=201,
    responses=error_docs(*BODY, *ENGINE, StreamExists, InvalidArchive, InvalidRequest),
    openapi_extra=_AS_BODY,
)
async def import_stream(model: ModelName, stream: StreamPath, engines: Engines, request: Request) -> Response:
    """Create a stream from its file, in the model that it was of or another that is like it.

    Fields, network, experts and the values known of each category must be the same; where they are not it is
    `invalid_archive`, and the message says what differs. It goes on under the weights of the model that it comes to.
    """
    async with engines.use(model) as engine:
        return json_response(await archives.import_stream(engine, stream, await request.body()), 201)


def _file(data: bytes, name: str) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}.safetensors"
    return Response(data, media_type=MEDIA_TYPE, headers={"Content-Disposition": disposition})
