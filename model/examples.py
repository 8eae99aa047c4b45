"""What one weight update learned from, as fixed-size records: a batch of them is a redo record's content."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import types

from model import codec
from model.belief import belief_dtype
from model.kernels import ITEMS, SINGLES, SLOTS, VALUES, kernel
from model.network import Example
from model.spec import ModelSpec


def example_dtype(spec: ModelSpec) -> np.dtype[np.void]:
    """Layout of one example: the belief's window, and the item that followed it. See :class:`model.network.Example`."""
    return _example_dtype(belief_dtype(spec))


@lru_cache(maxsize=1024)
def _example_dtype(belief: np.dtype[np.void]) -> np.dtype[np.void]:
    n_reals, n_categories = belief["scale"].shape[0], belief["n_known"].shape[0]
    return np.dtype(
        [
            ("window", belief["window"]),
            ("n_inputs", np.int32),
            ("from_initial", np.int32),
            ("targets", np.float32, (n_reals,)),
            ("target_slots", np.int32, (n_categories,)),
            ("n_known", np.int32, (n_categories,)),
        ]
    )


def example_records(beliefs: np.ndarray, targets: np.ndarray, target_slots: np.ndarray) -> np.ndarray:
    """Examples from beliefs and the scaled items that followed them.

    Args:
        beliefs: (B,), before the items.
        targets: (B, R); NaN where missing.
        target_slots: (B, C); -1 where missing.
    """
    records = np.empty(len(beliefs), _example_dtype(beliefs.dtype))
    window, kept = beliefs["window"], records["window"]
    _follow(
        *(beliefs["sequence"], window["start"], window["dense"], window["slots"], beliefs["n_known"]),
        *(targets, target_slots, kept["start"], kept["dense"], kept["slots"]),
        *(records["n_inputs"], records["from_initial"], records["targets"], records["target_slots"]),
        records["n_known"],
    )
    return records


def read_examples(spec: ModelSpec, payload: memoryview) -> np.ndarray:
    """Examples from the bytes of a redo record.

    Raises:
        DamagedRecord: If an index in them is out of its bounds; kernels take it as it is.
    """
    records = np.frombuffer(
        payload, example_dtype(spec)
    ).copy()  # kernels are compiled for memory that can be written to
    n_slots = np.array([field.n_slots for field in spec.categories], np.int64)
    slots, targets, known = records["window"]["slots"], records["target_slots"], records["n_known"]
    if (
        any((found < -1).any() or (found >= n_slots).any() for found in (slots, targets))
        or ((known < 0) | (known > n_slots)).any()
        or ((records["n_inputs"] < 0) | (records["n_inputs"] > spec.window)).any()
    ):
        raise codec.DamagedRecord(codec.Kind.REDO, "its examples are out of bounds")
    return records


def to_example(records: np.ndarray) -> Example:
    """What the records say; views into them."""
    window = records["window"]
    return Example(
        start=window["start"],
        dense=window["dense"],
        slots=window["slots"],
        n_inputs=records["n_inputs"],
        from_initial=records["from_initial"],
        targets=records["targets"],
        target_slots=records["target_slots"],
        n_known=records["n_known"],
    )


def newest_example(example: Example, beliefs: np.ndarray) -> Example:
    """The same items as they follow from the corrected states, (B,): a window of one input.

    Args:
        example: Made from these beliefs.
        beliefs: (B,), before the items.
    """
    n_inputs = np.minimum(example.n_inputs, 1)
    return Example(
        start=beliefs["corrected"],
        dense=beliefs["newest"][:, None],
        slots=example.slots[:, -1:],
        n_inputs=n_inputs,
        from_initial=1 - n_inputs,
        targets=example.targets,
        target_slots=example.target_slots,
        n_known=example.n_known,
    )


_STATES = types.float32[:, :, :, :]  # (B, L, S, H), may lie within larger records
_WINDOWS = types.float32[:, :, :]  # (B, K, D), likewise
_WINDOW_SLOTS = types.int32[:, :, :]  # (B, K, C), likewise
_INTEGERS = types.int32[:, :]  # (B, C), likewise


@kernel(
    *(ITEMS, _STATES, _WINDOWS, _WINDOW_SLOTS, _INTEGERS, VALUES, SLOTS),
    *(_STATES, _WINDOWS, _WINDOW_SLOTS, types.int32[:], types.int32[:], SINGLES, _INTEGERS, _INTEGERS),
)
def _follow(
    sequence: np.ndarray,
    start: np.ndarray,
    dense: np.ndarray,
    slots: np.ndarray,
    n_known: np.ndarray,
    targets: np.ndarray,
    target_slots: np.ndarray,
    kept_start: np.ndarray,
    kept_dense: np.ndarray,
    kept_slots: np.ndarray,
    n_inputs: np.ndarray,
    from_initial: np.ndarray,
    kept_targets: np.ndarray,
    kept_target_slots: np.ndarray,
    kept_known: np.ndarray,
) -> None:
    _, layers, parts, width = start.shape
    window = dense.shape[1]
    for b in range(sequence.size):
        predicted = sequence[b] > 0  # nothing was of a stream's first item
        n_inputs[b] = min(sequence[b], window)
        from_initial[b] = sequence[b] <= window
        for layer in range(layers):
            for s in range(parts):
                for u in range(width):
                    kept_start[b, layer, s, u] = start[b, layer, s, u]
        for k in range(window):
            for i in range(dense.shape[2]):
                kept_dense[b, k, i] = dense[b, k, i]
            for c in range(slots.shape[2]):
                kept_slots[b, k, c] = slots[b, k, c]
        for f in range(targets.shape[1]):
            kept_targets[b, f] = targets[b, f] if predicted else np.nan
        for c in range(target_slots.shape[1]):
            kept_target_slots[b, c] = target_slots[b, c] if predicted else -1
            kept_known[b, c] = n_known[b, c]
