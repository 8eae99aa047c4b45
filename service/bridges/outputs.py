"""What is published of an entry: plain JSON in the words of the REST contract."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from service.bridges.broker import Finished, Refusal

_KEPT_EMPTY = frozenset({"top", "score", "nll", "anomaly"})
"""Keys that the contract gives even where there is nothing to say."""


def output_fields(finished: Finished) -> dict[str, str]:
    """The fields of an output entry: of a prediction, or of a refusal for the dead letters."""
    entry, outcome = finished.entry, finished.outcome
    source = {"lane": entry.lane, "entry": entry.position}
    if isinstance(outcome, Refusal):
        stream = {} if finished.number is None else {"stream": finished.number.stream}
        given = dumps(dict(entry.fields))
        return {**stream, **source, "code": outcome.code, "error": outcome.message, "fields": given}
    return {
        "stream": outcome.stream,
        "sequence": str(outcome.sequence),
        **source,
        "prediction": dumps(_plain(asdict(outcome.prediction))),
        "score": dumps(None if outcome.score is None else _plain(asdict(outcome.score))),
    }


def dumps(value: object) -> str:
    """JSON without spaces; what is no JSON as its text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(key): _plain(part)
            for key, part in value.items()
            if (part is not None or key in _KEPT_EMPTY) and not (key == "experts" and not part)
        }
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
