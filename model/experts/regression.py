"""The regression: recursive least squares from scaled lags to the next scaled increment, guarded.

Source: recursive least squares with exponential forgetting (Ljung, "System Identification", 2nd ed., 11.2). Forgetting
alone lets the covariance grow without bound along directions that the stream does not excite. Here the coefficients
are also pulled towards 0, one after the other, together with the prior's strength; that bounds it. The covariance is
kept as its packed upper triangle in single precision: symmetric by construction.
"""

from __future__ import annotations

import math

import numpy as np

from model.experts.records import Field
from model.experts.scales import RATE
from model.kernels import clip, packed, part

MEMORY = 2000.0
"""Items that least squares remembers: the forgetting factor is 1 - 1 / MEMORY."""

PRIOR = 0.1
"""Variance of a coefficient before anything was learned; features and targets have a scale of about 1."""

MAX_INCREMENT = 4.0
"""In running scales of the increments: what is learned and forecast at most."""

MAX_RESIDUAL = 3.0
"""In running sizes of the error: what a residual is remembered as at most."""

_MAX_SURPRISE = 4.0  # in running sizes of the error: what is learned from one item at most, as Huber's loss does
_NOISE_CUT = 100.0  # times the running squared error: what one error adds at most
_MIN_NOISE = 1e-12  # of the squared scale: a stream that is forecast exactly still has an error size
_MAX_NUMBER = 1e6  # coefficients and variances beyond are those of a regression that has gone wrong
_MAX_GAIN = 1e8  # likewise; far below what would overflow single precision


@part
def _dot(left: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for i in range(left.size):
        total += left[i] * right[i]
    return total


@part
def _times(covariance: np.ndarray, vector: np.ndarray, product: np.ndarray) -> None:
    """The packed symmetric matrix times a vector: each number above the diagonal counts in its row and its column."""
    product[:] = 0
    start = 0
    for i in range(vector.size):
        stop = start + vector.size - i
        row, below, partner = covariance[start:stop], product[i:], vector[i:]
        for j in range(row.size):
            below[j] += row[j] * vector[i]
        total = np.float32(0)
        for j in range(1, row.size):
            total += row[j] * partner[j]
        product[i] += total
        start = stop


@part
def _add(
    coefficients: np.ndarray, covariance: np.ndarray, gain: np.ndarray, step: float, share: float, growth: float
) -> None:
    """Move the coefficients by a step along the gain, take a share of its square from the covariance, let that grow."""
    step32, share32, growth32 = np.float32(step), np.float32(share), np.float32(growth)
    start = 0
    for i in range(gain.size):
        coefficients[i] += gain[i] * step32
        scaled = gain[i] * share32
        stop = start + gain.size - i
        row, partner = covariance[start:stop], gain[i:]
        for j in range(row.size):
            row[j] = (row[j] - scaled * partner[j]) * growth32
        start = stop


@part
def _update(
    coefficients: np.ndarray, covariance: np.ndarray, features: np.ndarray, gain: np.ndarray, error: float
) -> bool:
    """One step of recursive least squares; False where it must not be taken."""
    _times(covariance, features, gain)
    forgetting = 1 - 1 / MEMORY
    divisor = max(forgetting + _dot(gain, features), forgetting)
    for i in range(gain.size):
        if not abs(gain[i]) < _MAX_GAIN:
            return False
    _add(coefficients, covariance, gain, error / divisor, 1 / divisor, 1 / forgetting)
    return True


@part
def _shrink(coefficients: np.ndarray, covariance: np.ndarray, gain: np.ndarray, column: int) -> bool:
    """Observe that one coefficient is 0, with N / MEMORY of the prior's certainty; False where numbers went wrong."""
    n = gain.size
    for i in range(n):
        gain[i] = covariance[packed(i, column, n)]
        if not abs(gain[i]) < _MAX_NUMBER:
            return False
    certainty = n / (MEMORY * PRIOR)
    share = certainty / (1 + certainty * max(gain[column], 0.0))
    _add(coefficients, covariance, gain, -share * coefficients[column], share, 1.0)
    for i in range(n):
        variance = covariance[packed(i, i, n)]
        if not (0 < variance < _MAX_NUMBER and abs(coefficients[i]) < _MAX_NUMBER):
            return False
    return True


@part
def _restart(coefficients: np.ndarray, covariance: np.ndarray) -> None:
    """Back to the prior."""
    n = coefficients.size
    coefficients[:] = 0
    covariance[:] = 0
    for i in range(n):
        covariance[packed(i, i, n)] = PRIOR


@part
def learn(
    field: Field,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    features: np.ndarray,
    residuals: np.ndarray,
    value: float,
    items: int,
    gain: np.ndarray,
) -> None:
    """Learn what a field's pending forecast should have been; field, coefficients, covariance and residuals change.

    Args:
        field: Record.
        coefficients: (N,).
        covariance: (P,).
        features: (N,) of the pending forecast.
        residuals: (T,).
        value: NaN where missing; nothing is learned then.
        items: Before this one.
        gain: Room for (N,).
    """
    at = items % residuals.size
    residuals[at] = 0
    if math.isnan(value) or field.n_seen == 0 or field.change == 0:
        return
    target = clip((value - field.last) / math.sqrt(field.change), MAX_INCREMENT)
    error = target - _dot(coefficients, features)
    if field.noise == 0:
        field.noise = error * error
    size = math.sqrt(field.noise) + _MIN_NOISE
    rate = max(1 / field.n_seen, RATE)
    cut = min(error * error, _NOISE_CUT * field.noise)
    field.noise = max(field.noise + rate * (cut - field.noise), _MIN_NOISE)
    residuals[at] = clip(error / size, MAX_RESIDUAL)
    field.n_learned += 1
    column = int(field.n_learned) % gain.size
    if not _update(coefficients, covariance, features, gain, clip(error, _MAX_SURPRISE * size)) or not _shrink(
        coefficients, covariance, gain, column
    ):
        _restart(coefficients, covariance)


@part
def forecast(field: Field, coefficients: np.ndarray, features: np.ndarray) -> None:
    """Forecast the next item of a field that was seen, by persistence and by the regression; the field changes.

    The network's forecast and the mix are persistence's until they are known.
    """
    if field.n_seen > 0:
        increment = clip(_dot(coefficients, features), MAX_INCREMENT)
        field.forecasts[:] = field.last
        field.forecasts[1] += increment * math.sqrt(field.change)
        field.mixed = field.last
