"""Running measures of replies against what was then observed, beside predicting that nothing changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from model.spec import FieldSpec
from stepahead import CategoryScore, RealScore, Score

Values = Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True)
class RealMeasures:
    """Of a real field; ``None`` before anything is scored.

    Args:
        scored: Values that were predicted and observed.
        rmse: Root mean square error, in the field's unit.
        persistence_rmse: The same for the last observed value.
        ratio: The one over the other; ``None`` too where the values never change.
        coverage: Share of values between the outermost quantiles.
    """

    scored: int
    rmse: float | None
    persistence_rmse: float | None
    ratio: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class CategoryMeasures:
    """Of a category; ``None`` before anything is scored.

    Args:
        scored: Values that were predicted and observed.
        accuracy: Share of values that were the most likely one.
        persistence_accuracy: Share of values that were the same as the one before.
        bits: Mean surprise.
    """

    scored: int
    accuracy: float | None
    persistence_accuracy: float | None
    bits: float | None


Measures = RealMeasures | CategoryMeasures


@dataclass(slots=True)
class RealTally:
    """Sums over the scored values of a real field."""

    scored: int = 0
    squares: float = 0.0
    persistence_squares: float = 0.0
    covered: int = 0

    def add(self, score: RealScore, value: float, last: float) -> None:
        """Count one value; ``last`` is the one observed before."""
        self.scored += 1
        self.squares += score.error**2
        self.persistence_squares += (value - last) ** 2
        self.covered += bool(score.covered)

    def measures(self) -> RealMeasures:
        """What the sums come to."""
        n = self.scored
        if n == 0:
            return RealMeasures(0, None, None, None, None)
        rmse, persistence = math.sqrt(self.squares / n), math.sqrt(self.persistence_squares / n)
        return RealMeasures(n, rmse, persistence, rmse / persistence if persistence else None, self.covered / n)


@dataclass(slots=True)
class CategoryTally:
    """Sums over the scored values of a category."""

    scored: int = 0
    right: int = 0
    repeated: int = 0
    nats: float = 0.0

    def add(self, score: CategoryScore, value: str, last: str) -> None:
        """Count one value; ``last`` is the one observed before."""
        self.scored += 1
        self.right += score.rank == 1
        self.repeated += value == last
        self.nats += score.nll

    def measures(self) -> CategoryMeasures:
        """What the sums come to."""
        n = self.scored
        if n == 0:
            return CategoryMeasures(0, None, None, None)
        return CategoryMeasures(n, self.right / n, self.repeated / n, self.nats / n / math.log(2))


@dataclass(slots=True)
class Tally:
    """One tally per field.

    Args:
        specs: The fields.
    """

    specs: Sequence[FieldSpec]
    fields: dict[str, RealTally | CategoryTally] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = {spec.name: RealTally() if spec.kind == "real" else CategoryTally() for spec in self.specs}

    def add(self, score: Score | None, item: Values, last: Values) -> None:
        """Count one item.

        Both predictions are measured on the same values: those that were predicted and have one before them.

        Args:
            score: Of the prediction of ``item``; ``None`` for a stream's first.
            item: What was observed.
            last: The stream's last observed value of each field.
        """
        if score is None:
            return
        for name, tally in self.fields.items():
            match tally, score.fields.get(name), item.get(name), last.get(name):
                case RealTally(), RealScore() as real, float(value), float(before):
                    tally.add(real, value, before)
                case CategoryTally(), CategoryScore() as category, str(value), str(before):
                    tally.add(category, value, before)
                case _:  # missing, or not predicted yet
                    pass

    def measures(self) -> dict[str, Measures]:
        """What the sums come to, by field."""
        return {name: tally.measures() for name, tally in self.fields.items()}

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """The measures as plain JSON values."""
        return {name: asdict(measures) for name, measures in self.measures().items()}
