"""Between Python values and the contract's JSON: no I/O, no state.

Parsing ignores unknown keys and takes absent optional ones for ``None``, so that this version reads newer and older
servers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from numbers import Real
from typing import Any, TypeVar
from urllib.parse import quote

from stepahead.errors import BadAnswer, StepaheadError, error_class
from stepahead.types import (
    CategoryExpert,
    CategoryPrediction,
    CategoryScore,
    Drift,
    FieldPrediction,
    FieldSummary,
    Forecast,
    ModelInfo,
    Prediction,
    RealExpert,
    RealPrediction,
    RealScore,
    Reply,
    Score,
    StreamSummary,
)

T = TypeVar("T")

FieldKind = str | Sequence[str] | Mapping[str, Any]
"""``"real"``, a category's values, or the rest of a field's spec, such as ``{"capacity": 100}``."""


def fields_to_wire(fields: Mapping[str, FieldKind]) -> list[dict[str, Any]]:
    """A model's fields as the contract has them.

    Raises:
        ValueError: If a field is neither ``"real"``, nor values, nor a mapping.
    """
    return [{"name": name, **_kind_to_wire(name, kind)} for name, kind in fields.items()]


def _kind_to_wire(name: str, kind: FieldKind) -> dict[str, Any]:
    if kind == "real":
        return {"kind": "real"}
    if isinstance(kind, Mapping):
        is_category = "values" in kind or "capacity" in kind
        return {"kind": "category" if is_category else "real", **kind}
    if isinstance(kind, str):
        raise ValueError(
            f"field {name!r}: {kind!r} is no kind; give 'real', a list of values, "
            "or {'capacity': N} for a category whose values are not known beforehand"
        )
    return {"kind": "category", "values": list(kind)}


def item_to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as plain JSON values.

    Raises:
        ValueError: If a number is NaN or infinite; ``None`` is what stands for a missing value.
        TypeError: If a value is neither a number, a text nor ``None``.
    """
    return {name: _value_to_wire(name, value) for name, value in item.items()}


def _value_to_wire(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if not isinstance(value, Real):
        raise TypeError(f"field {name!r} takes a number, a text or None, got {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"field {name!r} is {number}: NaN and infinities are refused; None stands for a missing value")
    return number


def timestamp_to_wire(timestamp: datetime | str | None) -> str | None:
    """A time as ISO 8601.

    Raises:
        ValueError: If a ``datetime`` has no time zone: whose clock it shows cannot be told.
    """
    if not isinstance(timestamp, datetime):
        return timestamp
    if timestamp.utcoffset() is None:
        raise ValueError(f"{timestamp!r} has no time zone; .replace(tzinfo=timezone.utc) if it is UTC")
    return timestamp.isoformat()


def path(*parts: str) -> str:
    """A path below ``/v1`` of any texts, percent-encoded.

    Raises:
        ValueError: If a part is empty, has a ``/``, is not printable, or is ``.`` or ``..``.
    """
    return "/v1" + "".join(f"/{_encode(part)}" for part in parts)


def _encode(part: str) -> str:
    if part in {"", ".", ".."} or "/" in part or not part.isprintable():
        raise ValueError(f"{part!r} cannot name anything: printable text without '/', and neither '.' nor '..'")
    return quote(part, safe="")


def dumps(value: object) -> bytes:
    """The JSON of plain values, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


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
    score = data.get("score")
    return Reply(
        stream=str(data["stream"]),
        sequence=int(data["sequence"]),
        duplicate=bool(data.get("duplicate", False)),
        score=None if score is None else _score(score),
        prediction=_prediction(data["prediction"]),
    )


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
    steps = tuple(_prediction(step, data.get("weights_version")) for step in data["steps"])
    return Forecast(str(data["stream"]), int(data["sequence"]), steps)


def summary(data: Mapping[str, Any]) -> StreamSummary:
    """A stream's summary."""
    return StreamSummary(
        stream=str(data["stream"]),
        sequence=int(data["sequence"]),
        weights_version=_optional(int, data.get("weights_version")),
        items=_optional(int, data.get("items")),
        nll=_optional(float, data.get("nll")),
        rmse=_optional(float, data.get("rmse")),
        persistence_rmse=_optional(float, data.get("persistence_rmse")),
        coverage=_optional(float, data.get("coverage")),
        fields={name: _field_summary(entry) for name, entry in (data.get("fields") or {}).items()},
        drift=_optional(_drift, data.get("drift")),
        created_at=_optional(_time, data.get("created_at")),
        updated_at=_optional(_time, data.get("updated_at")),
    )


def summaries(data: Mapping[str, Any]) -> tuple[list[StreamSummary], str | None]:
    """One page of streams and the cursor of the next, ``None`` at the end."""
    return [summary(stream) for stream in data["streams"]], data.get("cursor")


def model(data: Mapping[str, Any]) -> ModelInfo:
    """A model."""
    return ModelInfo(
        name=str(data["name"]),
        spec=dict(data.get("spec") or {}),
        weights_version=_optional(int, data.get("weights_version")),
        streams=_optional(int, data.get("streams")),
    )


def models(data: Mapping[str, Any]) -> list[ModelInfo]:
    """All models."""
    return [model(entry) for entry in data["models"]]


def _score(data: Mapping[str, Any]) -> Score:
    fields: dict[str, RealScore | CategoryScore] = {}
    for name, entry in (data.get("fields") or {}).items():
        if entry is None:
            continue
        if entry.get("error") is not None:
            fields[name] = RealScore(float(entry["error"]), _optional(float, entry.get("crps")), entry.get("covered"))
        elif entry.get("nll") is not None:
            fields[name] = CategoryScore(float(entry["nll"]), _optional(int, entry.get("rank")))
    nll, anomaly = (_optional(float, data.get(name)) for name in ("nll", "anomaly"))
    return Score(nll, anomaly, fields, _optional(_drift, data.get("drift")))


def _drift(data: Mapping[str, Any]) -> Drift:
    return Drift(
        drifting=bool(data["drifting"]),
        level=_optional(float, data.get("level")),
        fields=tuple(data.get("fields") or ()),
        **{name: _optional(int, data.get(name)) for name in ("count", "since", "last")},
    )


def _prediction(data: Mapping[str, Any], weights_version: int | None = None) -> Prediction:
    fields: dict[str, FieldPrediction] = {}
    for name, entry in data["fields"].items():
        if entry is None:
            continue
        if "probabilities" in entry:
            said = {
                expert: CategoryExpert(float(e["weight"]), e.get("top"), dict(e["probabilities"]))
                for expert, e in (entry.get("experts") or {}).items()
            }
            fields[name] = CategoryPrediction(entry.get("top"), dict(entry["probabilities"]), said)
        elif entry.get("mean") is not None:
            quantiles = {float(level): float(value) for level, value in (entry.get("quantiles") or {}).items()}
            by = {
                expert: RealExpert(float(e["mean"]), float(e["weight"]))
                for expert, e in (entry.get("experts") or {}).items()
            }
            fields[name] = RealPrediction(
                float(entry["mean"]),
                _optional(float, entry.get("std")),
                quantiles,
                _optional(int, entry.get("degrees_of_freedom")),
                by,
            )
    return Prediction(int(data["sequence"]), _optional(int, data.get("weights_version", weights_version)), fields)


def _optional(convert: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else convert(value)


def _field_summary(data: Mapping[str, Any]) -> FieldSummary:
    return FieldSummary(**{name: data.get(name) for name in FieldSummary.__dataclass_fields__})


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value.replace("Z", "+00:00"))  # Python 3.10 does not read the Z
