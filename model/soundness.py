"""Whether a belief that came from outside can be stepped: indices within bounds, numbers finite and of their sign.

A record's checksum tells damage by accident. It does not tell a record that was made by somebody, with a checksum that
fits; kernels take indices from beliefs as they are, and would read where nothing of theirs lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import experts, features, student
from model.belief import Beliefs
from model.codec import MAX_COUNT, DamagedRecord, Kind
from model.experts.records import FIRST_PERIOD
from model.items import MAX_MAGNITUDE, NO_TIME
from model.ngrams import lookup
from model.spec import ModelSpec

MAX_TIME_US = 2**59
"""Largest time and interval, either way: those of all years from 1 to 9999 are within."""

_MAX_LINEAR = MAX_MAGNITUDE * 1e10  # in a field's unit; what a stream can come to, and far from overflow
_MAX_SQUARE = MAX_MAGNITUDE**2 * 1e30  # squares and their sums
_MAX_SINGLE = 1e18  # its square is a single-precision number
_MAX_MOMENT = 1e32
_MAX_VALUE = MAX_MAGNITUDE * 1e4  # of a field: what stands in for a missing value may lie beyond what was ever seen
_MAX_MEMORY = 1e9  # of a carried state: a unit grows by about one per item, and products with weights stay finite
_EXACT = 1 + 1e-6  # of shares that were rounded

_LINEAR = frozenset({"value", "observed", "level", "origin", "unit", "mean", "std", "low", "high", "last", "mixed"})
_LINEAR_EXPERTS = frozenset({"experts.fields.forecasts"})
_WHOLE = frozenset(
    {
        *("gap", "count", "n_changes", "n_errors", "n_seen", "n_learned", "n_scored", "n"),
        *("scored", "covered", "named", "right", "repeated"),
    }
)
_AT_LEAST_ZERO = frozenset(
    {
        *("spread", "change", "error", "slow_error", "unit", "std", "recent_change", "noise", "loss", "recent_loss"),
        *("variation", "squares", "absolutes", "persistence_squares", "nats", "variance", "swing", "excess"),
        *("moments", "rates", "curvature"),
    }
)
_SPECIAL: dict[str, tuple[float, float]] = {
    "timestamp_us": (-MAX_TIME_US, MAX_TIME_US),
    "interval_us": (0, MAX_TIME_US),
    "last_slots": (-1, MAX_COUNT),
    "window.slots": (-1, MAX_COUNT),
    "ngrams.tokens": (lookup.BEGIN, MAX_COUNT),
    "drift.fields.drifting": (0, 1),
    "probabilities": (0, _EXACT),
    "experts.fields.weights": (0, _EXACT),
    "ngrams.weights": (0, _EXACT),
    **dict.fromkeys(("scale.value", "scale.observed", "scale.level", "origin"), (-_MAX_VALUE, _MAX_VALUE)),
    **dict.fromkeys(("window.dense", "newest"), (-features.CLIP, features.CLIP)),
    **dict.fromkeys(("state", "uncorrected", "corrected", "window.start"), (-_MAX_MEMORY, _MAX_MEMORY)),
}
_NEVER_SEEN = {"scale.observed": "count", "experts.fields.mixed": "n_seen", "experts.fields.forecasts": "n_seen"}
"""Parts that are NaN while the field beside them is 0."""


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


def check(spec: ModelSpec, beliefs: Beliefs, n_known: NDArray[np.int64] | None = None) -> None:
    """Refuse beliefs that no run could have led to; those it lets pass can be stepped, shown and forecast from.

    Args:
        spec: Of the model that is to go on with them.
        beliefs: Any number; not changed.
        n_known: Values that the model's vocabulary knows, (C,); ``None`` to hold them to the fields' capacity alone.

    Raises:
        DamagedRecord: If any is not sound; the message says in which part.
    """
    records = beliefs.records
    _require(records["filler"] == 0, "filler")
    for path, values in named_parts(records).items():
        low, high = _bounds(spec, path, values.dtype)
        good = (values >= low) & (values <= high)
        if path.rpartition(".")[2] in _WHOLE:
            good &= values == np.floor(values)
        if path in _NEVER_SEEN:
            seen = _beside(records, path, _NEVER_SEEN[path]) > 0
            good |= np.isnan(values) & ~seen.reshape(seen.shape + (1,) * (values.ndim - seen.ndim))
        if path == "timestamp_us":
            good |= values == NO_TIME
        _require(good, path)
    _check_slots(spec, records, n_known)
    _require(np.isin(records["pending"]["degrees"], student.CANDIDATES), "pending.degrees")
    if spec.has_experts:
        periods = records["experts"]["periods"]
        _require((periods == 0) | (periods >= FIRST_PERIOD), "experts.periods")
        # Which fields have a forecast is told by the one, which forecasts are shown by the other.
        _require((records["scale"]["count"] > 0) == (records["experts"]["fields"]["n_seen"] > 0), "scale.count")


def _check_slots(spec: ModelSpec, records: np.ndarray, n_known: NDArray[np.int64] | None) -> None:
    n_slots = np.array([field.n_slots for field in spec.categories], np.int64)
    is_open = np.array([field.is_open for field in spec.categories], np.bool_)
    most = n_slots - is_open if n_known is None else n_known
    _require(records["n_known"] <= most, "n_known")
    begun = records["n_known"][records["sequence"] > 0]
    _require(begun[:, ~is_open] == n_slots[~is_open], "n_known")
    _require(records["last_slots"] < n_slots, "last_slots")
    _require(records["window"]["slots"] < n_slots, "window.slots")
    if spec.has_ngrams:
        _require(records["ngrams"]["tokens"] < n_slots[:, None], "ngrams.tokens")
        _require(np.asarray(lookup.are_shares(records["ngrams"]["weights"])), "ngrams.weights")


def _bounds(spec: ModelSpec, path: str, dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """Least and most that a part may hold."""
    name = path.rpartition(".")[2]
    if path == "experts.periods":
        return 0, FIRST_PERIOD + experts.SIZES[spec.layout.experts].n_periods - 1
    if path in _SPECIAL:
        return _SPECIAL[path]
    if dtype.kind in "iu" or name in _WHOLE:
        return 0, MAX_COUNT
    if dtype.itemsize == 4:
        most = _MAX_MOMENT if name == "moments" else _MAX_SINGLE
    else:
        most = _MAX_LINEAR if name in _LINEAR or path in _LINEAR_EXPERTS else _MAX_SQUARE
    return 0.0 if name in _AT_LEAST_ZERO else -most, most


def _beside(records: np.ndarray, path: str, name: str) -> np.ndarray:
    """The part of this name in the same record as the one at a path."""
    for part in path.split(".")[:-1]:
        records = records[part]
    return records[name]


def _require(good: NDArray[np.bool_], path: str) -> None:
    if not good.all():
        raise DamagedRecord(Kind.BELIEF, f"{path} is out of its bounds")
