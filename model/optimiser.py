"""Weights, and what the guarded Adam update of them goes by; networks compute it, see :mod:`model.network`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 4e-3
"""Step size of the first update, when the model names none."""

LEARNING_RATE_FLOOR = 5e-4
"""Step size that the default schedule settles on; it never reaches zero, since streams never stop changing."""

BETA_1, EPSILON = 0.9, 1e-8
MAX_NORM = 10.0
"""Most that the gradient's norm counts as."""

TINY = 1e-30
"""Running means below this are 0: next to epsilon they move nothing, and subnormal numbers are slow."""

_BETA_2 = 0.999
_BETA_2_CATEGORIES = 0.9999  # of a model of categories alone: most values are rare, and their gradients with them
_DECAY_UPDATES = 500  # the default schedule falls with the root of the updates counted in these


@dataclass(frozen=True, slots=True)
class Weights:
    """Shared weights and their optimiser state; an update makes new ones, and none is ever written to.

    Args:
        flat: What the network computes with, (P,); where it computes, see :mod:`model.network`.
        first: Running mean of the gradient, (P,).
        second: Running mean of its square, (P,).
        n_updates: Updates taken, 0 for fresh weights.
    """

    flat: Any
    first: Any
    second: Any
    n_updates: int = 0

    @classmethod
    def around(cls, flat: NDArray[Any]) -> Weights:
        """Weights that have seen no update."""
        return cls(flat, np.zeros_like(flat), np.zeros_like(flat))

    @property
    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Parameters and both running means as arrays, wherever they lie; not to be written to."""
        flat, first, second = (
            part if isinstance(part, np.ndarray) else part.cpu().numpy()
            for part in (self.flat, self.first, self.second)
        )
        return flat, first, second


def learning_rate(given: float | None, n_updates: int) -> float:
    """Step size of the next update: the model's, or the default schedule's."""
    if given is not None:
        return given
    return max(LEARNING_RATE_FLOOR, LEARNING_RATE / math.sqrt(1 + n_updates / _DECAY_UPDATES))


def beta_2(*, has_reals: bool) -> float:
    """Share of the running mean of squares that an update keeps."""
    return _BETA_2 if has_reals else _BETA_2_CATEGORIES
