"""Whether a belief that comes from outside can be learned from: kernels trust what they index and loop by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import ngrams, student
from model.experts.records import LAST_PERIOD
from model.features import CLIP
from model.items import MAX_MAGNITUDE, NO_TIME
from model.spec import ModelSpec

MAX_COUNT = 2**53 - 1
"""Largest sequence, version or count: scripts in the store compute with double precision."""

MAX_TIME_US = 2**58
"""Largest time, either way: beyond the year 9999, and a sum of two fits 64 bits."""

_MAX_VALUE = 1e4 * MAX_MAGNITUDE  # of a real field: what stands in for a missing one may lie beyond what was ever seen
_MAX_MEMORY = 1e9  # of a carried state: a unit grows by about one per item, and products with weights stay finite

_MAY_BE_NAN = {
    *("scale.observed", "experts.fields.forecasts", "experts.fields.mixed"),
    *(f"pending.{name}" for name in ("mean", "std", "low", "high")),
}
"""Parts of a field that was never seen; all other numbers are finite."""

_NEVER_NEGATIVE = {
    *(f"scale.{name}" for name in ("gap", "count", "spread", "n_changes", "change", "n_errors", "error", "slow_error")),
    *("unit", "curvature", "noise", "pending.std", "probabilities", "rates", "moments", "ngrams.weights"),
    *(f"tally.reals.{name}" for name in ("scored", "squares", "absolutes", "persistence_squares", "covered")),
    *(f"tally.categories.{name}" for name in ("named", "right", "repeated")),
    *(f"drift.fields.{name}" for name in ("n", "variance", "swing", "excess")),
    *(f"experts.fields.{name}" for name in ("n_seen", "spread", "change", "recent_change", "n_learned", "noise")),
    *(f"experts.fields.{name}" for name in ("n_scored", "loss", "recent_loss", "weights", "variation")),
}
"""Counts, squares and shares: a root is taken of some, and by some is divided."""

_MOST = {
    **dict.fromkeys(("scale.value", "scale.observed", "scale.level", "origin"), _MAX_VALUE),
    **dict.fromkeys(("window.dense", "newest"), CLIP),
    **dict.fromkeys(("state", "uncorrected", "corrected", "window.start"), _MAX_MEMORY),
}


def named_parts(records: np.ndarray, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Every part of beliefs (B,) by its dotted name, each (B, …): views, so that assigning to one fills it in.

    What only fills a layout up is left out; it is zero.
    """
    found: dict[str, NDArray[Any]] = {}
    for name in records.dtype.names or ():
        part = records[name]
        if part.dtype.names:
            found.update(named_parts(part, f"{prefix}{name}."))
        elif name != "filler":
            found[prefix + name] = part
    return found


def check_beliefs(spec: ModelSpec, records: np.ndarray) -> None:
    """Return if a learner can take these beliefs, (B,), without harm to itself or to other streams.

    It does not tell whether they are what a learner once made; only that every number is one it could meet.

    Args:
        spec: Of the beliefs' layout.
        records: Of streams that have had an item.

    Raises:
        ValueError: If one of them cannot be taken; names the part.
    """
    parts, whole = named_parts(records), _whole_bounds(spec)
    for name, part in parts.items():
        if part.dtype.kind == "f":
            _check_real(name, part)
        elif name == "timestamp_us":
            times = part[part != NO_TIME]
            _check_whole(name, times, np.int64(-MAX_TIME_US), np.int64(MAX_TIME_US))
        else:
            _check_whole(name, part, *whole.get(name, (np.int64(0), np.int64(MAX_COUNT))))


def _whole_bounds(spec: ModelSpec) -> dict[str, tuple[Any, Any]]:
    """Least and largest value of parts that are whole numbers; fields come last in their shapes."""
    last_slot = np.array([field.n_slots - 1 for field in spec.categories], np.int64)
    most_known = np.array([field.capacity or field.n_slots for field in spec.categories], np.int64)
    return {
        "sequence": (1, MAX_COUNT),
        "interval_us": (0, 2 * MAX_TIME_US),
        "drift.fields.drifting": (0, 1),
        "experts.periods": (0, LAST_PERIOD),
        "ngrams.tokens": (ngrams.BEGIN, last_slot[:, None]),
        "n_known": (0, most_known),
        "last_slots": (-1, last_slot),
        "window.slots": (-1, last_slot),
    }


def _check_whole(name: str, part: NDArray[Any], least: Any, most: Any) -> None:
    if ((part < least) | (part > most)).any():
        raise ValueError(f"{name!r} is out of range")


def _check_real(name: str, part: NDArray[Any]) -> None:
    numbers = part[~np.isnan(part)] if name in _MAY_BE_NAN else part
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name!r} is not finite")
    if name in _NEVER_NEGATIVE and (numbers < 0).any():
        raise ValueError(f"{name!r} is negative")
    if name in _MOST and (np.abs(numbers) > _MOST[name]).any():
        raise ValueError(f"{name!r} is too large")
    if name == "pending.degrees" and not np.isin(numbers, student.CANDIDATES).all():
        raise ValueError(f"{name!r} is no number of degrees of freedom")
