"""The bytes of a reply: made once, kept by the store, sent again for a resend."""

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


def mark_duplicate(reply: bytes) -> bytes:
    """The kept reply as the answer to a resend: the same bytes but for ``duplicate``."""
    return orjson.dumps({**orjson.loads(reply), "duplicate": True})
