"""How good a prediction of a field was, as parts of kernels: log score, CRPS, rank; heavy tails are in ``student``."""

from __future__ import annotations

import math

import numpy as np

from model.kernels import clip, part

FLOOR = 1e-6
"""Least probability of any value a category field can take; bounds the log score at 20 bits."""

_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)
_ROOT_TAU = math.sqrt(2 * math.pi)
_ROOT_2 = math.sqrt(2)
_INV_ROOT_PI = 1 / math.sqrt(math.pi)
_MAX_RATIO = 1e100  # its square is finite


@part
def normal_nll(error: float, std: float) -> float:
    """Negative log likelihood of a normal distribution, nats, for an error and its standard deviation."""
    z = clip(error / std, _MAX_RATIO)
    return 0.5 * z * z + math.log(std) + _LOG_ROOT_TAU


@part
def normal_crps(error: float, std: float) -> float:
    """Continuous ranked probability score of a normal distribution, in the error's unit (Gneiting & Raftery 2007)."""
    z = clip(error / std, _MAX_RATIO)
    density = math.exp(-0.5 * z * z) / _ROOT_TAU
    return std * (z * math.erf(z / _ROOT_2) + 2 * density - _INV_ROOT_PI)


@part
def rank(probabilities: np.ndarray, slot: int) -> int:
    """Place of the slot among all (V,) by probability, from 1; ties count as half won, rounded down."""
    own = probabilities[slot]
    likelier, as_likely = 0, 0
    for probability in probabilities:
        if probability > own:
            likelier += 1
        elif probability == own:
            as_likely += 1
    return 1 + likelier + (as_likely - 1) // 2
