"""Snapshots of a model's weights: keep, list, restore, delete."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from service import documents
from service.api.models import describe
from service.api.routes import BODY, ENGINE, STORE, Engines, JsonRoute, ModelName, SnapshotId, error_docs, json_response
from service.errors import DamagedSnapshot, InvalidRequest, UnknownModel, UnknownSnapshot
from service.schemas import SnapshotIn
from service.store import KeptSnapshot
from service.views import iso_time

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}/snapshots", tags=["models"])


@router.post(
    "",
    response_model=documents.ModelSnapshotInfo,
    status_code=201,
    responses=error_docs(*BODY, *ENGINE, InvalidRequest),
)
async def keep_weights(model: ModelName, engines: Engines, body: SnapshotIn | None = None) -> Response:
    """Keep what the model has learned so far. Beyond the service's `max_snapshots` it is `overloaded`: delete one."""
    async with engines.use(model) as engine:
        return json_response(_described(await engine.snapshots.keep(None if body is None else body.name)), 201)


@router.get(
    "",
    response_model=documents.ModelSnapshots,
    responses=error_docs(UnknownModel, InvalidRequest, *STORE),
)
async def list_weights(model: ModelName, engines: Engines) -> Response:
    """List the model's snapshots, the newest first."""
    return json_response({"snapshots": [_described(kept) for kept in await engines.catalogue.kept_weights(model)]})


@router.post(
    "/{snapshot}/restore",
    response_model=documents.ModelInfo,
    responses=error_docs(*ENGINE, UnknownSnapshot, DamagedSnapshot, InvalidRequest),
)
async def restore_weights(model: ModelName, snapshot: SnapshotId, engines: Engines) -> Response:
    """Go on with what the model had learned then, from the next item on; all streams keep their beliefs.

    The weights get a version of their own, above all before. The snapshot stays.
    """
    await engines.restore_weights(model, snapshot)
    return json_response(await describe(model, await engines.catalogue.record(model), engines))


@router.delete("/{snapshot}", status_code=204, responses=error_docs(*ENGINE, UnknownSnapshot, InvalidRequest))
async def drop_weights(model: ModelName, snapshot: SnapshotId, engines: Engines) -> Response:
    """Delete a snapshot; the model stays as it is."""
    async with engines.use(model) as engine:
        await engine.snapshots.drop(snapshot)
        return Response(status_code=204)


def _described(kept: KeptSnapshot) -> dict[str, Any]:
    return {
        "id": kept.id,
        "name": kept.name,
        "weights_version": kept.weights_version,
        "bytes": kept.n_bytes,
        "created_at": None if kept.created_us is None else iso_time(kept.created_us),
    }
