"""What all records share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any


class Record:
    """A frozen record of what the service answered."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values, under the names of the service's JSON."""
        written: dict[str, Any] = _plain(self)
        return written


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime) else value
