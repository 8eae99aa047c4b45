"""What became of items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stepahead.types.predictions import Prediction
from stepahead.types.record import Record
from stepahead.types.scores import Score


@dataclass(frozen=True, slots=True)
class Reply(Record):
    """The answer to one observed item.

    Args:
        stream: The stream's id.
        sequence: The item's position in its stream, from 1.
        duplicate: Whether the item had been applied before; this is then the reply it got.
        score: Of the prediction that was made for this item; ``None`` for a stream's first item.
        prediction: Of the next item.
    """

    stream: str
    sequence: int
    duplicate: bool
    score: Score | None
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Event(Reply):
    """A reply as it was made, to whoever sent the item, with the item that it answers.

    Args:
        item: Field name to number, text, or ``None`` for a missing value.
        timestamp: When it was measured; ``None`` where its sender did not say.
        id: Its place among the model's events: ``events(after=…)`` goes on after it.
    """

    item: dict[str, Any]
    timestamp: datetime | None
    id: str | None


@dataclass(frozen=True, slots=True)
class Missed(Record):
    """Stands in the place of events that this reader did not get: it fell behind, or was away for too long.

    Args:
        count: How many; ``None`` where the service cannot tell.
    """

    count: int | None


@dataclass(frozen=True, slots=True)
class HistoryEntry(Record):
    """One past item of a stream.

    Args:
        sequence: The item's position in its stream, from 1.
        item: Field name to number, text, or ``None`` for a missing value.
        timestamp: When it was measured; ``None`` where its sender did not say.
        prediction: The one that awaited this very item; ``None`` where it is not kept.
        score: What that prediction got; ``None`` for a stream's first item.
    """

    sequence: int
    item: dict[str, Any]
    timestamp: datetime | None
    prediction: Prediction | None
    score: Score | None
