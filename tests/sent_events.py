"""Server-sent events as a browser takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sent:
    """One event that was dispatched.

    Args:
        kind: ``message`` where nothing else was said.
        data: Its JSON.
        last_id: The last id that came until then.
    """

    kind: str
    data: Any
    last_id: str


def dispatched(lines: Iterable[str], last_id: str = "") -> Iterator[Sent]:
    """Events of lines, by the rules of the HTML standard: one without data is none, and its id counts."""
    kind, data = "", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name if line else None:
            case None:
                if data:
                    yield Sent(kind or "message", json.loads("\n".join(data)), last_id)
                kind, data = "", []
            case "event":
                kind = value
            case "data":
                data.append(value)
            case "id":
                last_id = value


def events_of(text: bytes) -> list[Sent]:
    """All events of a text; every line end that the standard knows ends a line."""
    lines = text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert lines[-2:] == ["", ""] or not text, "the last event is whole"
    return list(dispatched(lines))
