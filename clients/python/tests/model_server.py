"""A server in memory that keeps the contract of one model's observations, with refusals on request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

PREDICTION = {"fields": {}}


@dataclass
class Stream:
    """What the server holds of a stream: every item that was applied, in order."""

    items: list[Any] = field(default_factory=list)


class ModelServer:
    """Applies items as the service does.

    Args:
        window: Most items on their way.
        kept: Replies kept per stream.
    """

    def __init__(self, window: int = 1024, kept: int = 64) -> None:
        self.streams: dict[str, Stream] = {}
        self.window, self.kept = window, kept
        self.most: dict[str, int] = {}

    def answer(
        self, content: bytes, refusals: dict[int, dict[str, Any]] | None = None, most: int | None = None
    ) -> bytes:
        """Answer a frame; ``refusals`` are given to items by their place, and only the first ``most`` are taken."""
        frame = json.loads(content)
        if "streams" in frame:
            sequences = {name: len(self.items(name)) for name in frame["streams"]}
            return dumps({"sequences": sequences, "window": {"items": self.window, "per_stream": self.kept}})
        observations = frame["observations"][:most]
        return dumps({"results": [self.observe(o, (refusals or {}).get(i)) for i, o in enumerate(observations)]})

    def items(self, stream: str) -> list[Any]:
        """What was applied to a stream."""
        return self.streams[stream].items if stream in self.streams else []

    def observe(self, observation: dict[str, Any], refusal: dict[str, Any] | None = None) -> dict[str, Any]:
        """Apply an item, or say why not; a refusal of an unknown outcome may have ``applied`` it."""
        name, number, item = observation["stream"], observation["sequence"], observation["item"]
        if item.get("x") == "invalid":
            return error("invalid_item")
        if refusal is not None and not refusal.get("applied"):
            return error(refusal["code"], retry_after_s=refusal.get("retry_after_s"))
        last = len(self.items(name))
        if number > last + 1:
            return error("sequence_gap", expected=last + 1, received=number)
        if number <= last - self.kept:
            return error("sequence_stale", expected=last + 1, received=number)
        if number == last + 1:
            self.streams.setdefault(name, Stream()).items.append(item)
        if refusal is not None:
            return error(refusal["code"])
        prediction = {"sequence": number + 1, **PREDICTION}
        duplicate = number <= last
        return {"stream": name, "sequence": number, "duplicate": duplicate, "score": None, "prediction": prediction}


def error(code: str, **data: Any) -> dict[str, Any]:
    """The contract's error."""
    known = {key: value for key, value in data.items() if value is not None}
    return {"error": {"code": code, "message": f"it is {code}", "request_id": "r", **known}}


def dumps(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
