"""What is predicted of a field, and how good it was: log score, CRPS, rank. Heavy tails are in :mod:`model.student`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 1e-6
"""Least probability of any value a category field can take; bounds the log score at 20 bits."""

_LOG_ROOT_TAU = 0.5 * float(np.log(2 * np.pi))
_INV_ROOT_PI = 1 / float(np.sqrt(np.pi))


def normal_nll(error: Floats, std: Floats) -> Floats:
    """Negative log likelihood of a normal distribution, nats, for an error and its standard deviation."""
    return 0.5 * np.square(_ratio(error, std)) + np.log(std) + _LOG_ROOT_TAU


def normal_crps(error: Floats, std: Floats) -> Floats:
    """Continuous ranked probability score of a normal distribution, in the error's unit (Gneiting & Raftery 2007)."""
    z = _ratio(error, std)
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    return np.asarray(std * (z * (2 * normal_cdf(z) - 1) + 2 * density - _INV_ROOT_PI))


def normal_cdf(z: Floats) -> Floats:
    """Standard normal distribution function."""
    return np.asarray(torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(z))).numpy())


def floored(probabilities: Floats, possible: NDArray[np.bool_]) -> Floats:
    """Mix in a little of the uniform distribution over the possible slots, (B, V); the sum stays 1."""
    n = np.maximum(possible.sum(1, keepdims=True), 1)
    mixed = (1 - FLOOR * n) * probabilities + FLOOR
    return np.where(possible, mixed, 0.0)


def rank(probabilities: Floats, slot: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the slot among all by probability, (B,), from 1; ties count as half won, rounded down."""
    own = np.take_along_axis(probabilities, slot[:, None], 1)
    return np.asarray(1 + (probabilities > own).sum(1) + ((probabilities == own).sum(1) - 1) // 2)


def _ratio(error: Floats, std: Floats) -> Floats:
    return np.clip(error / std, -1e100, 1e100)
