"""What is predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stepahead.types.record import Record


@dataclass(frozen=True, slots=True)
class RealExpert(Record):
    """What one expert said of a real field.

    Args:
        mean: Expected value, in the field's unit.
        weight: Its share in the mix; those of all experts add up to 1.
    """

    mean: float
    weight: float


@dataclass(frozen=True, slots=True)
class CategoryExpert(Record):
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
class RealPrediction(Record):
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
class CategoryPrediction(Record):
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
class Prediction(Record):
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
class Forecast(Record):
    """Predictions several steps ahead.

    Args:
        stream: The stream's id.
        sequence: Of the first predicted item.
        steps: One per step, in order.
    """

    stream: str
    sequence: int
    steps: tuple[Prediction, ...]
