"""Two things measured in turns, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")
U = TypeVar("U")

Tell = Callable[[str], None]
"""Gets a line about what is under way."""

PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table: a figure, and the one beside it that was measured in the same rounds.

    Args:
        name: Its id, the same in every run.
        title: What was measured.
        against: What it is compared with.
        unit: Of both figures.
        ours: A figure per round.
        theirs: Likewise; empty where there is nothing to compare with.
        target: What the ratio should reach, or where ``less_is_better`` not exceed; ``None`` where there is no target.
        less_is_better: Whether a smaller figure is the better one.
        details: Whatever else was seen, as plain JSON values.
        skipped: Why there are no figures; ``None`` where there are.
    """

    name: str
    title: str
    against: str
    unit: str
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    target: float | None = None
    less_is_better: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    skipped: str | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours over theirs, round by round."""
        return tuple(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)) if self.theirs else ()

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def reached(self) -> bool | None:
        """Whether the median ratio is where it should be; ``None`` where nothing says."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio <= self.target if self.less_is_better else self.ratio >= self.target

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; :meth:`from_dict` is its inverse, and takes no notice of what is derived."""
        return asdict(self) | {"ratio": self.ratio, "ratios": self.ratios, "reached": self.reached}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from the values of :meth:`to_dict`."""
        given = {name: data[name] for name in cls.__dataclass_fields__}
        return cls(**given | {"ours": tuple(given["ours"]), "theirs": tuple(given["theirs"])})


def in_turns(ours: Callable[[], T], theirs: Callable[[], U], rounds: int, tell: Tell) -> tuple[list[T], list[U]]:
    """Measure both, one after the other, ``rounds`` times: what each gave, round by round."""
    mine, others = [], []
    for i in range(rounds):
        mine.append(ours())
        others.append(theirs())
        tell(f"  round {i + 1} of {rounds}")
    return mine, others


def percentiles(values: ArrayLike, at: Sequence[float] = PERCENTILES) -> tuple[float, ...]:
    """The values below or at which these percentages of all lie, by nearest rank: each is one that was measured.

    Raises:
        ValueError: If there are no values.
    """
    found = np.sort(np.asarray(values, np.float64))
    if not found.size:
        raise ValueError("nothing was measured")
    # The smallest rank that covers the share; 99.9 % of 1000 are 999, which the product misses by a rounding.
    return tuple(float(found[max(0, math.ceil(p / 100 * found.size - 1e-6) - 1)]) for p in at)
