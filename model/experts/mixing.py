"""The mix: a convex combination of the experts' forecasts, by what following each would have gained.

Source: ML-poly, Gaillard, Stoltz, van Erven, "A second-order bound with excess losses" (COLT 2014). An expert's weight
is its positive regret over one plus the sum of its squared regrets; a regret is linear in the forecast, by the slope of
the squared loss at the mix. There is no rate to tune. Here regrets are discounted, so that a new regime counts, and
errors are in units of their running size and cut, so that a spike does not rule for long.
"""

from __future__ import annotations

import math

from model.experts.records import MAX_VALUE, Field
from model.kernels import clip, part

DISCOUNT = 0.001
"""Share of past regret that each item forgets."""

MAX_ERROR = math.sqrt(20)
"""In running error sizes: what a single error or a difference to the mix counts at most."""

_RATE = 0.005  # of the running squared error: 200 items
_RECENT_RATE = 1 / 32  # of the quick one
_MATURE = 64  # items scored, after which the quick one bounds the slow one
_MAX_RATIO = 100.0  # of the slow to the quick running squared error: forgets a spike or an old unit
_RECENT_FLOOR = 1e-3  # of the slow one, so that the quick one can grow again
_NOTHING = 1e-280  # a square below this is that of float noise, and is taken for 0


@part
def _weigh(field: Field, value: float) -> None:
    """Add the item to each expert's regret, and weigh the experts by it."""
    if field.loss == 0:
        return
    size = math.sqrt(field.loss)
    slope = 2 * clip((field.mixed - value) / size, MAX_ERROR)
    total = 0.0
    n = field.regret.size
    for e in range(n):
        gain = -slope * clip((field.forecasts[e] - field.mixed) / size, MAX_ERROR)
        field.variation[e] = (1 - DISCOUNT) * field.variation[e] + gain * gain
        field.regret[e] = (1 - DISCOUNT) * field.regret[e] + gain
        field.weights[e] = max(field.regret[e], 0.0) / (1 + field.variation[e])
        total += field.weights[e]
    for e in range(n):
        field.weights[e] = field.weights[e] / total if total > 1e-12 else 1 / n


@part
def _follow_error(field: Field, value: float) -> None:
    """Follow the size of the mix's squared error, slowly and quickly."""
    field.n_scored += 1
    square = (value - field.mixed) ** 2
    cut = MAX_ERROR**2
    if field.n_scored == 1:
        field.recent_loss = square
    slow = square if field.loss == 0 else min(square, cut * field.loss)
    field.loss += max(1 / field.n_scored, _RATE) * (slow - field.loss)
    quick = min(square, cut * field.recent_loss + _RECENT_FLOOR * field.loss)
    field.recent_loss += max(1 / field.n_scored, _RECENT_RATE) * (quick - field.recent_loss)
    if field.n_scored > _MATURE:
        field.loss = min(field.loss, _MAX_RATIO * field.recent_loss)
    if field.loss < _NOTHING:
        field.loss = 0.0


@part
def learn_mix(field: Field, value: float) -> None:
    """Score what is pending by the value, NaN where missing; weights, regrets and error sizes change."""
    if field.n_seen > 0 and not math.isnan(value):
        _weigh(field, value)
        _follow_error(field, value)


@part
def mix(field: Field, network: float) -> None:
    """Mix the forecasts of the next item; what is mixed is pending from now on.

    To be called between one :func:`model.experts.observe` and the next. A network's forecast that is not finite is
    replaced by the last value; a field never seen stays NaN.
    """
    if field.n_seen > 0:
        field.forecasts[2] = clip(network, MAX_VALUE) if math.isfinite(network) else field.forecasts[0]
        field.mixed = 0.0
        for e in range(field.forecasts.size):
            field.mixed += field.weights[e] * field.forecasts[e]
