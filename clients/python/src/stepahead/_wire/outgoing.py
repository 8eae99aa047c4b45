"""From Python values to the contract's JSON and paths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from numbers import Real
from typing import Any
from urllib.parse import quote

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
    if not isinstance(value, (Real, Decimal)):
        raise TypeError(f"field {name!r} takes a number, a text or None, got {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"field {name!r} is {number}: NaN and infinities are refused; None stands for a missing value")
    return number


def timestamp_to_wire(timestamp: datetime | str | None) -> str | None:
    """A time as ISO 8601.

    Raises:
        ValueError: If a ``datetime`` has no time zone: whose clock it shows cannot be told.
        TypeError: If it is neither a ``datetime`` nor a text.
    """
    if timestamp is None or isinstance(timestamp, str):
        return timestamp
    if not isinstance(timestamp, datetime):
        raise TypeError(f"a timestamp is a datetime or an ISO 8601 text, got {type(timestamp).__name__}")
    if timestamp.utcoffset() is None:
        raise ValueError(f"{timestamp!r} has no time zone; .replace(tzinfo=timezone.utc) if it is UTC")
    return timestamp.isoformat()


def path(*parts: str) -> str:
    """A path below ``/v1`` of any texts, percent-encoded.

    Raises:
        ValueError: If a part is empty, has a ``/``, is not printable, or is ``.`` or ``..``.
    """
    return "/v1" + "".join(f"/{encode(part)}" for part in parts)


def encode(part: str) -> str:
    """One part of a path; refused as :func:`path` does."""
    if part in {"", ".", ".."} or "/" in part or not part.isprintable():
        raise ValueError(f"{part!r} cannot name anything: printable text without '/', and neither '.' nor '..'")
    return quote(part, safe="")


def dumps(value: object) -> bytes:
    """The JSON of plain values, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
