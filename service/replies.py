"""What is told of an item beside its reply."""

from __future__ import annotations

import orjson


def encode_values(values: dict[str, float | str | None]) -> bytes:
    """An item's values, as they are sent."""
    return orjson.dumps(values)


def with_item(reply: bytes, values: bytes, timestamp: str | None) -> bytes:
    """The reply with ``item`` and ``timestamp`` at its end; it is not encoded anew.

    Args:
        reply: A JSON object.
        values: Of the item that it answers; a JSON object.
        timestamp: When the item was, ISO 8601.
    """
    return b"".join((reply[:-1], b',"item":', values, b',"timestamp":', orjson.dumps(timestamp), b"}"))
