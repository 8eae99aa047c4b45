"""What the network is shown of an item: scaled values, the last prediction's error, what is missing, the calendar."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model import scaling, timing
from model.spec import ModelSpec

Floats = NDArray[np.float64]

CLIP = 8.0
"""Inputs and targets are kept within this many scales."""

MAX_OUTPUT = 12.0
"""Increments that the network predicts are kept within this many scales."""

_PER_REAL = 4  # increment, level, error, missing; and the regression's forecast where there are experts
_PER_CATEGORY = 2  # surprise, missing


def n_dense(spec: ModelSpec) -> int:
    """Dense inputs of the network (D)."""
    return (_PER_REAL + spec.has_experts) * len(spec.reals) + _PER_CATEGORY * len(spec.categories) + timing.N_CALENDAR


def targets(records: np.ndarray, values: Floats) -> Floats:
    """Scaled increments that the network was to predict, (B, R); NaN where missing or without a value before it.

    Args:
        records: Running scale before the item, (B,).
        values: What was observed, (B, R); NaN where missing.
    """
    scaled = np.clip((values - records["value"]) / scaling.increment_scale(records), -CLIP, CLIP)
    return np.where(records["count"] > 0, scaled, np.nan)


def dense(
    before: np.ndarray,
    after: np.ndarray,
    error: Floats,
    forecast: Floats | None,
    category_nll: Floats,
    missing_category: NDArray[np.bool_],
    next_us: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The dense inputs made from one item per stream.

    Args:
        before: Running scale before the item, (B,).
        after: Running scale after the item; its ``value`` stands in for missing ones.
        error: Scaled increment minus what the network put out for it, (B, R); NaN where unknown.
        forecast: What the regression says of the next item, (B, R), NaN where nothing; ``None`` without experts.
        category_nll: Nats of each category field's value under its prediction, (B, C); NaN where unknown.
        missing_category: (B, C).
        next_us: When the next item is expected, (B,); ``NO_TIME`` where that is not known.

    Returns:
        (B, D) float32, finite, within ``CLIP``.
    """
    scale = scaling.increment_scale(after)
    increment = np.where(before["count"] > 0, after["value"] - before["value"], 0.0) / scale
    level = (after["value"] - after["level"]) / scaling.level_scale(after)
    missing = after["gap"] > 0
    parts = (
        increment,
        level,
        np.nan_to_num(error, nan=0.0),
        missing,
        *([] if forecast is None else [np.nan_to_num((forecast - after["value"]) / scale, nan=0.0)]),
        np.nan_to_num(category_nll, nan=0.0),
        missing_category,
        timing.calendar(next_us),
    )
    return np.asarray(np.clip(np.concatenate(parts, axis=1), -CLIP, CLIP), np.float32)
