"""The optimiser's update in two passes over the parameters."""

from __future__ import annotations

import math

from model.compiled.kernels import Array, kernel, summing_part


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


@kernel
def update(
    gradient: Array,
    old: tuple[Array, Array, Array],
    new: tuple[Array, Array, Array],
    betas: tuple[float, float],
    biases: tuple[float, float],
    epsilon: float,
    rate: float,
    factors: Array,
    max_norm: float,
    tiny: float,
) -> bool:
    """One guarded Adam step; see :func:`model.optimiser.update`.

    Args:
        gradient: (P,).
        old: Parameters, running mean of the gradient and of its square, (P,) each.
        new: What becomes of these, filled in.
        betas: Of the two running means.
        biases: What they are too small by: 1 - beta to the power of the number of updates.
        epsilon: Keeps the division defined.
        rate: Step size.
        factors: What each parameter's step size is times the rate, (P,).
        max_norm: Most that the gradient's norm counts as.
        tiny: Running means smaller than this become 0.

    Returns:
        Whether gradient and result are finite; if not, what was filled in is of no use.
    """
    kind = gradient.dtype.type
    flat, first, second = old
    new_flat, new_first, new_second = new
    norm = kind(math.sqrt(_square(gradient)))
    if not norm < math.inf:  # also false for NaN
        return False
    scale = kind(max_norm / norm if norm > max_norm else 1.0)
    beta_1, beta_2, small = kind(betas[0]), kind(betas[1]), kind(epsilon)
    rest_1, rest_2 = kind(1 - betas[0]), kind(1 - betas[1])
    step, root = kind(rate / biases[0]), kind(1 / math.sqrt(biases[1]))
    least, zero = kind(tiny), kind(0)
    for i in range(gradient.size):
        change = scale * gradient[i]
        mean = beta_1 * first[i] + rest_1 * change
        square = beta_2 * second[i] + rest_2 * change * change
        mean = zero if abs(mean) < least else mean
        square = zero if square < least else square
        value = flat[i] - step * factors[i] * mean / (kind(math.sqrt(square)) * root + small)
        new_first[i], new_second[i], new_flat[i] = mean, square, value
    return _finite(new_flat)
