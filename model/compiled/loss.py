"""The loss of the outputs, with its gradient."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from model.compiled.kernels import Array, fill, log_sum, part
from model.kernels import SINGLES, SLOTS, VALUES
from model.kernels import kernel as typed_kernel

Slots = NDArray[np.int64]
Integers = NDArray[np.int32]


@part
def loss(
    outputs: Array,
    targets: Array,
    slots: Integers,
    n_known: Integers,
    bounds: Slots,
    is_open: NDArray[np.bool_],
    huber: float,
    first: int,
    losses: Array,
    grad: Array,
) -> int:
    """Loss per stream and its gradient, of N streams of a batch; see :meth:`model.network.Network.gradient`.

    Args:
        outputs: (B, O).
        targets: (B, R); NaN where missing.
        slots: (B, C); -1 where missing.
        n_known: (B, C).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        huber: Error from which the loss is linear.
        first: Of these streams.
        losses: (B,), those of these streams filled in.
        grad: (N, O), filled in.

    Returns:
        Streams that observed something.
    """
    n_seen = 0
    for at in range(grad.shape[0]):
        b = first + at
        total, seen = 0.0, False
        for r in range(targets.shape[1]):
            grad[at, r] = 0
            if not math.isnan(targets[b, r]):
                seen = True
                error = outputs[b, r] - targets[b, r]
                bounded = min(max(error, -huber), huber)
                total += bounded * (error - 0.5 * bounded)
                grad[at, r] = bounded
        for c in range(slots.shape[1]):
            own = grad[at, bounds[c] : bounds[c + 1]]
            if slots[b, c] < 0:
                fill(own, 0)
                continue
            seen = True
            logits = outputs[b, bounds[c] : bounds[c + 1]]
            total += log_sum(logits, n_known[b, c], is_open[c], own) - logits[slots[b, c]]
            own[slots[b, c]] -= 1
        losses[b] = total
        n_seen += seen
    return n_seen


@typed_kernel(SINGLES, types.int32[:, :], SLOTS, types.int64[:], types.boolean[:], VALUES)
def nats(
    outputs: Array, n_known: Integers, slots: Slots, bounds: Slots, is_open: NDArray[np.bool_], found: Array
) -> None:
    """Nats of categories under what a network said of them.

    Args:
        outputs: (B, O).
        n_known: Values known when it said so, (B, C).
        slots: (B, C); -1 where missing.
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        found: (B, C), filled in where it is not NaN.
    """
    for b in range(found.shape[0]):
        for c in range(found.shape[1]):
            if not math.isnan(found[b, c]) and slots[b, c] >= 0:
                logits = outputs[b, bounds[c] : bounds[c + 1]]
                likely = np.empty(logits.size, np.float64)
                found[b, c] = log_sum(logits, n_known[b, c], is_open[c], likely) - logits[slots[b, c]]
