"""What a stream is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from stepahead.types.record import Record
from stepahead.types.scores import Drift


@dataclass(frozen=True, slots=True)
class FieldSummary(Record):
    """How well one field of a stream is predicted; ``None`` before there is anything to tell, and for the other kind.

    Args:
        scored: How many of its values were predicted and then observed.
        rmse: Root mean square error, in the field's unit.
        persistence_rmse: The same for predicting that nothing changes.
        mae: Mean absolute error, in the field's unit.
        coverage: Share of values that lay between the outermost quantiles.
        accuracy: Share of a category's values that were the most likely one.
        persistence_accuracy: The same for predicting that nothing changes.
        bits: Mean surprise of a category's value.
    """

    scored: int | None = None
    rmse: float | None = None
    persistence_rmse: float | None = None
    mae: float | None = None
    coverage: float | None = None
    accuracy: float | None = None
    persistence_accuracy: float | None = None
    bits: float | None = None


@dataclass(frozen=True, slots=True)
class StreamSummary(Record):
    """Where a stream stands and how well it is predicted; ``None`` where there is nothing to tell yet.

    Args:
        stream: The stream's id.
        sequence: Of the last applied item.
        weights_version: Which weights made the pending prediction.
        items: How many were applied.
        nll: Mean over scored items, in nats.
        rmse: Root mean square error over all real fields, in their units.
        persistence_rmse: The same for predicting that nothing changes.
        coverage: Share of all real values that lay between the outermost quantiles.
        fields: The same by field name.
        drift: Whether the stream drifts, and when it did; ``None`` where the server does not say.
        created_at: Of the first item.
        updated_at: Of the last item.
    """

    stream: str
    sequence: int
    weights_version: int | None = None
    items: int | None = None
    nll: float | None = None
    rmse: float | None = None
    persistence_rmse: float | None = None
    coverage: float | None = None
    fields: dict[str, FieldSummary] = field(default_factory=dict)
    drift: Drift | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
