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

from model.experts.records import FIELD, FIRST_PERIOD, Field
from model.kernels import HISTORY, ITEMS, NUMBER, PERIODS, ROWS, VALUES, clip, fields_of, kernel, packed, part

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
    return clip(path[at % path.size] - path[(at - 1) % path.size], CLIP)


@part
def _correlate(field: Field, residuals: np.ndarray, correlations: np.ndarray, items: int) -> None:
    """Average the product of the last residual with that of each period before."""
    ring = residuals.size
    at = items % ring
    residual = residuals[at]
    rate = np.float32(max(1 / field.n_learned, 1 / MEMORY))
    n = min(correlations.size, max(items - FIRST_PERIOD, 0))
    for i in range(n):
        then = at - FIRST_PERIOD - i
        if then < 0:
            then += ring
        correlations[i] += rate * (residual * residuals[then] - correlations[i])


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
    memory: float,
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
    promise = correlation**2 * field.noise * min(field.n_learned, memory)
    return least if least_use < _MARGIN * promise else -1


@part
def _forget(coefficients: np.ndarray, covariance: np.ndarray, first: int, prior: float) -> None:
    """Let a season's features start again, as if never seen."""
    n = coefficients.size
    for i in range(first, first + _PER_SEASON):
        coefficients[i] = 0
        for j in range(n):
            covariance[packed(i, j, n)] = 0
        covariance[packed(i, i, n)] = prior


@kernel(fields_of(FIELD), HISTORY, HISTORY, PERIODS, ROWS, ITEMS)
def describe(
    fields: np.ndarray,
    paths: np.ndarray,
    residuals: np.ndarray,
    periods: np.ndarray,
    features: np.ndarray,
    items: np.ndarray,
) -> None:
    """Write the features, (B, R, N), of the item that follows the last; zeros where a field has not yet changed."""
    n_reals = fields.shape[1]
    for b in range(fields.shape[0]):
        for f in range(n_reals):
            field, path, row = fields[b, f], paths[b, f], features[b, f]
            row[:] = 0
            if field.change == 0:
                continue
            at = items[b] % path.size
            spread = math.sqrt(field.spread) + _TINY
            for i in range(N_OWN):
                row[i] = _increment(path, at - i)
            row[N_OWN] = clip((field.last - field.level) / spread, CLIP)
            row[N_OWN + 1] = 1
            to = _FIRST_SEASON
            for period in periods[b, f]:
                if period > 0:
                    then = at + 1 - period
                    for i in range(3):
                        row[to + i] = _increment(path, then - 1 + i)
                    distance = (path[then] - path[at]) * math.sqrt(field.change)
                    row[to + 3] = clip(distance / spread, CLIP)
                    row[to + 4] = residuals[b, f, then]
                to += _PER_SEASON
            for i in range(min(n_reals - 1, MAX_OTHERS)):
                row[to] = _increment(paths[b, (f + 1 + i) % n_reals], at)
                to += 1
            for i in range(_N_RESIDUALS):
                row[to] = residuals[b, f, at - i]
                to += 1
            for i in range(_N_BENT):
                row[to] = clip(row[i], 1.0)
                to += 1


@kernel(fields_of(FIELD), ROWS, ROWS, HISTORY, HISTORY, PERIODS, VALUES, ITEMS, NUMBER, NUMBER)
def search(
    fields: np.ndarray,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    residuals: np.ndarray,
    correlations: np.ndarray,
    periods: np.ndarray,
    values: np.ndarray,
    items: np.ndarray,
    prior: float,
    memory: float,
) -> None:
    """Follow how the residual correlates with past ones, and now and then adopt a season.

    Args:
        fields: (B, R).
        coefficients: (B, R, N) of the regression.
        covariance: (B, R, P) of the regression.
        residuals: (B, R, T), with that of this item; not changed.
        correlations: (B, R, C).
        periods: (B, R, S).
        values: (B, R), NaN where missing: there is no residual.
        items: (B,) before this one.
        prior: Variance of a coefficient that is new.
        memory: Items that the regression remembers.
    """
    for b in range(values.shape[0]):
        for f in range(values.shape[1]):
            field, found, seasons = fields[b, f], correlations[b, f], periods[b, f]
            if math.isnan(values[b, f]) or field.n_seen == 0 or field.change == 0:
                continue
            _correlate(field, residuals[b, f], found, items[b])
            if field.n_learned <= _MIN_LEARNED or items[b] % _EVERY:
                continue
            best = _strongest(field, found, seasons, items[b])
            if best < 0:
                continue
            slot = _place(field, seasons, coefficients[b, f], covariance[b, f], found[best], memory)
            if slot >= 0:
                seasons[slot] = FIRST_PERIOD + best
                _forget(coefficients[b, f], covariance[b, f], _FIRST_SEASON + slot * _PER_SEASON, prior)
            found[max(best - 1, 0) : best + 2] = 0
