"""The optimiser's update in two passes over the parameters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, summing_part


@summing_part
def _square(values: Array) -> float:
    total = 0.0
    for i in range(values.size):
        total += float(values[i]) * float(values[i])
    return total


@summing_part
def _finite(values: Array) -> bool:
    """Whether all are; 0 times anything else is not 0."""
    zero = values.dtype.type(0)
    total = zero
    for i in range(values.size):
        total += values[i] * zero
    return bool(total == zero)


def update(
    gradient: Array,
    flat: Array,
    first: Array,
    second: Array,
    new_flat: Array,
    new_first: Array,
    new_second: Array,
    beta_1: float,
    beta_2: float,
    bias_1: float,
    bias_2: float,
    epsilon: float,
    rate: float,
    factors: NDArray[np.float32],
    max_norm: float,
    tiny: float,
) -> bool:
    """One guarded Adam step; see :meth:`model.network.Network.update`.

    Args:
        gradient: (P,).
        flat: Parameters, (P,).
        first: Running mean of the gradient, (P,).
        second: Running mean of its square, (P,).
        new_flat: What becomes of these three, (P,) each, filled in.
        new_first: Likewise.
        new_second: Likewise.
        beta_1: Share of the first running mean that is kept.
        beta_2: Of the second.
        bias_1: What the first running mean is too small by: 1 - beta_1 to the power of the number of updates.
        bias_2: Likewise the second.
        epsilon: Keeps the division defined.
        rate: Step size.
        factors: What each parameter's step size is times the rate, (P,).
        max_norm: Most that the gradient's norm counts as.
        tiny: Running means smaller than this become 0.

    Returns:
        Whether gradient and result are finite; if not, what was filled in is of no use.
    """
    kind = gradient.dtype.type
    norm = kind(math.sqrt(_square(gradient)))
    if not norm < math.inf:  # also false for NaN
        return False
    scale = kind(max_norm / norm if norm > max_norm else 1.0)
    keep_1, keep_2, small = kind(beta_1), kind(beta_2), kind(epsilon)
    rest_1, rest_2 = kind(1 - beta_1), kind(1 - beta_2)
    step, root = kind(rate / bias_1), kind(1 / math.sqrt(bias_2))
    least, zero = kind(tiny), kind(0)
    for i in range(gradient.size):
        change = scale * gradient[i]
        mean = keep_1 * first[i] + rest_1 * change
        square = keep_2 * second[i] + rest_2 * change * change
        mean = zero if abs(mean) < least else mean
        square = zero if square < least else square
        value = flat[i] - step * factors[i] * mean / (kind(math.sqrt(square)) * root + small)
        new_first[i], new_second[i], new_flat[i] = mean, square, value
    return _finite(new_flat)
