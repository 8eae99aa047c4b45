"""What the service answers, as frozen records; keys that a newer server adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RealScore:
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
class CategoryScore:
    """How good a category's prediction was.

    Args:
        nll: Negative log probability of the observed value, in nats.
        rank: The observed value's place among the predicted ones, 1 for the most likely.
    """

    nll: float
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Drift:
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
class Score:
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


@dataclass(frozen=True, slots=True)
class RealExpert:
    """What one expert said of a real field.

    Args:
        mean: Expected value, in the field's unit.
        weight: Its share in the mix; those of all experts add up to 1.
    """

    mean: float
    weight: float


@dataclass(frozen=True, slots=True)
class CategoryExpert:
    """What one expert said of a category.

    Args:
        weight: Its share in the mix; those of all experts add up to 1.
        top: The most likely value; ``None`` before any is known.
        probabilities: Value to probability; for a large vocabulary only the most likely values.
    """

    weight: float
    top: str | None
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class RealPrediction:
    """What a real field's next value will be, in the field's unit.

    Args:
        mean: Expected value.
        std: Standard deviation.
        quantiles: Level to value.
        degrees_of_freedom: Of Student's t with this mean and standard deviation; ``None`` for a normal distribution.
        experts: What each expert and the network alone (``network``) said; empty unless it was asked for.
    """

    mean: float
    std: float | None = None
    quantiles: dict[float, float] = field(default_factory=dict)
    degrees_of_freedom: int | None = None
    experts: dict[str, RealExpert] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CategoryPrediction:
    """What a category's next value will be.

    Args:
        top: The most likely value; ``None`` before any is known.
        probabilities: Value to probability; for a large vocabulary only the most likely values.
        experts: What each expert and the network alone (``network``) said; empty unless it was asked for.
    """

    top: str | None
    probabilities: dict[str, float]
    experts: dict[str, CategoryExpert] = field(default_factory=dict)


FieldPrediction = RealPrediction | CategoryPrediction


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of one item.

    ``prediction["temperature"].mean`` reads a field; where a type checker should know which kind it is,
    ``prediction.real("temperature").mean``.

    Args:
        sequence: Of the predicted item.
        weights_version: Which weights made it; ``None`` where the server does not say.
        fields: By field name; a real field that the stream has never seen has none.
    """

    sequence: int
    weights_version: int | None
    fields: dict[str, FieldPrediction]

    def __getitem__(self, name: str) -> Any:
        """The field's :class:`RealPrediction` or :class:`CategoryPrediction`."""
        return self.fields[name]

    def real(self, name: str) -> RealPrediction:
        """The prediction of a real field.

        Raises:
            KeyError: If there is no such field.
            TypeError: If the field is a category.
        """
        found = self.fields[name]
        if not isinstance(found, RealPrediction):
            raise TypeError(f"field {name!r} is a category")
        return found

    def category(self, name: str) -> CategoryPrediction:
        """The prediction of a category.

        Raises:
            KeyError: If there is no such field.
            TypeError: If the field is real.
        """
        found = self.fields[name]
        if not isinstance(found, CategoryPrediction):
            raise TypeError(f"field {name!r} is real")
        return found


@dataclass(frozen=True, slots=True)
class Reply:
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
class Forecast:
    """Predictions several steps ahead.

    Args:
        stream: The stream's id.
        sequence: Of the first predicted item.
        steps: One per step, in order.
    """

    stream: str
    sequence: int
    steps: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class FieldSummary:
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
class StreamSummary:
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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the server describes it.

    Args:
        name: Its name.
        spec: Its spec, as plain JSON values.
        weights_version: Weight updates so far; ``None`` where the server does not say.
        streams: How many it has; ``None`` where the server does not say.
    """

    name: str
    spec: dict[str, Any]
    weights_version: int | None
    streams: int | None


@dataclass(frozen=True, slots=True)
class Belief:
    """A stream's belief, as far as a person can read it: a typed view of the server's JSON in ``data``."""

    data: Mapping[str, Any]

    @property
    def sequence(self) -> int | None:
        """Of the last applied item."""
        return self.data.get("sequence")

    @property
    def hidden(self) -> list[list[float]]:
        """Hidden state: for each layer one number per unit."""
        return list(self.data["hidden"])

    @property
    def cell(self) -> list[list[float]] | None:
        """Cell state, shaped as ``hidden``; ``None`` for a cell that has none."""
        return self.data.get("cell")

    @property
    def gates(self) -> dict[str, list[list[float]]]:
        """Gates of the last advance by name (``input``, ``forget``, ``output``), each shaped as ``hidden``."""
        return dict(self.data.get("gates") or {})

    @property
    def correction(self) -> list[list[float]] | None:
        """What the last item's error added to the cell state, shaped as ``hidden``."""
        return self.data.get("correction")

    @property
    def correction_rates(self) -> list[list[float]] | None:
        """How far each unit follows its gradient, shaped as ``hidden``."""
        return self.data.get("correction_rates")

    @property
    def correction_trust(self) -> float | None:
        """Share of the corrections' effect that the prediction takes, 0 to 1."""
        return self.data.get("correction_trust")

    @property
    def observed(self) -> dict[str, Any] | None:
        """The last item."""
        return self.data.get("observed")

    @property
    def experts(self) -> dict[str, dict[str, Any]]:
        """For each field what each expert and the network say of the next item, and its share in the mix."""
        return dict(self.data.get("experts") or {})

    @property
    def before(self) -> dict[str, Any] | None:
        """The last item as decoded from the belief that predicted it, by field name."""
        return self.data.get("before")

    @property
    def after(self) -> dict[str, Any] | None:
        """The same from the corrected belief: the one that would have been better."""
        return self.data.get("after")
