"""Running scale per stream and real field: what makes a stream of any unit look alike to the network.

Arrays and records are (B, R), B streams by R real fields; numbers are float64.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.kernels import VALUES, clip, fields_of, kernel, part

Floats = NDArray[np.float64]

HORIZON = 1000
"""Items over which the running scale forgets; before that it is a plain average."""

ERROR_HORIZON = 33
"""Items over which the size of the prediction error forgets: volatility changes faster than a unit does."""

QUIET = 0.25
"""Least share of its long-run size that the prediction error is taken for, however quiet it has been of late."""

OUTLIER = 8.0
"""A deviation counts as at most this many scales, so that one spike moves the scale little and a new unit soon."""

LEARNED = ("count", "level", "spread", "n_changes", "change", "n_errors", "error", "slow_error")
"""Parts that are averages over what was seen, as against the last value and the gap since it."""

_TRUSTED = 10  # observations before outliers are told from the rest
_RELATIVE_FLOOR = 1e-9  # of the level: differences below float noise are no scale
_ABSOLUTE_FLOOR = 1e-100


SCALE = np.dtype([(name, np.float64) for name in ("value", "observed", "gap", *LEARNED)])
"""Running scale of one real field of a stream.

``value`` is the last value, or what stood in for it; ``observed`` the last value that was seen (NaN before any);
``gap`` items missing since then; ``count`` values seen; ``level`` and ``spread`` running mean and variance of the
values; ``change`` running mean square of the increments, of which there were ``n_changes``; ``error`` running mean
square of the prediction error, of which there were ``n_errors``, and ``slow_error`` the same over a longer time.
"""

Scale: TypeAlias = Any
"""One record of :data:`SCALE` as kernels see it: its parts are attributes, which can be assigned to."""


def scaling_dtype(n_reals: int) -> np.dtype[np.void]:
    """Layout of one stream's running scale: :data:`SCALE` per real field."""
    return np.dtype((SCALE, (n_reals,)))


def fresh(records: np.ndarray) -> None:
    """Set records to those of a stream that has seen nothing."""
    for name in records.dtype.names or ():
        records[name] = np.nan if name == "observed" else 0.0


@part
def increment_size(field: Scale) -> float:
    """Typical size of an increment; above 0 always."""
    guess = 1.0 if field.value == 0 else 0.1 * abs(field.value)
    return max(math.sqrt(field.change) if field.n_changes > 0 else guess, _floor(field))


@part
def level_size(field: Scale) -> float:
    """Standard deviation of the values, at least the increments' size."""
    return max(math.sqrt(field.spread), increment_size(field))


@part
def error_size(field: Scale) -> float:
    """Typical size of the error of a prediction from the item before; the increments' until there was one."""
    if field.n_errors > 0:
        return max(math.sqrt(field.error), QUIET * math.sqrt(field.slow_error), _floor(field))
    return increment_size(field)


@part
def bounded(field: Scale, value: float) -> float:
    """A value that was predicted, not seen, kept within the range the stream has shown."""
    reach = 4 * level_size(field)
    low: float = min(field.level - reach, field.value)
    high: float = max(field.level + reach, field.value)
    return min(max(value, low), high)


@part
def observe(field: Scale, value: float, stand_in: float, error: float) -> None:
    """Take in one item; ``field`` is changed.

    Args:
        field: Record.
        value: What was observed; NaN where missing.
        stand_in: Takes a missing value's place as the last value.
        error: Observed minus predicted; NaN where there was no prediction or no value.
    """
    if math.isnan(value):
        field.value = stand_in if field.count > 0 else 0.0
        field.gap += 1
        return
    if field.count > 0 and field.gap == 0:  # an increment, and not one over several items
        change = increment_size(field)
        if not math.isnan(error):
            _follow_errors(field, error)
        field.n_changes += 1
        field.change = _averaged(field.change, value - field.value, change, field.n_changes, HORIZON)
    _follow_level(field, value)
    field.observed = value
    field.value = value
    field.gap = 0.0


def bound(records: np.ndarray, values: Floats) -> Floats:
    """Keep values (B, R) that were predicted, not seen, within the range the stream has shown."""
    kept = np.empty(records.shape)
    _bound(records, values, kept)
    return kept


@part
def _floor(field: Scale) -> float:
    size: float = max(abs(field.level), abs(field.value))
    return max(_RELATIVE_FLOOR * size, _ABSOLUTE_FLOOR)


@part
def _averaged(mean: float, value: float, scale: float, n: float, horizon: float) -> float:
    """A running mean square with ``value`` taken in as the ``n``-th, outliers cut."""
    size: float = abs(value)
    if n > _TRUSTED:
        size = min(size, OUTLIER * scale)
    return mean + (size * size - mean) / min(max(n, 1.0), horizon)


@part
def _follow_errors(field: Scale, error: float) -> None:
    scale = max(error_size(field), math.sqrt(field.slow_error))
    field.n_errors += 1
    field.error = _averaged(field.error, error, scale, field.n_errors, ERROR_HORIZON)
    field.slow_error = _averaged(field.slow_error, error, scale, field.n_errors, HORIZON)


@part
def _follow_level(field: Scale, value: float) -> None:
    field.count += 1
    if field.count <= 1:
        field.level = value
        field.spread = 0.0
        return
    rate = 1 / min(field.count, HORIZON)
    deviation = value - field.level
    if field.count > _TRUSTED:
        deviation = clip(deviation, OUTLIER * level_size(field))
    field.level += rate * deviation
    field.spread = (1 - rate) * (field.spread + rate * deviation * deviation)


@kernel(fields_of(SCALE), VALUES, VALUES)
def _bound(fields: np.ndarray, values: np.ndarray, kept: np.ndarray) -> None:
    for b in range(fields.shape[0]):
        for f in range(fields.shape[1]):
            kept[b, f] = bounded(fields[b, f], values[b, f])
