"""What the network is shown of an item: scaled values, the last prediction's error, what is missing, the calendar."""

from __future__ import annotations

import math

import numpy as np

from model.kernels import clip, part
from model.scaling import Scale, increment_size, level_size
from model.spec import ModelSpec
from model.timing import N_CALENDAR

CLIP = 8.0
"""Inputs and targets are kept within this many scales."""

MAX_OUTPUT = 12.0
"""Increments that the network predicts are kept within this many scales."""

PER_REAL = 4
"""Inputs of a real field: increment, level, error, missing; and the regression's forecast where there are experts."""

_PER_CATEGORY = 2  # surprise, missing


def n_dense(spec: ModelSpec) -> int:
    """Dense inputs of the network (D)."""
    return (PER_REAL + spec.has_experts) * len(spec.reals) + _PER_CATEGORY * len(spec.categories) + N_CALENDAR


@part
def target(field: Scale, value: float) -> float:
    """Scaled increment that the network was to predict; NaN where missing or without a value before it.

    Args:
        field: Record of the running scale, before the item.
        value: What was observed; NaN where missing.
    """
    increment = clip((value - field.value) / increment_size(field), CLIP)
    return increment if field.count > 0 and not math.isnan(value) else math.nan


@part
def show_real(
    field: Scale,
    before: float,
    unit: float,
    was_seen: bool,
    error: float,
    said: float,
    inputs: np.ndarray,
    f: int,
    n: int,
) -> None:
    """Write what the network is shown of real field ``f`` of ``n``: increment, level, error, whether it is missing.

    Args:
        field: Record of the running scale, after the item.
        before: The scale's value before the item.
        unit: Size of an increment before the item.
        was_seen: Whether there was a value before the item.
        error: Observed minus predicted; NaN where not scored.
        said: What the network had put out for the item.
        inputs: (D,); changed.
        f: Which field.
        n: Of how many.
    """
    inputs[f] = clip((field.value - before) / increment_size(field), CLIP) if was_seen else 0.0
    inputs[n + f] = clip((field.value - field.level) / level_size(field), CLIP)
    surprise = 0.0
    if not math.isnan(error):  # then the value was seen, and is the scale's
        surprise = clip((field.value - before) / unit - said, CLIP)
    inputs[2 * n + f] = surprise
    inputs[3 * n + f] = 1.0 if field.gap > 0 else 0.0


@part
def show_forecast(field: Scale, forecast: float, inputs: np.ndarray, f: int, n: int) -> None:
    """Write the regression's forecast of the next item, NaN where there is none; otherwise as :func:`show_real`."""
    ahead = clip((forecast - field.value) / increment_size(field), CLIP)
    inputs[PER_REAL * n + f] = 0.0 if math.isnan(forecast) else ahead


@part
def show_category(nats: float, slot: int, inputs: np.ndarray, at: int, c: int, n: int) -> None:
    """Write what the network is shown of category field ``c`` of ``n``: surprise, whether it is missing.

    Args:
        nats: Of the value under its prediction; NaN where unknown.
        slot: -1 where missing.
        inputs: (D,); changed.
        at: Where those of category fields begin.
        c: Which field.
        n: Of how many.
    """
    inputs[at + c] = 0.0 if math.isnan(nats) else clip(nats, CLIP)
    inputs[at + n + c] = 1.0 if slot < 0 else 0.0
