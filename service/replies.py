"""The bytes of a reply: made once, kept by the store, sent again for a resend and to whoever reads events."""

from __future__ import annotations

from typing import Any

import orjson


def encode_reply(stream: str, result: dict[str, Any]) -> bytes:
    """The reply to one observation, as it is sent and kept.

    Args:
        stream: The observed stream.
        result: ``sequence``, ``score`` and ``prediction`` as the learner gives them.
    """
    return orjson.dumps(
        {
            "stream": stream,
            "sequence": result["sequence"],
            "duplicate": False,
            "score": result["score"],
            "prediction": result["prediction"],
        }
    )


def encode_values(values: dict[str, float | str | None]) -> bytes:
    """An item's values, as they are kept and sent."""
    return orjson.dumps(values)


def with_item(reply: bytes, values: bytes, timestamp: str | None) -> bytes:
    """The reply with ``item`` and ``timestamp`` at its end; it is not encoded anew.

    Args:
        reply: A JSON object.
        values: Of the item that it answers; a JSON object.
        timestamp: When the item was, ISO 8601.
    """
    return b"".join((reply[:-1], b',"item":', values, b',"timestamp":', orjson.dumps(timestamp), b"}"))


def mark_duplicate(reply: bytes, *, experts: bool = False) -> bytes:
    """The kept reply as the answer to a resend: the same bytes but for ``duplicate``.

    Args:
        reply: As it was kept, which is as it was first asked for.
        experts: Whether the resend asks what each expert said. Where it does not, that is left out; where only the
            resend does, it is not told, as it was not kept.
    """
    kept = orjson.loads(reply)
    kept["duplicate"] = True
    if not experts:
        leave_experts_out(kept["prediction"])
    return orjson.dumps(kept)


def leave_experts_out(prediction: dict[str, Any]) -> None:
    """Take from a prediction what experts said, if it is there."""
    for field in prediction["fields"].values():
        if field is not None:
            field.pop("experts", None)
