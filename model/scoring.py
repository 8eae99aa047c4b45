"""How good the pending prediction was, taken before anything is learned from the item."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.distribution import FLOOR, rank
from model.kernels import part
from model.scaling import Scale, increment_size
from model.student import crps, nll

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PENDING = np.dtype([(name, np.float64) for name in ("mean", "std", "degrees", "low", "high")])
"""What was sent of a real field: mean, standard deviation, degrees of freedom (0 for normal), outermost quantiles."""

REAL_TALLY = np.dtype(
    [(name, np.float64) for name in ("scored", "squares", "absolutes", "persistence_squares", "covered")]
)
"""Sums over the scored items of a real field."""

CATEGORY_TALLY = np.dtype([(name, np.float64) for name in ("named", "right", "repeated", "nats")])
"""Sums over the scored items of a category field."""

REAL = np.dtype(
    [("error", np.float64), ("crps", np.float64), ("persistence_error", np.float64), ("covered", np.bool_)], align=True
)
"""The score of a real field, see :class:`Scores`."""

CATEGORY = np.dtype([("nll", np.float64), ("rank", np.int64)])
"""The score of a category field."""

ITEM = np.dtype(
    [("nll", np.float64), ("anomaly", np.float64), ("surprise", np.float64), ("scored", np.bool_)], align=True
)
"""The score of an item."""

Record: TypeAlias = Any
"""One record of the types above as kernels see it."""


@dataclass(slots=True)
class Scores:
    """Scores of one item per stream. NaN stands for "not scored": the value or its prediction was missing.

    Args:
        reals: One :data:`REAL` per stream and real field, (B, R).
        categories: One :data:`CATEGORY` per stream and category field, (B, C).
        items: One :data:`ITEM` per stream, (B,).
    """

    reals: np.ndarray
    categories: np.ndarray
    items: np.ndarray

    @classmethod
    def room(cls, n: int, n_reals: int, n_categories: int) -> Self:
        """For ``n`` streams, to be filled in."""
        return cls(np.empty((n, n_reals), REAL), np.empty((n, n_categories), CATEGORY), np.empty(n, ITEM))

    @property
    def scored(self) -> Bools:
        """Whether anything was, (B,)."""
        return self.items["scored"]

    @property
    def nll(self) -> Floats:
        """Nats of all observed fields under the distribution that was sent, (B,)."""
        return self.items["nll"]

    @property
    def anomaly(self) -> Floats:
        """Share of the stream's past items that were less surprising, (B,)."""
        return self.items["anomaly"]

    @property
    def surprise(self) -> Floats:
        """Nats in units of the running scale, comparable within a stream, (B,)."""
        return self.items["surprise"]

    @property
    def error(self) -> Floats:
        """Observed minus predicted mean, (B, R), in the field's unit."""
        return self.reals["error"]

    @property
    def crps(self) -> Floats:
        """Continuous ranked probability score, (B, R), in the field's unit."""
        return self.reals["crps"]

    @property
    def covered(self) -> Bools:
        """Whether the value lay within the outermost quantiles sent, (B, R)."""
        return self.reals["covered"]

    @property
    def persistence_error(self) -> Floats:
        """Observed minus the last observed value, (B, R)."""
        return self.reals["persistence_error"]

    @property
    def category_nll(self) -> Floats:
        """Nats, (B, C)."""
        return self.categories["nll"]

    @property
    def rank(self) -> NDArray[np.int64]:
        """Place of the value among all by probability, (B, C), from 1; 0 where not scored."""
        return self.categories["rank"]


@part
def begin(item: Record) -> None:
    """Nothing of the item is scored yet."""
    item.scored = False
    item.nll = 0.0
    item.surprise = 0.0


@part
def score_real(item: Record, score: Record, field: Scale, sent: Record, value: float, predicted: bool) -> None:
    """Score what was sent of a real field; ``item`` and ``score`` change.

    Args:
        item: One of :data:`ITEM`, which the field is added to.
        score: One of :data:`REAL`.
        field: Running scale before the item.
        sent: One of :data:`PENDING`.
        value: NaN where missing.
        predicted: Whether the stream had a prediction.
    """
    score.covered = sent.low <= value <= sent.high
    if not predicted or field.count == 0 or math.isnan(value):
        score.error = score.crps = score.persistence_error = math.nan
        return
    item.scored = True
    score.error = value - sent.mean
    score.persistence_error = value - field.observed
    std = sent.std if sent.std > 0 else 1.0
    score.crps = crps(score.error, std, sent.degrees)
    nats = nll(score.error, std, sent.degrees)
    item.nll += nats
    item.surprise += nats - math.log(increment_size(field))


@part
def score_category(item: Record, score: Record, likely: np.ndarray, slot: int, predicted: bool) -> None:
    """Score what was sent of a category field; ``item`` and ``score`` change.

    Args:
        item: One of :data:`ITEM`, which the field is added to.
        score: One of :data:`CATEGORY`.
        likely: Probabilities of the field's slots, (V,).
        slot: -1 where missing.
        predicted: Whether the stream had a prediction.
    """
    score.nll = math.nan
    score.rank = 0
    if predicted and slot >= 0:
        item.scored = True
        score.nll = -math.log(max(np.float64(likely[slot]), FLOOR))
        score.rank = rank(likely, slot)
        item.nll += score.nll
        item.surprise += score.nll


@part
def tally_real(tally: Record, score: Record) -> None:
    """Add a real field's score, if there is one, to its sums."""
    if not math.isnan(score.error):
        tally.scored += 1
        tally.squares += score.error**2
        tally.absolutes += abs(score.error)
        tally.persistence_squares += score.persistence_error**2
        tally.covered += score.covered


@part
def tally_category(tally: Record, score: Record, slot: int, last_slot: int) -> None:
    """Add a category field's score, if there is one, to its sums; ``last_slot`` is that of the value before."""
    if score.rank > 0:
        tally.named += 1
        tally.right += score.rank == 1
        tally.repeated += slot == last_slot
        tally.nats += score.nll
