"""The loss of the outputs, with its gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, fill, kernel, log_sum

Slots = NDArray[np.int64]


@kernel
def loss(
    outputs: Array,
    targets: Array,
    slots: Slots,
    n_known: Slots,
    bounds: Slots,
    is_open: NDArray[np.bool_],
    huber: float,
    losses: Array,
    grad: Array,
) -> int:
    """Loss per stream and its gradient; see :meth:`model.network.Network.gradient`.

    Args:
        outputs: (B, O).
        targets: (B, R); NaN where missing.
        slots: (B, C); -1 where missing.
        n_known: (B, C).
        bounds: Where each category field's logits begin among the outputs, and the end, (C+1,).
        is_open: (C,).
        huber: Error from which the loss is linear.
        losses: (B,), filled in.
        grad: (B, O), filled in.

    Returns:
        Streams that observed something.
    """
    n_seen = 0
    for b in range(outputs.shape[0]):
        total, seen = 0.0, False
        for r in range(targets.shape[1]):
            grad[b, r] = 0
            if not math.isnan(targets[b, r]):
                seen = True
                error = outputs[b, r] - targets[b, r]
                bounded = min(max(error, -huber), huber)
                total += bounded * (error - 0.5 * bounded)
                grad[b, r] = bounded
        for c in range(slots.shape[1]):
            own = grad[b, bounds[c] : bounds[c + 1]]
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
