"""What is shown of a stream, read off its belief between two batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from model import forecast, inspection
from model.belief import Beliefs
from model.codec import DamagedRecord
from model.learner import Learner
from service.errors import ServiceError
from service.store import StoredStream

T = TypeVar("T")

Look = Callable[[Learner, Beliefs, str, StoredStream], T]
"""What is read off one stream: its belief (a batch of one), its name, and the record it comes from."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def look_at(look: Look[T], learner: Learner, streams: Sequence[tuple[str, StoredStream]]) -> list[T]:
    """Decode each stream's belief and look at it.

    Raises:
        ServiceError: If a belief is damaged.
    """
    found = []
    for name, stored in streams:
        try:
            beliefs = learner.decode_beliefs([stored.belief])
        except DamagedRecord as error:
            raise ServiceError(f"the stored belief is damaged: {error}", stream=name) from error
        found.append(look(learner, beliefs, name, stored))
    return found


def summary(learner: Learner, belief: Beliefs, stream: str, stored: StoredStream) -> dict[str, Any]:
    """Where the stream stands and how well it is predicted."""
    return {
        "stream": stream,
        **inspection.summarise(learner, belief),
        "created_at": iso_time(stored.created_us),
        "updated_at": iso_time(stored.updated_us),
    }


def belief_inspected(learner: Learner, belief: Beliefs, stream: str, _stored: StoredStream) -> dict[str, Any]:
    """The belief, laid open."""
    return {"stream": stream, **inspection.inspect(learner, belief)}


def forecast_of(horizon: int, *, with_experts: bool = False) -> Look[dict[str, Any]]:
    """Predictions 1 to ``horizon`` steps ahead; of the first perhaps also what each expert said."""

    def look(learner: Learner, belief: Beliefs, stream: str, _stored: StoredStream) -> dict[str, Any]:
        steps = forecast.forecast(learner, belief, horizon, with_experts=with_experts)
        return {"stream": stream, "sequence": steps[0]["sequence"], "steps": steps}

    return look


def iso_time(time_us: int) -> str:
    """Microseconds since 1970 UTC as ISO 8601."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")
