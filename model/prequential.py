"""Test, then train: the honest way to evaluate a stream, and the same step as the service takes.

Each item is predicted, observed, scored and learned, in this order; nothing is seen before its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from model.belief import Beliefs
from model.items import Item
from model.learner import Learner
from model.scoring import Scores
from model.spec import ModelSpec

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Tally:
    """Sums over scored items: real fields (R,), then category fields (C,)."""

    spec: ModelSpec
    n: Floats = field(init=False)
    squares: Floats = field(init=False)
    absolutes: Floats = field(init=False)
    crps: Floats = field(init=False)
    covered: Floats = field(init=False)
    persistence_squares: Floats = field(init=False)
    persistence_absolutes: Floats = field(init=False)
    named: Floats = field(init=False)
    right: Floats = field(init=False)
    repeated: Floats = field(init=False)
    nats: Floats = field(init=False)
    nll: float = 0.0
    n_items: int = 0

    def __post_init__(self) -> None:
        reals, categories = len(self.spec.reals), len(self.spec.categories)
        for name in ("n", "squares", "absolutes", "crps", "covered", "persistence_squares", "persistence_absolutes"):
            setattr(self, name, np.zeros(reals))
        for name in ("named", "right", "repeated", "nats"):
            setattr(self, name, np.zeros(categories))

    def add(self, scores: Scores, repeated: NDArray[np.bool_]) -> None:
        """Add one item's scores; ``repeated`` says whether each category took its last value again, (B, C)."""
        known = ~np.isnan(scores.error)
        self.n += known.sum(0)
        self.squares += np.nansum(np.square(scores.error), 0)
        self.absolutes += np.nansum(np.abs(scores.error), 0)
        self.crps += np.nansum(scores.crps, 0)
        self.covered += (scores.covered & known).sum(0)
        self.persistence_squares += np.nansum(np.square(scores.persistence_error), 0)
        self.persistence_absolutes += np.nansum(np.abs(scores.persistence_error), 0)
        self.named += (scores.rank > 0).sum(0)
        self.right += (scores.rank == 1).sum(0)
        self.repeated += (repeated & (scores.rank > 0)).sum(0)
        self.nats += np.nansum(scores.category_nll, 0)
        self.nll += float(scores.nll[scores.scored].sum())
        self.n_items += int(scores.scored.sum())

    def report(self, unit: Floats | None = None) -> dict[str, dict[str, float | int | None]]:
        """Measures per field, by name.

        Args:
            unit: What one is in the report, in each real field's own unit, (R,); ``None`` for the field's unit.
        """
        unit = np.ones(len(self.n)) if unit is None else unit
        found: dict[str, dict[str, float | int | None]] = {}
        for j, spec in enumerate(self.spec.reals):
            n = self.n[j]
            mse, persistence = _over(self.squares[j], n), _over(self.persistence_squares[j], n)
            found[spec.name] = {
                "scored": int(n),
                "mse": _scaled(mse, unit[j] ** 2),
                "rmse": _scaled(_root(mse), unit[j]),
                "mae": _scaled(_over(self.absolutes[j], n), unit[j]),
                "crps": _scaled(_over(self.crps[j], n), unit[j]),
                "coverage": _over(self.covered[j], n),
                "persistence_mse": _scaled(persistence, unit[j] ** 2),
                "persistence_rmse": _scaled(_root(persistence), unit[j]),
                "persistence_mae": _scaled(_over(self.persistence_absolutes[j], n), unit[j]),
                "rmse_ratio": _over(_root(mse), _root(persistence)),
            }
        for j, spec in enumerate(self.spec.categories):
            n = self.named[j]
            found[spec.name] = {
                "scored": int(n),
                "accuracy": _over(self.right[j], n),
                "persistence_accuracy": _over(self.repeated[j], n),
                "bits": _over(self.nats[j] / np.log(2), n),
            }
        return found


def prequential(
    learner: Learner,
    rows: Iterable[tuple[str, Item]],
    tally: Tally,
    *,
    first: int = 0,
    last: int | None = None,
    freeze_after: int | None = None,
) -> Iterator[int]:
    """Run rows through the learner, one at a time, each stream with a belief of its own.

    Args:
        learner: Learns from every row.
        rows: Stream name and item, in order of arrival.
        tally: Takes the scores of rows ``first`` to ``last``, counted from 0, the latter not included.
        first: See ``tally``.
        last: See ``tally``; ``None`` for the end.
        freeze_after: Rows after which the weights stay as they are; ``None`` for never.

    Yields:
        The number of rows done, after each.
    """
    beliefs: dict[str, Beliefs] = {}
    for i, (stream, item) in enumerate(rows):
        if i == freeze_after:
            frozen = replace(learner.spec.learn, weights=False, initial_state=False)
            learner = learner.with_spec(replace(learner.spec, learn=frozen))
        belief = beliefs.get(stream) or learner.fresh_beliefs(1)
        last_slots = belief.records["last_slots"]
        slots = learner.vocabulary.slots([item])
        step = learner.step(belief, [item])
        learner.adopt(step)
        beliefs[stream] = step.beliefs
        if i >= first and (last is None or i < last):
            tally.add(step.scores, slots == last_slots)
        yield i + 1


def _over(total: float | None, n: float | None) -> float | None:
    return float(total / n) if n and total is not None else None


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else float(value / unit)


def _root(value: float | None) -> float | None:
    return None if value is None else float(np.sqrt(value))
