"""How good the pending prediction was, taken before anything is learned from the item."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.calibration import track
from model.distribution import FLOOR, rank
from model.kernels import FACTS, ITEMS, PER_STREAM, SINGLES, SLOTS, VALUES, clip, fields_of, kernel, streams_of
from model.scaling import SCALE, increment_size
from model.student import crps, nll
from model.surprise import HISTOGRAMS, count, share_below

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

_REAL = np.dtype(
    [("error", np.float64), ("crps", np.float64), ("persistence_error", np.float64), ("covered", np.bool_)], align=True
)
_CATEGORY = np.dtype([("nll", np.float64), ("rank", np.int64)])
_ITEM = np.dtype(
    [("nll", np.float64), ("anomaly", np.float64), ("surprise", np.float64), ("scored", np.bool_)], align=True
)
_MOST = 1e6  # standard deviations; a standardised error counts as at most this


@dataclass(slots=True)
class Scores:
    """Scores of one item per stream. NaN stands for "not scored": the value or its prediction was missing.

    Args:
        scored: Whether anything was, (B,).
        nll: Nats of all observed fields under the distribution that was sent, (B,).
        anomaly: Share of the stream's past items that were less surprising, (B,).
        error: Observed minus predicted mean, (B, R), in the field's unit.
        crps: Continuous ranked probability score, (B, R), in the field's unit.
        covered: Whether the value lay within the outermost quantiles sent, (B, R).
        persistence_error: Observed minus the last observed value, (B, R).
        category_nll: Nats, (B, C).
        rank: Place of the value among all by probability, (B, C), from 1; 0 where not scored.
        surprise: Nats in units of the running scale, comparable within a stream, (B,).
    """

    scored: Bools
    nll: Floats
    anomaly: Floats
    error: Floats
    crps: Floats
    covered: Bools
    persistence_error: Floats
    category_nll: Floats
    rank: NDArray[np.int64]
    surprise: Floats


def score(records: np.ndarray, values: Floats, slots: NDArray[np.int64], slices: list[tuple[int, int]]) -> Scores:
    """Score each stream's pending prediction against its item.

    Args:
        records: Beliefs before the item, (B,); not changed.
        values: (B, R); NaN where missing.
        slots: (B, C); -1 where missing.
        slices: Of each category field among the pending probabilities.
    """
    reals, categories = np.empty(values.shape, _REAL), np.empty(slots.shape, _CATEGORY)
    items = np.empty(len(records), _ITEM)
    bounds = np.array(slices, np.int64).reshape(-1, 2)
    _score(
        *(records["sequence"], records["scale"], records["pending"], records["probabilities"], records["surprises"]),
        *(values, slots, bounds, reals, categories, items),
    )
    return Scores(
        scored=items["scored"],
        nll=items["nll"],
        anomaly=items["anomaly"],
        error=reals["error"],
        crps=reals["crps"],
        covered=reals["covered"],
        persistence_error=reals["persistence_error"],
        category_nll=categories["nll"],
        rank=categories["rank"],
        surprise=items["surprise"],
    )


def take_in(records: np.ndarray, scores: Scores, slots: NDArray[np.int64]) -> None:
    """Fold the scores into calibration, tallies and the histogram of surprise; ``records`` is changed.

    Must come before the running scale takes in the item.
    """
    tally = records["tally"]
    _take_in_reals(
        *(records["scale"], records["pending"], records["quantiles"], tally["reals"]),
        *(scores.error, scores.persistence_error, scores.covered),
    )
    if slots.shape[1]:
        _take_in_categories(tally["categories"], records["last_slots"], slots, scores.category_nll, scores.rank)
    _take_in_items(
        *(tally["nll"], tally["n_scores"], records["surprises"], scores.scored, scores.nll, scores.surprise),
    )


@kernel(
    *(ITEMS, fields_of(SCALE), fields_of(PENDING), SINGLES, HISTOGRAMS, VALUES, SLOTS, SLOTS),
    *(fields_of(_REAL), fields_of(_CATEGORY), streams_of(_ITEM)),
)
def _score(
    sequence: np.ndarray,
    scale: np.ndarray,
    pending: np.ndarray,
    probabilities: np.ndarray,
    surprises: np.ndarray,
    values: np.ndarray,
    slots: np.ndarray,
    bounds: np.ndarray,
    reals: np.ndarray,
    categories: np.ndarray,
    items: np.ndarray,
) -> None:
    for b in range(items.size):
        item = items[b]
        item.scored = False
        item.nll = 0.0
        item.surprise = 0.0
        for f in range(values.shape[1]):
            field, sent, score, value = scale[b, f], pending[b, f], reals[b, f], values[b, f]
            score.covered = sent.low <= value <= sent.high
            if sequence[b] == 0 or field.count == 0 or math.isnan(value):
                score.error = score.crps = score.persistence_error = math.nan
                continue
            item.scored = True
            score.error = value - sent.mean
            score.persistence_error = value - field.observed
            std = sent.std if sent.std > 0 else 1.0
            score.crps = crps(score.error, std, sent.degrees)
            nats = nll(score.error, std, sent.degrees)
            item.nll += nats
            item.surprise += nats - math.log(increment_size(field))
        for c in range(slots.shape[1]):
            outcome, slot = categories[b, c], slots[b, c]
            outcome.nll = math.nan
            outcome.rank = 0
            if sequence[b] > 0 and slot >= 0:
                likely = probabilities[b, bounds[c, 0] : bounds[c, 1]]
                item.scored = True
                outcome.nll = -math.log(max(np.float64(likely[slot]), FLOOR))
                outcome.rank = rank(likely, slot)
                item.nll += outcome.nll
                item.surprise += outcome.nll
        item.anomaly = share_below(surprises[b], item.surprise)


@kernel(
    *(fields_of(SCALE), fields_of(PENDING), types.float32[:, :, :], fields_of(REAL_TALLY)),
    *(VALUES, VALUES, types.boolean[:, :]),
)
def _take_in_reals(
    scale: np.ndarray,
    pending: np.ndarray,
    quantiles: np.ndarray,
    tallies: np.ndarray,
    errors: np.ndarray,
    persistence_errors: np.ndarray,
    covered: np.ndarray,
) -> None:
    for b in range(errors.shape[0]):
        for f in range(errors.shape[1]):
            error, std, tally = errors[b, f], pending[b, f].std, tallies[b, f]
            if not math.isnan(error):
                track(quantiles[b, f], clip(error / std if std > 0 else error, _MOST), scale[b, f].n_errors)
                tally.scored += 1
                tally.squares += error**2
                tally.absolutes += abs(error)
                tally.persistence_squares += persistence_errors[b, f] ** 2
                tally.covered += covered[b, f]


@kernel(fields_of(CATEGORY_TALLY), types.int32[:, :], SLOTS, VALUES, SLOTS)
def _take_in_categories(
    tallies: np.ndarray, last_slots: np.ndarray, slots: np.ndarray, nll: np.ndarray, ranks: np.ndarray
) -> None:
    for b in range(slots.shape[0]):
        for c in range(slots.shape[1]):
            if ranks[b, c] > 0:
                tallies[b, c].named += 1
                tallies[b, c].right += ranks[b, c] == 1
                tallies[b, c].repeated += slots[b, c] == last_slots[b, c]
                tallies[b, c].nats += nll[b, c]


@kernel(PER_STREAM, ITEMS, HISTOGRAMS, FACTS, PER_STREAM, PER_STREAM)
def _take_in_items(
    total: np.ndarray,
    n_scores: np.ndarray,
    surprises: np.ndarray,
    scored: np.ndarray,
    nll: np.ndarray,
    surprise: np.ndarray,
) -> None:
    for b in range(scored.size):
        if scored[b]:
            total[b] += nll[b]
            n_scores[b] += 1
            count(surprises[b], surprise[b])
