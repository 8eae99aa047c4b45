"""Running scales of a field, the path of its values in their units, and what stands in for a missing value."""

from __future__ import annotations

import math

import numpy as np

from model.experts.records import Field
from model.kernels import clip, part

RATE = 0.005
"""Of the running means: about 200 items; before that they are plain averages."""

_RECENT_RATE = 1 / 32  # of the quick mean square of increments
_MATURE = 64  # values seen, after which the quick one bounds the slow one
_MAX_RATIO = 100.0  # of the slow to the quick one: forgets a spike or an old unit
_OUTLIER = 5.0  # scales; a deviation counts as at most this many
_REACH = 3.0  # standard deviations from the level that a stand-in may be at, beyond the last value
_MAX_STEP = 1000.0  # scales; an increment moves the path by at most this many
_MAX_SPREAD = 1e6  # times the mean square of increments
_NOTHING = 1e-280  # a square below this is that of float noise, and is taken for 0


@part
def _follow_change(field: Field, path: np.ndarray, increment: float) -> None:
    """Follow the size of increments, slowly and quickly, and keep the path in its units."""
    before = field.change
    if field.change == 0:
        field.change = increment * increment
        field.recent_change = field.change
    else:
        square = clip(increment, _OUTLIER * math.sqrt(field.change)) ** 2
        field.change += max(1 / field.n_seen, RATE) * (square - field.change)
        field.recent_change += max(1 / field.n_seen, _RECENT_RATE) * (square - field.recent_change)
        if field.n_seen >= _MATURE:
            field.change = min(field.change, _MAX_RATIO * field.recent_change)
    if field.change < _NOTHING:
        field.change = 0.0
    # Within a round of the ring the scale can fall by a few thousand at most, so the path stays far from overflow.
    path *= np.float32(math.sqrt(before / field.change)) if field.change > 0 else np.float32(0)


@part
def _follow_level(field: Field, value: float) -> None:
    deviation = value - field.level
    if field.spread > 0:
        deviation = clip(deviation, _OUTLIER * math.sqrt(max(field.spread, field.change)))
    rate = max(1 / (field.n_seen + 1), RATE)
    field.level += rate * deviation
    field.spread += rate * ((1 - rate) * deviation * deviation - field.spread)
    if field.n_seen >= _MATURE and field.change > 0:
        field.spread = min(field.spread, _MAX_SPREAD * field.change)


@part
def _within_reach(field: Field, value: float) -> float:
    """The value, or the last one if it is no number, within the range that the field has shown."""
    wanted: float = field.last if math.isnan(value) else value
    reach = _REACH * math.sqrt(field.spread)
    low: float = min(field.observed, field.level - reach)
    high: float = max(field.observed, field.level + reach)
    return min(max(wanted, low), high)


@part
def _step(path: np.ndarray, at: int, step: float) -> None:
    """Go on by a step; once a round the path is shifted to 0, where single precision is finest."""
    path[at] = path[at - 1] + clip(step, _MAX_STEP)
    if at == 0:
        path -= path[at]


@part
def follow(field: Field, path: np.ndarray, value: float, stand_in: float, items: int) -> None:
    """Take a value in, or what stands in for a missing one; last value, scales and path (T,) change.

    ``items`` is the number of those before.
    """
    before = field.last
    if not math.isnan(value):
        if field.n_seen == 0:
            field.level = value
            before = value
        else:
            _follow_change(field, path, value - before)
            _follow_level(field, value)
        field.n_seen += 1
        field.last = value
        field.observed = value
    elif field.n_seen > 0:
        field.last = _within_reach(field, stand_in)
    step = (field.last - before) / math.sqrt(field.change) if field.change > 0 else 0.0
    _step(path, items % path.size, step)
