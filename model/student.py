"""Heavy tails: Student's t distribution in place of the normal one, its degrees of freedom chosen per stream and field.

Each candidate has the mean and the standard deviation that are predicted, so that they differ in their tails alone.
The one whose log score has been best of late is sent. As degrees of freedom are whole numbers, its distribution
function is a finite sum.

Source: the continuous ranked probability score is that of Jordan, Krueger, Lerch, "Evaluating Probabilistic Forecasts
with scoringRules" (J. Stat. Software 2019), the distribution function 26.7.3 and 26.7.4 of Abramowitz & Stegun.
"""

from __future__ import annotations

import math

import numpy as np

from model.distribution import normal_crps, normal_nll
from model.kernels import clip, part

NORMAL = 0
"""Stands for the normal distribution among degrees of freedom."""

CANDIDATES = (NORMAL, 3, 4, 6, 10, 20)
"""Degrees of freedom; above 2, or there is no standard deviation."""

MEMORY = 500
"""Items over which the log scores forget."""

MAX_GAIN = 5.0
"""Nats by which one item speaks for a candidate and against the normal distribution, or the reverse, at most."""

_MOST = 1e100  # standard deviations: beyond, a square may overflow


def tails_dtype(n_reals: int) -> np.dtype[np.void]:
    """Layout of one stream's record: each candidate's running log score less the normal's, (R, N), nats."""
    return np.dtype([("gains", np.float64, (n_reals, len(CANDIDATES)))])


@part
def _log_density(z: float, degrees: float) -> float:
    """Log density at z, of mean 0 and standard deviation 1."""
    if degrees == NORMAL:
        return -normal_nll(z, 1.0)
    scale = math.sqrt((degrees - 2) / degrees)
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    return constant - math.log(scale) - (degrees + 1) / 2 * math.log1p((z / scale) ** 2 / degrees)


@part
def _within(t: float, degrees: int) -> float:
    """Probability between -t and t, at the distribution's own scale; of the sign of t."""
    length = math.sqrt(degrees + t * t)
    sine, square = t / length, degrees / (length * length)
    if degrees % 2 == 0:
        term = total = 1.0
        for k in range(1, degrees // 2):
            term *= (2 * k - 1) / (2 * k) * square
            total += term
        return sine * total
    term = total = math.sqrt(square)
    for k in range(1, (degrees - 1) // 2):
        term *= 2 * k / (2 * k + 1) * square
        total += term
    return 2 / math.pi * (math.atan(t / math.sqrt(degrees)) + sine * total)


@part
def _crps(z: float, degrees: float) -> float:
    """Continuous ranked probability score at z, of mean 0 and standard deviation 1."""
    scale = math.sqrt((degrees - 2) / degrees)
    t = z / scale
    density = math.exp(_log_density(z, degrees)) * scale
    spread = math.exp(  # half the mean distance of two draws
        math.lgamma(degrees - 0.5) + 2 * math.lgamma((degrees + 1) / 2)
        - math.lgamma(0.5) - math.lgamma(degrees) - 2 * math.lgamma(degrees / 2)
    ) * 2 * math.sqrt(degrees) / (degrees - 1)  # fmt: skip
    return scale * (t * _within(t, int(degrees)) + 2 * density * (degrees + t * t) / (degrees - 1) - spread)


@part
def nll(error: float, std: float, degrees: float) -> float:
    """Nats of an error under a distribution of this standard deviation; ``NORMAL`` degrees for a normal one."""
    if degrees == NORMAL:
        return normal_nll(error, std)
    return math.log(std) - _log_density(clip(error / std, _MOST), degrees)


@part
def crps(error: float, std: float, degrees: float) -> float:
    """Continuous ranked probability score, in the error's unit; otherwise as :func:`nll`."""
    if degrees == NORMAL:
        return normal_crps(error, std)
    return std * _crps(clip(error / std, _MOST), degrees)


@part
def score_candidates(gains: np.ndarray, error: float, std: float) -> None:
    """Score every candidate of a field by one item, whichever was sent.

    Args:
        gains: (N,); changed.
        error: Observed minus predicted; NaN where not scored.
        std: As predicted.
    """
    if std > 0 and not math.isnan(error):
        z = clip(error / std, _MOST)
        normal = _log_density(z, NORMAL)
        for k in range(1, gains.size):
            gain = _log_density(z, CANDIDATES[k]) - normal
            gains[k] += min(max(gain, -MAX_GAIN), MAX_GAIN) - gains[k] / MEMORY


@part
def best(gains: np.ndarray) -> float:
    """Degrees of freedom of a field's best candidate; the normal distribution before there is a better one."""
    first = 0
    for k in range(1, gains.size):
        if gains[k] > gains[first]:
            first = k
    return float(CANDIDATES[first])
