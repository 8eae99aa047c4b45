"""What the network is shown of an item: scaled values, the last prediction's error, what is missing, the calendar."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.kernels import SINGLES, SLOTS, TIMES, VALUES, clip, fields_of, kernel
from model.scaling import SCALE, increment_size, level_size
from model.spec import ModelSpec
from model.timing import N_CALENDAR, calendar, expected

Floats = NDArray[np.float64]

CLIP = 8.0
"""Inputs and targets are kept within this many scales."""

MAX_OUTPUT = 12.0
"""Increments that the network predicts are kept within this many scales."""

_PER_REAL = 4  # increment, level, error, missing; and the regression's forecast where there are experts
_PER_CATEGORY = 2  # surprise, missing


def n_dense(spec: ModelSpec) -> int:
    """Dense inputs of the network (D)."""
    return (_PER_REAL + spec.has_experts) * len(spec.reals) + _PER_CATEGORY * len(spec.categories) + N_CALENDAR


def targets(records: np.ndarray, values: Floats) -> Floats:
    """Scaled increments that the network was to predict, (B, R); NaN where missing or without a value before it.

    Args:
        records: Running scale before the item, (B, R).
        values: What was observed, (B, R); NaN where missing.
    """
    scaled = np.empty(values.shape)
    _targets(records, values, scaled)
    return scaled


def dense(
    before: np.ndarray,
    after: np.ndarray,
    forecast: Floats | None,
    error: Floats,
    category_nll: Floats,
    slots: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The dense inputs made from one item per stream.

    Args:
        before: Beliefs before the item, (B,).
        after: The same, with scale and time after the item; the scale's ``value`` stands in for missing ones.
        forecast: What the regression says of the next item, (B, R), NaN where nothing; ``None`` without experts.
        error: Observed minus predicted, (B, R); NaN where it was not scored.
        category_nll: Nats of each category field's value under its prediction, (B, C); NaN where unknown.
        slots: (B, C); -1 where missing.

    Returns:
        (B, D) float32, finite, within ``CLIP``.
    """
    n, n_reals = error.shape
    forecast = np.empty((n, 0)) if forecast is None else forecast
    n_inputs = _PER_REAL * n_reals + forecast.shape[1] + _PER_CATEGORY * slots.shape[1] + N_CALENDAR
    found = np.empty((n, n_inputs), np.float32)
    _dense(
        *(before["scale"], before["outputs"], after["scale"], after["timestamp_us"], after["interval_us"]),
        *(forecast, error, category_nll, slots, found),
    )
    return found


@kernel(fields_of(SCALE), VALUES, VALUES)
def _targets(scale: np.ndarray, values: np.ndarray, scaled: np.ndarray) -> None:
    for b in range(values.shape[0]):
        for f in range(values.shape[1]):
            field = scale[b, f]
            increment = clip((values[b, f] - field.value) / increment_size(field), CLIP)
            scaled[b, f] = increment if field.count > 0 and not math.isnan(values[b, f]) else math.nan


@kernel(fields_of(SCALE), SINGLES, fields_of(SCALE), TIMES, TIMES, VALUES, VALUES, VALUES, SLOTS, SINGLES)
def _dense(
    scale_before: np.ndarray,
    outputs: np.ndarray,
    scale: np.ndarray,
    times: np.ndarray,
    intervals: np.ndarray,
    forecast: np.ndarray,
    error: np.ndarray,
    category_nll: np.ndarray,
    slots: np.ndarray,
    found: np.ndarray,
) -> None:
    n_reals, n_categories, n_forecasts = error.shape[1], slots.shape[1], forecast.shape[1]
    n_dense = found.shape[1]
    for b in range(found.shape[0]):
        row = found[b]
        for f in range(n_reals):
            old, new = scale_before[b, f], scale[b, f]
            unit = increment_size(new)
            row[f] = clip((new.value - old.value) / unit, CLIP) if old.count > 0 else 0.0
            row[n_reals + f] = clip((new.value - new.level) / level_size(new), CLIP)
            surprise = 0.0
            if not math.isnan(error[b, f]):  # then the value was seen, and is the scale's
                surprise = clip((new.value - old.value) / increment_size(old) - outputs[b, f], CLIP)
            row[2 * n_reals + f] = surprise
            row[3 * n_reals + f] = 1.0 if new.gap > 0 else 0.0
            if n_forecasts:
                ahead = clip((forecast[b, f] - new.value) / unit, CLIP)
                row[4 * n_reals + f] = 0.0 if math.isnan(forecast[b, f]) else ahead
        at = _PER_REAL * n_reals + n_forecasts
        for c in range(n_categories):
            nats = category_nll[b, c]
            row[at + c] = 0.0 if math.isnan(nats) else clip(nats, CLIP)
            row[at + n_categories + c] = 1.0 if slots[b, c] < 0 else 0.0
        calendar(expected(times[b], intervals[b]), row[n_dense - N_CALENDAR :])
