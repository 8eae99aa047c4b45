"""What an item does to all of a stream's numbers but the network's: three loops over the streams of a batch.

:func:`judge` compares the item with what was predicted, before anything is learned from it. :func:`learn` takes the
scores in, :func:`show` the item itself, and makes the network's inputs of it. Between these two experts observe the
item, see :mod:`model.experts`. Kernels work in place on the beliefs' own memory; what they do to one field or one
stream is said by the parts they call, in the modules named after it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.calibration import track
from model.drift import CATEGORY_FLOOR, REAL_FLOOR, follow, note
from model.drift import FIELD as DRIFT_FIELD
from model.drift import STREAM as DRIFT_STREAM
from model.experts.records import FIELD as EXPERTS_FIELD
from model.experts.records import REGRESSION
from model.features import MAX_OUTPUT, PER_REAL, show_category, show_forecast, show_real, target
from model.kernels import ITEMS, PER_STREAM, SINGLES, SLOTS, TIMES, VALUES, clip, fields_of, kernel, streams_of
from model.scaling import SCALE, bounded, increment_size, observe
from model.scoring import (
    CATEGORY,
    CATEGORY_TALLY,
    ITEM,
    PENDING,
    REAL,
    REAL_TALLY,
    Scores,
    begin,
    score_category,
    score_real,
    tally_category,
    tally_real,
)
from model.step import Observed
from model.student import score_candidates
from model.surprise import HISTOGRAMS, count, share_below
from model.timing import N_CALENDAR, calendar, expected, tell

Floats = NDArray[np.float64]

_MOST = 1e6  # standard deviations; a standardised error counts as at most this
_NO_EXPERTS = np.empty((0, 0), EXPERTS_FIELD)
_SLOTS32 = types.int32[:, :]


def judge(
    records: np.ndarray, observed: Observed, bounds: NDArray[np.int64], *, mixed: bool
) -> tuple[Scores, Floats, Floats]:
    """Compare the items with what was predicted of them.

    Args:
        records: Beliefs before the items, (B,); not changed.
        observed: The items.
        bounds: Where each category field's slots begin and end among all probabilities, (C, 2).
        mixed: Whether a missing value is replaced by the prediction that was sent. Otherwise by the plain path's own.

    Returns:
        The scores; the scaled increments that the network was to predict, (B, R), NaN where missing or without a value
        before it; and what takes a missing value's place, (B, R).
    """
    values, slots = observed.values, observed.slots
    scores = Scores.room(len(records), values.shape[1], slots.shape[1])
    targets, stand_in = np.empty(values.shape), np.empty(values.shape)
    _judge(
        *(records["sequence"], records["scale"], records["pending"], records["probabilities"], records["surprises"]),
        *(records["outputs"], values, slots, bounds, mixed),
        *(scores.reals, scores.categories, scores.items, targets, stand_in),
    )
    return scores, targets, stand_in


def learn(records: np.ndarray, scores: Scores, slots: NDArray[np.int64]) -> None:
    """Take the scores into calibration, tails, tallies, drift and the histogram of surprise; ``records`` is changed.

    To be called with scale and sequence still those before the item.

    Args:
        records: Beliefs, (B,).
        scores: Of the items.
        slots: (B, C); -1 where missing.
    """
    tally, drift = records["tally"], records["drift"]
    _learn(
        *(records["sequence"], records["scale"], records["pending"], records["quantiles"], records["tails"]["gains"]),
        *(tally["reals"], tally["categories"], tally["nll"], tally["n_scores"], records["surprises"]),
        *(drift["stream"], drift["fields"], records["last_slots"]),
        *(slots, scores.reals, scores.categories, scores.items),
    )


def show(
    records: np.ndarray, observed: Observed, scores: Scores, stand_in: Floats, category_nll: Floats, n_paths: int
) -> NDArray[np.float32]:
    """Take the items into scale and time, and make the network's inputs of them; ``records`` is changed.

    To be called once the scores are taken in and experts have observed the items.

    Args:
        records: Beliefs that still hold the network's outputs for the items, (B,).
        observed: The items.
        scores: Of what was predicted of them.
        stand_in: Takes a missing value's place as the last value, (B, R).
        category_nll: Nats of each category field's value under its prediction, (B, C); NaN where unknown.
        n_paths: Paths that the network's state is carried along (P): with two, as the window continues and as the
            belief does.

    Returns:
        The dense inputs of each path, (P, B, D), finite, within :data:`model.features.CLIP`. Paths differ in what the
        network had put out for the item, and so in its error.
    """
    names = records.dtype.names or ()
    inputs = np.empty((n_paths, len(records), records["newest"].shape[1]), np.float32)
    _show(
        *(records["scale"], records["origin"], records["unit"], records["timestamp_us"], records["interval_us"]),
        records["experts"]["fields"] if "experts" in names else _NO_EXPERTS,
        *(records["outputs"], records["corrected_outputs"], observed.values, observed.slots, observed.timestamp_us),
        *(scores.reals, stand_in, category_nll, inputs),
    )
    return inputs


@kernel(
    *(ITEMS, fields_of(SCALE), fields_of(PENDING), SINGLES, HISTOGRAMS, SINGLES, VALUES, SLOTS, SLOTS, types.boolean),
    *(fields_of(REAL), fields_of(CATEGORY), streams_of(ITEM), VALUES, VALUES),
)
def _judge(
    sequence: np.ndarray,
    scale: np.ndarray,
    pending: np.ndarray,
    probabilities: np.ndarray,
    surprises: np.ndarray,
    outputs: np.ndarray,
    values: np.ndarray,
    slots: np.ndarray,
    bounds: np.ndarray,
    mixed: bool,
    reals: np.ndarray,
    categories: np.ndarray,
    items: np.ndarray,
    targets: np.ndarray,
    stand_in: np.ndarray,
) -> None:
    for b in range(items.size):
        item, predicted = items[b], sequence[b] > 0
        begin(item)
        for f in range(values.shape[1]):
            field, sent, value = scale[b, f], pending[b, f], values[b, f]
            score_real(item, reals[b, f], field, sent, value, predicted)
            targets[b, f] = target(field, value)
            # Without experts what the weights learn from is the plain path's own: corrections cannot change it.
            plain = field.value + increment_size(field) * clip(np.float64(outputs[b, f]), MAX_OUTPUT)
            stand_in[b, f] = bounded(field, sent.mean if mixed else plain)
        for c in range(slots.shape[1]):
            likely = probabilities[b, bounds[c, 0] : bounds[c, 1]]
            score_category(item, categories[b, c], likely, slots[b, c], predicted)
        item.anomaly = share_below(surprises[b], item.surprise)


@kernel(
    *(ITEMS, fields_of(SCALE), fields_of(PENDING), types.float32[:, :, :], types.float64[:, :, :]),
    *(fields_of(REAL_TALLY), fields_of(CATEGORY_TALLY), PER_STREAM, ITEMS, HISTOGRAMS),
    *(streams_of(DRIFT_STREAM), fields_of(DRIFT_FIELD), _SLOTS32),
    *(SLOTS, fields_of(REAL), fields_of(CATEGORY), streams_of(ITEM)),
)
def _learn(
    sequence: np.ndarray,
    scale: np.ndarray,
    pending: np.ndarray,
    quantiles: np.ndarray,
    gains: np.ndarray,
    real_tallies: np.ndarray,
    category_tallies: np.ndarray,
    nll: np.ndarray,
    n_scores: np.ndarray,
    surprises: np.ndarray,
    drifts: np.ndarray,
    drift_fields: np.ndarray,
    last_slots: np.ndarray,
    slots: np.ndarray,
    reals: np.ndarray,
    categories: np.ndarray,
    items: np.ndarray,
) -> None:
    n_reals, n_categories = reals.shape[1], categories.shape[1]
    for b in range(items.size):
        for f in range(n_reals):
            field, score, std = scale[b, f], reals[b, f], pending[b, f].std
            if not math.isnan(score.error):
                standardised = score.error / std if std > 0 else score.error
                track(quantiles[b, f], clip(standardised, _MOST), field.n_errors)
            tally_real(real_tallies[b, f], score)
            score_candidates(gains[b, f], score.error, std)
            follow(drift_fields[b, f], abs(score.error), REAL_FLOOR * increment_size(field))
        for c in range(n_categories):
            outcome = categories[b, c]
            tally_category(category_tallies[b, c], outcome, slots[b, c], last_slots[b, c])
            follow(drift_fields[b, n_reals + c], outcome.nll, CATEGORY_FLOOR)
        note(drifts[b], drift_fields[b], sequence[b] + 1)
        if items[b].scored:
            nll[b] += items[b].nll
            n_scores[b] += 1
            count(surprises[b], items[b].surprise)


@kernel(
    *(fields_of(SCALE), VALUES, VALUES, TIMES, TIMES, fields_of(EXPERTS_FIELD), SINGLES, SINGLES),
    *(VALUES, SLOTS, TIMES, fields_of(REAL), VALUES, VALUES, types.float32[:, :, :]),
)
def _show(
    scale: np.ndarray,
    origins: np.ndarray,
    units: np.ndarray,
    times: np.ndarray,
    intervals: np.ndarray,
    experts: np.ndarray,
    outputs: np.ndarray,
    corrected_outputs: np.ndarray,
    values: np.ndarray,
    slots: np.ndarray,
    item_times: np.ndarray,
    scores: np.ndarray,
    stand_in: np.ndarray,
    category_nll: np.ndarray,
    inputs: np.ndarray,
) -> None:
    n_paths, n, n_dense = inputs.shape
    n_reals, n_categories = values.shape[1], slots.shape[1]
    has_experts = experts.shape[1] > 0
    for b in range(n):
        for f in range(n_reals):
            field, error = scale[b, f], scores[b, f].error
            before, unit, was_seen = field.value, increment_size(field), field.count > 0
            origins[b, f], units[b, f] = before, unit
            observe(field, values[b, f], stand_in[b, f], error)
            for p in range(n_paths):
                said = corrected_outputs[b, f] if p else outputs[b, f]
                show_real(field, before, unit, was_seen, error, said, inputs[p, b], f, n_reals)
                if has_experts:
                    show_forecast(field, experts[b, f].forecasts[REGRESSION], inputs[p, b], f, n_reals)
        tell(times, intervals, b, item_times[b])
        at = (PER_REAL + has_experts) * n_reals
        for p in range(n_paths):
            for c in range(n_categories):
                show_category(category_nll[b, c], slots[b, c], inputs[p, b], at, c, n_categories)
            calendar(expected(times[b], intervals[b]), inputs[p, b, n_dense - N_CALENDAR :])
