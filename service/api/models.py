"""Models: create, list, read, change, delete."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from model.spec import ModelSpec, check_model_name
from service import documents
from service.api.routes import BODY, ENGINE, STORE, Engines, ModelName, SpecRoute, error_docs, json_response
from service.errors import Draining, InvalidRequest, InvalidSpec, ModelExists, UnknownModel
from service.model_record import ModelRecord
from service.schemas import ModelPatchIn, ModelSpecIn
from service.views import iso_time

router = APIRouter(route_class=SpecRoute, prefix="/v1/models", tags=["models"])


@router.put(
    "/{model}",
    response_model=documents.ModelInfo,
    status_code=201,
    responses={
        200: {"model": documents.ModelInfo, "description": "It was there already, with the same spec."},
        **error_docs(*BODY, ModelExists, InvalidSpec, InvalidRequest, Draining, *STORE),
    },
)
async def create_model(model: ModelName, body: ModelSpecIn, engines: Engines) -> Response:
    """Create a model. The same spec again changes nothing; another spec is answered `model_exists`."""
    try:
        name, spec = check_model_name(model), body.to_spec()
    except ValueError as error:
        raise InvalidSpec(str(error)) from error
    record, created = await engines.create(name, spec)
    return json_response(await describe(name, record, engines), 201 if created else 200)


@router.get("", response_model=documents.Models, responses=error_docs(*STORE))
async def list_models(engines: Engines) -> Response:
    """List all models, in the order of their names."""
    records = await engines.catalogue.records()
    return json_response({"models": [await describe(name, record, engines) for name, record in records.items()]})


@router.get("/{model}", response_model=documents.ModelInfo, responses=error_docs(UnknownModel, InvalidSpec, *STORE))
async def read_model(model: ModelName, engines: Engines) -> Response:
    """Read a model's spec and where it stands."""
    return json_response(await describe(model, await engines.catalogue.record(model), engines))


@router.patch(
    "/{model}",
    response_model=documents.ModelInfo,
    responses=error_docs(*BODY, *ENGINE, InvalidSpec, InvalidRequest),
)
async def change_model(model: ModelName, body: ModelPatchIn, engines: Engines) -> Response:
    """Change what may change while a model runs; takes effect from the next item."""

    def change(spec: ModelSpec) -> ModelSpec:
        try:
            return body.apply(spec)
        except ValueError as error:
            raise InvalidSpec(str(error)) from error

    return json_response(await describe(model, await engines.change(model, change), engines))


@router.delete("/{model}", status_code=204, responses=error_docs(UnknownModel, InvalidSpec, *STORE))
async def delete_model(model: ModelName, engines: Engines) -> Response:
    """Delete a model with all its streams."""
    await engines.delete(model)
    return Response(status_code=204)


async def describe(name: str, record: ModelRecord, engines: Engines) -> dict[str, Any]:
    """A model as callers see it."""
    return {
        "name": name,
        "spec": record.spec.to_dict(),
        "streams": await engines.catalogue.count_streams(name),
        "weights_version": engines.weights_version(name),
        "created_at": iso_time(record.created_us),
    }
