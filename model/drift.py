"""Drift of a stream: whether its predictions have become worse than they used to be, lastingly.

Each field's loss, the size of a real field's error or a category's nats, is set against its own long-run mean and
spread, and the excess is summed: Page's cumulative sum, known as the Page-Hinkley test. One outlier counts little, as
losses are cut; a run of large ones adds up. Drift begins where the sum passes a threshold, and is over once the sum
has stayed below a quarter of it for a while: because the losses are small again, or because they have become the usual
ones. A stream that becomes easier to predict does not drift.

Streams differ in how their losses cluster: noise that comes and goes, a season of errors. So the excess is measured in
long-run standard deviations: those of independent losses, enlarged by how much more than such the running mean of the
stream's losses has swung so far.

Source: Page, "Continuous Inspection Schemes" (Biometrika 1954); Hinkley (1971) learns the mean on the way, as here.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.kernels import part

Floats = NDArray[np.float64]

ALLOWANCE = 0.25
"""Standard deviations that a loss may lie above its mean without adding to the sum."""

THRESHOLD = 30.0
"""Sum at which drift begins."""

CLEAR = 0.25
"""Share of the threshold below which drift is over."""

CALM = 20
"""Scored items that the sum stays below it before drift is over."""

MOST = 2.0
"""Thresholds that the sum grows to at most: what a long drift leaves behind is soon gone."""

HORIZON = 1000
"""Items over which mean and spread of the losses forget."""

DRIFT_HORIZON = 250
"""The same while the stream drifts: what lasts becomes what is usual."""

WARM_UP = 100
"""Scored items before the sum begins."""

MAX_LOSS = 4.0
"""In means: what one loss counts at most."""

MAX_EXCESS = 4.0
"""In standard deviations: what one loss counts at most."""

REAL_FLOOR = 0.01
"""Of the scale of increments: an error that is smaller on average is none."""

CATEGORY_FLOOR = 0.05
"""Nats: a loss that is smaller on average is none."""

_EARLY = 3.0  # the first means forget their beginning, when the learner knew nothing: the weight of an item is its n**2
_LEAST_SPREAD = 0.01  # of the mean
_SWING = 50.0  # items that the running mean is of, whose swings are followed
_MAX_SWING = 9.0  # times what swings so far were: what one adds at most, so that a drift does not pass for a swing

FIELD = np.dtype(
    [
        *((name, np.float64) for name in ("n", "mean", "variance", "recent", "swing", "excess")),
        ("n_calm", np.int32),
        ("drifting", np.int32),
    ]
)
"""What is kept of a field; 56 bytes.

- ``n``: losses so far. ``mean``: of the losses, in their unit. ``variance``: of the losses over their mean.
- ``recent``: running mean of standardised losses; ``swing``: its mean square, over that of independent losses.
- ``excess``: the sum. ``drifting``: 0 or 1; ``n_calm``: scored items since the sum was last high.
"""

STREAM = np.dtype([("n_drifts", np.int64), ("since", np.int64), ("last", np.int64)])
"""What is kept of a stream: how often drift began; at which sequence the drift began that there is, 0 while there is
none; at which the last one began, 0 before any."""

Field: TypeAlias = Any
"""One record of :data:`FIELD` as kernels see it."""

Stream: TypeAlias = Any
"""One record of :data:`STREAM` as kernels see it."""


def drift_dtype(n_fields: int) -> np.dtype[np.void]:
    """Layout of one stream's record: its :data:`STREAM` and a :data:`FIELD` for each real, then each category field."""
    return np.dtype([("stream", STREAM), ("fields", FIELD, (n_fields,))])


def level(drift: np.ndarray | np.void) -> Floats:
    """How near drift is, (B, F), from 0: the sum over its threshold, at which drift begins; at most 2."""
    return np.asarray(drift["fields"]["excess"] / THRESHOLD)


def which_drift(drift: np.ndarray | np.void) -> NDArray[np.bool_]:
    """Which fields drift, (B, F)."""
    return np.asarray(drift["fields"]["drifting"] > 0)


def n_begun(records: np.ndarray) -> int:
    """How many of these beliefs, (B,), began to drift with their last item."""
    return int((records["drift"]["stream"]["since"] == records["sequence"]).sum())


@part
def _standardised(field: Field, loss: float, floor: float) -> float:
    """The loss's excess over its mean, in standard deviations, both as they were before it; these take it in."""
    unit = max(field.mean, floor)
    if not unit > 0:
        return 0.0
    relative = min(loss / unit, MAX_LOSS)
    deviation = relative - field.mean / unit
    spread = max(math.sqrt(field.variance), _LEAST_SPREAD)
    rate = max(_EARLY / (field.n + _EARLY - 1), 1 / (DRIFT_HORIZON if field.drifting else HORIZON))
    field.mean += rate * deviation * unit
    field.variance = (1 - rate) * (field.variance + rate * deviation * deviation)
    return float(min(max(deviation / spread, -MAX_EXCESS), MAX_EXCESS))


@part
def _follow_swings(field: Field, standardised: float) -> None:
    """Follow the running mean of the losses, and how far it swings while nothing drifts."""
    rate = 1 / _SWING
    field.recent += rate * (standardised - field.recent)
    if not field.drifting:
        square = min(field.recent * field.recent * (2 - rate) / rate, _MAX_SWING * max(field.swing, 1.0))
        field.swing += (square - field.swing) / min(field.n, HORIZON)


@part
def _add(field: Field, standardised: float) -> None:
    """Add the excess to the sum, and settle whether the field drifts."""
    step = standardised / math.sqrt(max(field.swing, 1.0)) - ALLOWANCE
    field.excess = min(max(field.excess + step, 0.0), MOST * THRESHOLD)
    field.n_calm = field.n_calm + 1 if field.excess < CLEAR * THRESHOLD else 0
    if field.drifting:
        field.drifting = 1 if field.n_calm < CALM else 0
    elif field.excess >= THRESHOLD:
        field.drifting = 1


@part
def follow(field: Field, loss: float, floor: float) -> None:
    """Follow a field's losses.

    Args:
        field: Record; changed.
        loss: At least 0; NaN where nothing was scored.
        floor: What a mean loss counts as at least.
    """
    if math.isnan(loss):
        return
    field.n += 1
    if field.n == 1:
        field.mean, field.swing = loss, 1.0
    standardised = _standardised(field, loss, floor)
    if field.n > WARM_UP:
        _add(field, standardised)
    if field.n > _SWING:
        _follow_swings(field, standardised)


@part
def note(stream: Stream, fields: np.ndarray, sequence: int) -> None:
    """Note where drift begins and ends, once all fields (F,) have followed the item of this sequence."""
    any_drifts = False
    for field in fields:
        any_drifts = any_drifts or field.drifting > 0
    if any_drifts and stream.since == 0:
        stream.since = stream.last = sequence
        stream.n_drifts += 1
    elif not any_drifts:
        stream.since = 0
