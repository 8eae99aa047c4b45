"""Copies of streams: forks, and snapshots to go back to."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service import documents, stream_copies
from service.api.routes import (
    BODY,
    ENGINE,
    Engines,
    JsonRoute,
    ModelName,
    Settings,
    SnapshotId,
    StreamPath,
    error_docs,
    json_response,
)
from service.errors import InvalidRequest, StreamExists, UnknownSnapshot, UnknownStream
from service.schemas import ForkIn, SnapshotIn

router = APIRouter(route_class=JsonRoute, prefix="/v1/models/{model}/streams/{stream}", tags=["streams"])


@router.post(
    "/fork",
    response_model=documents.StreamSummary,
    status_code=201,
    responses=error_docs(*BODY, *ENGINE, UnknownStream, StreamExists, InvalidRequest),
)
async def fork_stream(model: ModelName, stream: StreamPath, body: ForkIn, engines: Engines) -> Response:
    """Create a stream that goes on from where this one is; from then on each learns its own items.

    The fork's next item is the one after this stream's last. Replies and snapshots stay with this stream: a resend
    of an earlier item to the fork is answered `sequence_stale`.
    """
    async with engines.use(model) as engine:
        return json_response(await stream_copies.fork(engine, stream, body.to), 201)


@router.post(
    "/snapshots",
    response_model=documents.StreamSnapshotInfo,
    status_code=201,
    responses=error_docs(*BODY, *ENGINE, UnknownStream, InvalidRequest),
)
async def keep_snapshot(
    model: ModelName, stream: StreamPath, engines: Engines, settings: Settings, body: SnapshotIn | None = None
) -> Response:
    """Keep what the stream is now. Beyond the service's `max_snapshots` it is `overloaded`: delete one first."""
    async with engines.use(model) as engine:
        name = None if body is None else body.name
        return json_response(await stream_copies.keep_snapshot(engine, stream, name, most=settings.max_snapshots), 201)


@router.get(
    "/snapshots",
    response_model=documents.StreamSnapshots,
    responses=error_docs(*ENGINE, UnknownStream, InvalidRequest),
)
async def list_snapshots(model: ModelName, stream: StreamPath, engines: Engines) -> Response:
    """List the stream's snapshots, the newest first."""
    async with engines.use(model) as engine:
        return json_response({"snapshots": await stream_copies.list_snapshots(engine, stream)})


@router.post(
    "/snapshots/{snapshot}/restore",
    response_model=documents.StreamSummary,
    responses=error_docs(*ENGINE, UnknownStream, UnknownSnapshot, InvalidRequest),
)
async def restore_snapshot(model: ModelName, stream: StreamPath, snapshot: SnapshotId, engines: Engines) -> Response:
    """Take the stream back to a snapshot: what it believed, and its sequence.

    The next item is the one after the snapshot's. Replies to items after it are forgotten. The snapshot stays, and the
    model's weights keep what they have learned.
    """
    async with engines.use(model) as engine:
        return json_response(await stream_copies.restore_snapshot(engine, stream, snapshot))


@router.delete(
    "/snapshots/{snapshot}",
    status_code=204,
    responses=error_docs(*ENGINE, UnknownStream, UnknownSnapshot, InvalidRequest),
)
async def drop_snapshot(model: ModelName, stream: StreamPath, snapshot: SnapshotId, engines: Engines) -> Response:
    """Delete a snapshot; the stream stays as it is."""
    async with engines.use(model) as engine:
        await stream_copies.drop_snapshot(engine, stream, snapshot)
        return Response(status_code=204)
