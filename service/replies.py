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
        for field in kept["prediction"]["fields"].values():
            if field is not None:
                field.pop("experts", None)
    return orjson.dumps(kept)
