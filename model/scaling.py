"""Running scale per stream and real field: what makes a stream of any unit look alike to the network.

Everything here works on (B, R) float64 arrays, B streams by R real fields.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

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


def scaling_dtype(n_reals: int) -> np.dtype[np.void]:
    """Layout of one stream's running scale.

    ``value`` is the last value, or what stood in for it; ``observed`` the last value that was seen (NaN before any);
    ``gap`` items missing since then; ``count`` values seen; ``level`` and ``spread`` running mean and variance of the
    values; ``change`` running mean square of the increments, of which there were ``n_changes``; ``error`` running mean
    square of the prediction error, of which there were ``n_errors``, and ``slow_error`` the same over a longer time.
    """
    return np.dtype([(name, np.float64, (n_reals,)) for name in ("value", "observed", "gap", *LEARNED)])


def fresh(records: np.ndarray) -> None:
    """Set records to those of a stream that has seen nothing."""
    for name in records.dtype.names or ():
        records[name] = np.nan if name == "observed" else 0.0


def increment_scale(records: np.ndarray) -> Floats:
    """Typical size of an increment, (B, R); above 0 always."""
    guess = np.where(records["value"] == 0, 1.0, 0.1 * np.abs(records["value"]))
    return np.maximum(np.where(records["n_changes"] > 0, np.sqrt(records["change"]), guess), _floor(records))


def level_scale(records: np.ndarray) -> Floats:
    """Standard deviation of the values, (B, R), at least the increments' scale."""
    return np.asarray(np.maximum(np.sqrt(records["spread"]), increment_scale(records)))


def error_scale(records: np.ndarray) -> Floats:
    """Typical size of the error of a prediction from the item before, (B, R); the increments' until there was one."""
    size: Floats = np.maximum(np.sqrt(records["error"]), QUIET * np.sqrt(records["slow_error"]))
    return np.where(records["n_errors"] > 0, np.maximum(size, _floor(records)), increment_scale(records))


def bound(records: np.ndarray, values: Floats) -> Floats:
    """Keep values that were predicted, not seen, within the range the stream has shown."""
    reach = 4 * level_scale(records)
    low = np.minimum(records["level"] - reach, records["value"])
    high = np.maximum(records["level"] + reach, records["value"])
    return np.asarray(np.clip(values, low, high))


def observe(records: np.ndarray, values: Floats, stand_in: Floats, error: Floats) -> None:
    """Take in one item per stream; ``records`` is changed.

    Args:
        records: Of the streams, (B,).
        values: What was observed, (B, R); NaN where missing.
        stand_in: Takes a missing value's place as the last value, (B, R).
        error: Observed minus predicted, (B, R); NaN where there was no prediction or no value.
    """
    seen = ~np.isnan(values)
    increment = np.where(seen, values, 0.0) - records["value"]
    consecutive = seen & (records["count"] > 0) & (records["gap"] == 0)
    predicted = consecutive & ~np.isnan(error)
    errors = np.maximum(error_scale(records), np.sqrt(records["slow_error"]))
    changes = increment_scale(records)
    records["n_errors"] += predicted
    records["n_changes"] += consecutive
    _average(records, "error", "n_errors", error, errors, predicted, ERROR_HORIZON)
    _average(records, "slow_error", "n_errors", error, errors, predicted, HORIZON)
    _average(records, "change", "n_changes", increment, changes, consecutive, HORIZON)

    records["count"] += seen
    rate = 1 / np.clip(records["count"], 1, HORIZON)
    deviation = np.where(seen, np.where(seen, values, 0.0) - records["level"], 0.0)
    most = np.where(records["count"] > _TRUSTED, OUTLIER * level_scale(records), np.inf)
    deviation = np.clip(deviation, -most, most)
    first = records["count"] <= 1
    records["level"] = np.where(seen & first, values, records["level"] + rate * deviation)
    spread = (1 - rate) * (records["spread"] + rate * np.square(deviation))
    records["spread"] = np.where(seen, np.where(first, 0.0, spread), records["spread"])
    records["observed"] = np.where(seen, values, records["observed"])
    records["value"] = np.where(seen, values, np.where(records["count"] > 0, stand_in, 0.0))
    records["gap"] = np.where(seen, 0.0, records["gap"] + 1)


def _average(
    records: np.ndarray, mean: str, count: str, values: Floats, scale: Floats, use: Bools, horizon: int
) -> None:
    """Fold squared ``values`` into a running mean square, outliers cut."""
    n = records[count]
    most = np.where(n > _TRUSTED, OUTLIER * scale, np.inf)
    square = np.square(np.minimum(np.abs(np.where(use, values, 0.0)), most))
    rate = 1 / np.clip(n, 1, horizon)
    records[mean] = np.where(use, records[mean] + rate * (square - records[mean]), records[mean])


def _floor(records: np.ndarray) -> Floats:
    size: Floats = np.maximum(np.abs(records["level"]), np.abs(records["value"]))
    return np.maximum(_RELATIVE_FLOOR * size, _ABSOLUTE_FLOOR)
