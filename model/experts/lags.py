"""What the regression is shown: lags of the field, of its seasons and of the other fields; and the finder of seasons.

Features of a field (N), each in running scales and cut:

- ``N_OWN``: its last increments;
- 2: how far the last value is from the level, and 1;
- 5 for each season that there is room for, about the time one period before the next item: the increments just before,
  at and just after it, how far its value is from the last one, and the regression's residual then;
- up to ``MAX_OTHERS``: the last increments of other fields;
- 2: the regression's last residuals, as in a moving average;
- 2: the last two increments again, cut at one scale: large changes may revert where small ones go on.

A season is a period at which the residual correlates with itself. No clock is needed, and a season that the regression
already explains is not found twice.
"""

from __future__ import annotations

import math

import numpy as np

from model.experts.records import FIRST_PERIOD, Field
from model.experts.regression import MEMORY as LEARNED
from model.experts.regression import PRIOR
from model.kernels import clip, packed, part

N_OWN = FIRST_PERIOD - 1
"""Own increments: one more than a day of hours with both neighbours."""

MAX_OTHERS = 8
"""Other fields that a field is regressed on; the ones that follow it in the spec."""

CLIP = 4.0
"""Features are kept within this many scales."""

MEMORY = 2000.0
"""Items over which correlations are averaged."""

_PER_SEASON = 5
_N_RESIDUALS = 2
_N_BENT = 2
_FIRST_SEASON = N_OWN + 2  # among the features
_EVERY = 16  # items between searches
_MIN_LEARNED = 100  # items before the first search: the residuals are not yet the stream's before that
_MIN_PAIRS = 60  # items that a period must have been seen beyond itself
_SIGNIFICANCE = 3.0  # standard errors of a correlation
_MARGIN = 0.5  # share of what a season promises, that the least useful one in use must bring to stay
_TINY = 1e-140  # keeps a quotient finite where the spread is 0


def n_features(n_reals: int, n_seasons: int) -> int:
    """Features of each of ``n_reals`` fields (N)."""
    return _FIRST_SEASON + n_seasons * _PER_SEASON + max(min(n_reals - 1, MAX_OTHERS), 0) + _N_RESIDUALS + _N_BENT


@part
def _increment(path: np.ndarray, at: int) -> float:
    """The increment to place ``at`` of the ring, from minus its size to its size."""
    to = at + path.size if at < 0 else at - path.size if at >= path.size else at
    return clip(path[to] - path[to - 1], CLIP)


@part
def _correlate(field: Field, residuals: np.ndarray, correlations: np.ndarray, items: int) -> None:
    """Average the product of the last residual with that of each period before."""
    ring = residuals.size
    at = items % ring
    residual = residuals[at]
    rate = np.float32(max(1 / field.n_learned, 1 / MEMORY))
    n = min(correlations.size, max(items - FIRST_PERIOD, 0))
    then = at - FIRST_PERIOD
    n_before = min(max(then + 1, 0), n)  # the others lie beyond the ring's end
    for i in range(n_before):
        correlations[i] += rate * (residual * residuals[then - i] - correlations[i])
    for i in range(n_before, n):
        correlations[i] += rate * (residual * residuals[then + ring - i] - correlations[i])


@part
def _strongest(field: Field, correlations: np.ndarray, periods: np.ndarray, items: int) -> int:
    """The period, from the first on, whose correlation is significant and largest; -1 if none is."""
    n_pairs = min(field.n_learned, MEMORY)
    best, most = -1, _SIGNIFICANCE / math.sqrt(n_pairs)
    for i in range(min(correlations.size, items - _MIN_PAIRS - FIRST_PERIOD + 1)):
        seen = items - FIRST_PERIOD - i + 1
        found = abs(correlations[i]) * math.sqrt(min(seen / n_pairs, 1.0))
        if found > most:
            known = False
            for period in periods:
                known = known or abs(period - FIRST_PERIOD - i) <= 1
            if not known:
                best, most = i, found
    return best


