"""Guarded Adam on the flat parameter vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from model.compiled import adam
from model.compiled.network import serves
from model.parameters import Parameters

LEARNING_RATE = 4e-3
"""Step size of the first update, when the model names none."""

LEARNING_RATE_FLOOR = 5e-4
"""Step size that the default schedule settles on; it never reaches zero, since streams never stop changing."""

_DECAY_UPDATES = 500  # the default schedule falls with the root of the updates counted in these
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_BETA_2_CATEGORIES = 0.9999  # of a model of categories alone: most values are rare, and their gradients with them
_MAX_NORM = 10.0
_TINY = 1e-30  # running means below this are 0: next to epsilon they move nothing, and subnormal numbers are slow


@dataclass(frozen=True, slots=True)
class Weights:
    """Shared weights and their optimiser state; an update makes new ones.

    Args:
        parameters: What the network computes with.
        first: Running mean of the gradient, (P,).
        second: Running mean of its square, (P,).
        n_updates: Updates taken, 0 for fresh weights.
    """

    parameters: Parameters
    first: Tensor
    second: Tensor
    n_updates: int = 0

    @classmethod
    def around(cls, parameters: Parameters) -> Weights:
        """Weights that have seen no update."""
        return cls(parameters, torch.zeros_like(parameters.flat), torch.zeros_like(parameters.flat))


def learning_rate(given: float | None, n_updates: int) -> float:
    """Step size of the next update: the model's, or the default schedule's."""
    if given is not None:
        return given
    return max(LEARNING_RATE_FLOOR, LEARNING_RATE / math.sqrt(1 + n_updates / _DECAY_UPDATES))


def update(weights: Weights, gradient: Tensor, rate: float) -> Weights | None:
    """One Adam step (Kingma & Ba 2015), the gradient's norm clipped.

    Args:
        weights: Not changed.
        gradient: (P,).
        rate: Step size; the layout's ``step_factors`` times this for each parameter.

    Returns:
        The new weights, or ``None`` where the gradient or the result is not finite: such a step is not taken.
    """
    n, layout = weights.n_updates + 1, weights.parameters.layout
    beta_2 = _BETA_2 if layout.has_reals else _BETA_2_CATEGORIES
    if serves(gradient):
        flat, first, second = (torch.empty_like(gradient) for _ in range(3))
        taken = adam.update(
            gradient.numpy(),
            (weights.parameters.flat.numpy(), weights.first.numpy(), weights.second.numpy()),
            (flat.numpy(), first.numpy(), second.numpy()),
            (_BETA_1, beta_2),
            (1 - _BETA_1**n, 1 - beta_2**n),
            _EPSILON,
            rate,
            layout.step_factors.numpy(),
            _MAX_NORM,
            _TINY,
        )
        return Weights(Parameters(layout, flat), first, second, n) if taken else None
    norm = float(torch.linalg.vector_norm(gradient))
    if not norm < float("inf"):  # also false for NaN
        return None
    if norm > _MAX_NORM:
        gradient = gradient * (_MAX_NORM / norm)
    first = hardshrink(torch.lerp(weights.first, gradient, 1 - _BETA_1), _TINY)
    second = hardshrink(torch.addcmul(weights.second * beta_2, gradient, gradient, value=1 - beta_2), _TINY)
    root = (second / (1 - beta_2**n)).sqrt_().add_(_EPSILON)
    step = layout.step_factors.to(first) * first
    flat = torch.addcdiv(weights.parameters.flat, step, root, value=-rate / (1 - _BETA_1**n))
    if not bool(torch.isfinite(flat.sum())):
        return None
    return Weights(Parameters(layout, flat), first, second, n)
