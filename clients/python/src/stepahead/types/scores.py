"""How good predictions were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepahead.types.record import Record


@dataclass(frozen=True, slots=True)
class RealScore(Record):
    """How good a real field's prediction was.

    Args:
        error: Observed value minus predicted mean, in the field's unit.
        crps: Continuous ranked probability score, in the field's unit.
        covered: Whether the value lay between the outermost quantiles.
    """

    error: float
    crps: float | None = None
    covered: bool | None = None


@dataclass(frozen=True, slots=True)
class CategoryScore(Record):
    """How good a category's prediction was.

    Args:
        nll: Negative log probability of the observed value, in nats.
        rank: The observed value's place among the predicted ones, 1 for the most likely.
    """

    nll: float
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Drift(Record):
    """Whether a stream's predictions have become worse than they used to be, lastingly.

    Args:
        drifting: Whether they have.
        level: How near the nearest field is to drift: 0 for not at all, 1 for drift.
        fields: Those that drift.
        count: How often drift began; only in a summary.
        since: Sequence at which the present drift began; only in a summary, ``None`` without one.
        last: Sequence at which the last drift began; only in a summary, ``None`` before any.
    """

    drifting: bool
    level: float | None = None
    fields: tuple[str, ...] = ()
    count: int | None = None
    since: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Score(Record):
    """How good the awaited prediction was, taken before anything was learned from the truth.

    Args:
        nll: Of the whole item, in nats.
        anomaly: Share of this stream's past items that were less surprising, 0 to 1.
        fields: By field name; a field that was missing has none.
        drift: After this item; ``None`` where the server does not say.
    """

    nll: float | None
    anomaly: float | None
    fields: dict[str, RealScore | CategoryScore]
    drift: Drift | None = None

    def __getitem__(self, name: str) -> Any:
        """The field's :class:`RealScore` or :class:`CategoryScore`."""
        return self.fields[name]