@part
def _place(
    field: Field,
    periods: np.ndarray,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    correlation: float,
) -> int:
    """Where a season goes: a free place, or that of the least significant one if it promises more; -1 if neither."""
    for slot in range(periods.size):
        if periods[slot] == 0:
            return slot
    least, least_use = 0, math.inf
    n = coefficients.size
    for slot in range(periods.size):
        use = 0.0
        for i in range(_FIRST_SEASON + slot * _PER_SEASON, _FIRST_SEASON + (slot + 1) * _PER_SEASON):
            use = max(use, coefficients[i] ** 2 / covariance[packed(i, i, n)])
        if use < least_use:
            least, least_use = slot, use
    promise = correlation**2 * field.noise * min(field.n_learned, LEARNED)
    return least if least_use < _MARGIN * promise else -1


@part
def _forget(coefficients: np.ndarray, covariance: np.ndarray, first: int) -> None:
    """Let a season's features start again, as if never seen."""
    n = coefficients.size
    for i in range(first, first + _PER_SEASON):
        coefficients[i] = 0
        for j in range(n):
            covariance[packed(i, j, n)] = 0
        covariance[packed(i, i, n)] = PRIOR


@part
def describe(
    field: Field,
    paths: np.ndarray,
    f: int,
    path: np.ndarray,
    residuals: np.ndarray,
    periods: np.ndarray,
    features: np.ndarray,
    items: int,
) -> None:
    """Write the features, (N,), of the item that follows the last; zeros where the field has not yet changed.

    Args:
        field: Record.
        paths: Of all fields, (R, T).
        f: Which of them the field is.
        path: Its own, (T,).
        residuals: (T,).
        periods: (S,).
        features: (N,); changed.
        items: Before the last.
    """
    features[:] = 0
    if field.change == 0:
        return
    n_reals, size = paths.shape
    at = items % size
    spread = math.sqrt(field.spread) + _TINY
    for i in range(N_OWN):
        features[i] = _increment(path, at - i)
    features[N_OWN] = clip((field.last - field.level) / spread, CLIP)
    features[N_OWN + 1] = 1
    to = _FIRST_SEASON
    for period in periods:
        if period > 0:
            then = at + 1 - period
            for i in range(3):
                features[to + i] = _increment(path, then - 1 + i)
            distance = (path[then] - path[at]) * math.sqrt(field.change)
            features[to + 3] = clip(distance / spread, CLIP)
            features[to + 4] = residuals[then]
        to += _PER_SEASON
    for i in range(min(n_reals - 1, MAX_OTHERS)):
        features[to] = _increment(paths[(f + 1 + i) % n_reals], at)
        to += 1
    for i in range(_N_RESIDUALS):
        features[to] = residuals[at - i]
        to += 1
    for i in range(_N_BENT):
        features[to] = clip(features[i], 1.0)
        to += 1


@part
def search(
    field: Field,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    residuals: np.ndarray,
    correlations: np.ndarray,
    periods: np.ndarray,
    value: float,
    items: int,
) -> None:
    """Follow how the residual correlates with past ones, and now and then adopt a season.

    Args:
        field: Record.
        coefficients: (N,) of the regression.
        covariance: (P,) of the regression.
        residuals: (T,), with that of this item; not changed.
        correlations: (C,).
        periods: (S,).
        value: NaN where missing: there is no residual.
        items: Before this one.
    """
    if math.isnan(value) or field.n_seen == 0 or field.change == 0:
        return
    _correlate(field, residuals, correlations, items)
    if field.n_learned <= _MIN_LEARNED or items % _EVERY:
        return
    best = _strongest(field, correlations, periods, items)
    if best < 0:
        return
    slot = _place(field, periods, coefficients, covariance, correlations[best])
    if slot >= 0:
        periods[slot] = FIRST_PERIOD + best
        _forget(coefficients, covariance, _FIRST_SEASON + slot * _PER_SEASON)
    correlations[max(best - 1, 0) : best + 2] = 0
