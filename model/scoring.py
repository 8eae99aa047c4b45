"""How good the pending prediction was, taken before anything is learned from the item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model import calibration, distribution, scaling, student, surprise

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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
    pending, scale = records["pending"], records["scale"]
    predicted = (records["sequence"] > 0)[:, None]
    known = predicted & (scale["count"] > 0) & ~np.isnan(values)
    error = np.where(known, values - pending["mean"], np.nan)
    std = np.where(pending["std"] > 0, pending["std"], 1.0)
    real_nll, crps = distribution.normal_nll(error, std), distribution.normal_crps(error, std)
    student.rescore(error, std, pending["degrees"], real_nll, crps)

    category_nll = np.full(slots.shape, np.nan)
    rank = np.zeros(slots.shape, np.int64)
    for j, (start, stop) in enumerate(slices):
        probabilities = records["probabilities"][:, start:stop].astype(np.float64)
        named = (predicted[:, 0]) & (slots[:, j] >= 0)
        slot = np.maximum(slots[:, j], 0)
        own = np.take_along_axis(probabilities, slot[:, None], 1)[:, 0]
        category_nll[:, j] = np.where(named, -np.log(np.maximum(own, distribution.FLOOR)), np.nan)
        rank[:, j] = np.where(named, distribution.rank(probabilities, slot), 0)

    categories = np.nansum(category_nll, axis=1)
    surprises = np.nansum(real_nll - np.log(scaling.increment_scale(scale)), axis=1) + categories
    return Scores(
        scored=np.asarray(known.any(1) | (rank > 0).any(1)),
        nll=np.nansum(real_nll, axis=1) + categories,
        anomaly=surprise.share_below(records["surprises"], surprises),
        error=error,
        crps=crps,
        covered=(values >= pending["low"]) & (values <= pending["high"]),
        persistence_error=np.where(known, values - scale["observed"], np.nan),
        category_nll=category_nll,
        rank=rank,
        surprise=surprises,
    )


def take_in(records: np.ndarray, scores: Scores, slots: NDArray[np.int64]) -> None:
    """Fold the scores into calibration, tallies and the histogram of surprise; ``records`` is changed.

    Must come before the running scale takes in the item.
    """
    pending, tally = records["pending"], records["tally"]
    std = np.where(pending["std"] > 0, pending["std"], 1.0)
    standardised = np.clip(scores.error / std, -1e6, 1e6)
    records["quantiles"] = calibration.track(records["quantiles"], standardised, records["scale"]["n_errors"])

    known = ~np.isnan(scores.error)
    error, persistence = np.nan_to_num(scores.error), np.nan_to_num(scores.persistence_error)
    tally["scored"] += known
    tally["squares"] += np.square(error)
    tally["absolutes"] += np.abs(error)
    tally["persistence_squares"] += np.square(persistence)
    tally["covered"] += scores.covered & known

    named = scores.rank > 0
    tally["named"] += named
    tally["right"] += scores.rank == 1
    tally["repeated"] += named & (slots == records["last_slots"])
    tally["nats"] += np.nan_to_num(scores.category_nll)
    tally["nll"] += np.where(scores.scored, scores.nll, 0.0)
    tally["n_scores"] += scores.scored
    surprise.count(records["surprises"], scores.surprise, scores.scored)
