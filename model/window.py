"""The window of a belief: the last inputs, and the state before them, which the weight gradient goes back through."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.kernels import ITEMS, SINGLES, SLOTS, kernel


def slide(
    records: np.ndarray,
    first: NDArray[np.float32],
    dense: NDArray[np.float32],
    slots: NDArray[np.int64],
) -> None:
    """Let the window begin one item later, and end with this one; ``records`` is changed.

    Args:
        records: Beliefs, (B,), whose sequence is that before the item.
        first: State after the window's first input, (B, L, S, H).
        dense: The item's inputs, (B, D).
        slots: Its category values, (B, C); -1 where missing.
    """
    window = records["window"]
    _slide(
        *(records["sequence"], window["start"], window["dense"], window["slots"], records["last_slots"]),
        *(first, dense, slots),
    )


_STATES = types.float32[:, :, :, :]


@kernel(
    *(ITEMS, _STATES, types.float32[:, :, :], types.int32[:, :, :], types.int32[:, :]),
    *(_STATES, SINGLES, SLOTS),
)
def _slide(
    sequence: np.ndarray,
    start: np.ndarray,
    window_dense: np.ndarray,
    window_slots: np.ndarray,
    last_slots: np.ndarray,
    first: np.ndarray,
    dense: np.ndarray,
    slots: np.ndarray,
) -> None:
    _, layers, parts, width = start.shape
    length = window_dense.shape[1]
    for b in range(sequence.size):
        if sequence[b] >= length:
            for layer in range(layers):
                for s in range(parts):
                    for u in range(width):
                        start[b, layer, s, u] = first[b, layer, s, u]
        for k in range(length):
            for i in range(dense.shape[1]):
                window_dense[b, k, i] = window_dense[b, k + 1, i] if k < length - 1 else dense[b, i]
            for c in range(slots.shape[1]):
                window_slots[b, k, c] = window_slots[b, k + 1, c] if k < length - 1 else slots[b, c]
        for c in range(slots.shape[1]):
            if slots[b, c] >= 0:
                last_slots[b, c] = slots[b, c]
