"""What models are and take, and what is kept of them and of their streams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stepahead.types.record import Record


@dataclass(frozen=True, slots=True)
class ModelInfo(Record):
    """A model as the server describes it.

    Args:
        name: Its name.
        spec: Its spec, as plain JSON values.
        weights_version: Weight updates so far; ``None`` where the server does not say.
        streams: How many it has; ``None`` where the server does not say.
        created_at: When it was created or imported; ``None`` where the server does not say.
    """

    name: str
    spec: dict[str, Any]
    weights_version: int | None
    streams: int | None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot(Record):
    """A state of a stream, or of a model's weights, that is kept to go back to; of a damaged one little is known.

    Args:
        id: What ``restore`` and ``delete_snapshot`` take.
        name: As it was given; ``None`` for none.
        created_at: When it was taken.
        bytes: What it takes in the service's store.
        sequence: Of the last item that a stream had seen; ``None`` for a model's.
        weights_version: Weight updates that a model's holds; ``None`` for a stream's.
    """

    id: str
    name: str | None
    created_at: datetime | None
    bytes: int | None
    sequence: int | None = None
    weights_version: int | None = None


@dataclass(frozen=True, slots=True)
class Size(Record):
    """What streams of a model take, in bytes where the name says so; ``None`` where the server does not say.

    Args:
        streams: How many were asked about.
        belief_bytes: A belief as it is written.
        reply_bytes: A kept reply, without what experts said.
        kept_replies: Replies kept per stream.
        key_bytes: What the store adds for a stream.
        stream_bytes: A stream that keeps all the replies it may, in the store.
        streams_bytes: All streams.
        snapshot_bytes: The saved weights, the current and the previous ones, at most.
        redo_bytes: The redo log, at most.
        store_bytes: All of it in the store's memory.
        memory_bytes: The model in the service's memory while it is in use, at most.
    """

    streams: int
    store_bytes: int
    memory_bytes: int
    belief_bytes: int | None = None
    reply_bytes: int | None = None
    kept_replies: int | None = None
    key_bytes: int | None = None
    stream_bytes: int | None = None
    streams_bytes: int | None = None
    snapshot_bytes: int | None = None
    redo_bytes: int | None = None
