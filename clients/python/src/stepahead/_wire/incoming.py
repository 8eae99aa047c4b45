"""From the contract's JSON to records and errors.

Parsing ignores unknown keys and takes absent optional ones for ``None``, so that this version reads newer and older
servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from stepahead._wire.parts import drift, optional, prediction, score, time
from stepahead.errors import BadAnswer, StepaheadError, error_class
from stepahead.types import (
    Event,
    FieldSummary,
    Forecast,
    HistoryEntry,
    Missed,
    ModelInfo,
    Reply,
    Size,
    Snapshot,
    StreamSummary,
)

T = TypeVar("T")


def read(parse: Callable[[Any], T], content: bytes) -> T:
    """Parse an answer's body.

    Raises:
        BadAnswer: If it is no JSON, or lacks what ``parse`` needs.
    """
    try:
        return parse(json.loads(content or b"null"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadAnswer(f"the answer is not in the contract's form ({error!r}): {content[:80]!r}") from error


def nothing(_: object) -> None:
    """The answer to a call that only does something."""


def reply(data: Mapping[str, Any]) -> Reply:
    """The reply to one item."""
    return Reply(**_reply(data))


def event(data: Mapping[str, Any], event_id: str | None) -> Event:
    """A reply with the item that it answers."""
    timestamp = optional(time, data.get("timestamp"))
    return Event(**_reply(data), item={**data["item"]}, timestamp=timestamp, id=event_id)


def missed(data: Mapping[str, Any]) -> Missed:
    """How many events a reader missed."""
    return Missed(optional(int, data.get("missed")))


def end(data: Mapping[str, Any]) -> StepaheadError:
    """Why there are no more events."""
    return item_error(data["error"])


def history(data: Mapping[str, Any]) -> list[HistoryEntry]:
    """A stream's last items, oldest first."""
    return [
        HistoryEntry(
            sequence=int(entry["sequence"]),
            item={**entry["item"]},
            timestamp=optional(time, entry.get("timestamp")),
            prediction=optional(prediction, entry.get("prediction")),
            score=optional(score, entry.get("score")),
        )
        for entry in data["items"]
    ]


def results(data: Mapping[str, Any]) -> list[Reply | StepaheadError]:
    """The answers to many items, in order."""
    return [item_error(result["error"]) if "error" in result else reply(result) for result in data["results"]]


def item_error(
    data: Mapping[str, Any], status: int | None = None, retry_after_s: float | None = None
) -> StepaheadError:
    """The contract's error object as an exception."""
    code = data.get("code")
    known = ("code", "message", "request_id", "retry_after_s")
    if retry_after_s is None and isinstance(asked := data.get("retry_after_s"), int | float):
        retry_after_s = float(asked)
    return error_class(code, status)(
        str(data.get("message", code)),
        code=code,
        status=status,
        request_id=data.get("request_id"),
        retry_after_s=retry_after_s,
        data={key: value for key, value in data.items() if key not in known},
    )


def forecast(data: Mapping[str, Any]) -> Forecast:
    """A prediction some steps ahead."""
    steps = tuple(prediction(step, data.get("weights_version")) for step in data["steps"])
    return Forecast(str(data["stream"]), int(data["sequence"]), steps)


def summary(data: Mapping[str, Any]) -> StreamSummary:
    """A stream's summary."""
    return StreamSummary(
        stream=str(data["stream"]),
        sequence=int(data["sequence"]),
        weights_version=optional(int, data.get("weights_version")),
        items=optional(int, data.get("items")),
        nll=optional(float, data.get("nll")),
        rmse=optional(float, data.get("rmse")),
        persistence_rmse=optional(float, data.get("persistence_rmse")),
        coverage=optional(float, data.get("coverage")),
        fields={name: _field_summary(entry) for name, entry in (data.get("fields") or {}).items()},
        drift=optional(drift, data.get("drift")),
        created_at=optional(time, data.get("created_at")),
        updated_at=optional(time, data.get("updated_at")),
    )


def summaries(data: Mapping[str, Any]) -> tuple[list[StreamSummary], str | None]:
    """One page of streams and the cursor of the next, ``None`` at the end."""
    return [summary(stream) for stream in data["streams"]], data.get("cursor")


def model(data: Mapping[str, Any]) -> ModelInfo:
    """A model."""
    return ModelInfo(
        name=str(data["name"]),
        spec=dict(data.get("spec") or {}),
        weights_version=optional(int, data.get("weights_version")),
        streams=optional(int, data.get("streams")),
        created_at=optional(time, data.get("created_at")),
    )


def models(data: Mapping[str, Any]) -> list[ModelInfo]:
    """All models."""
    return [model(entry) for entry in data["models"]]


def snapshot(data: Mapping[str, Any]) -> Snapshot:
    """A snapshot of a stream, or of a model."""
    return Snapshot(
        id=str(data["id"]),
        name=optional(str, data.get("name")),
        created_at=optional(time, data.get("created_at")),
        bytes=optional(int, data.get("bytes")),
        sequence=optional(int, data.get("sequence")),
        weights_version=optional(int, data.get("weights_version")),
    )


def snapshots(data: Mapping[str, Any]) -> list[Snapshot]:
    """All snapshots, the newest first."""
    return [snapshot(entry) for entry in data["snapshots"]]


def size(data: Mapping[str, Any]) -> Size:
    """What streams take."""
    told = ("streams", "store_bytes", "memory_bytes")
    rest: dict[str, Any] = {
        name: optional(int, data.get(name)) for name in Size.__dataclass_fields__ if name not in told
    }
    return Size(**{name: int(data[name]) for name in told}, **rest)


def sequences(data: Mapping[str, Any]) -> dict[str, int]:
    """The last applied sequence of each stream, 0 where there is no such stream."""
    return {stream: int(sequence) for stream, sequence in data["sequences"].items()}


def _reply(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stream": str(data["stream"]),
        "sequence": int(data["sequence"]),
        "duplicate": bool(data.get("duplicate", False)),
        "score": optional(score, data.get("score")),
        "prediction": prediction(data["prediction"]),
    }


def _field_summary(data: Mapping[str, Any]) -> FieldSummary:
    return FieldSummary(**{name: data.get(name) for name in FieldSummary.__dataclass_fields__})
