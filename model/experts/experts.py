"""Persistence, a regression and the network, and their mix: the experts that forecast a stream's real fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.experts import lags, records, regression
from model.experts.lags import describe, search
from model.experts.mixing import learn_mix
from model.experts.records import FIELD, MAX_VALUE
from model.experts.regression import forecast, learn
from model.experts.scales import follow
from model.kernels import ITEMS, PERIODS, SINGLES_OF_FIELDS, VALUES, clip, fields_of, kernel, row

Floats = NDArray[np.float64]

_PARTS = (
    *("items", "fields", "features", "coefficients", "covariance"),
    *("periods", "path", "residuals", "correlations"),
)


@dataclass(frozen=True, slots=True)
class Mixed:
    """The mix and what it was made of, experts in the order of ``EXPERTS``.

    Args:
        mean: (B, R); NaN where a field was never seen.
        weights: (B, R, E), at least 0, of sum 1.
        forecasts: (B, R, E); NaN where a field was never seen.
    """

    mean: Floats
    weights: Floats
    forecasts: Floats

    @classmethod
    def room(cls, n: int, n_reals: int) -> Self:
        """For ``n`` streams, to be filled in."""
        shape = (n, n_reals, len(records.EXPERTS))
        return cls(np.empty((n, n_reals)), np.empty(shape), np.empty(shape))


def experts_dtype(n_reals: int, size: records.Size) -> np.dtype[np.void]:
    """Layout of one stream's record; see :func:`model.experts.records.experts_dtype`.

    A field takes 10,152 bytes where it is the only one, and up to 12,024 with nine fields or more; if it is ``LIGHT``,
    2,808 and up to 4,040.
    """
    return records.experts_dtype(n_reals, lags.n_features(n_reals, size.n_seasons), size)


def fresh(experts: np.ndarray) -> None:
    """Set records to those of a stream that has seen nothing."""
    records.fresh(experts, regression.PRIOR)


def observe(experts: np.ndarray, values: Floats, stand_in: Floats) -> None:
    """Score what was pending, learn from the item, forecast the next one; ``experts`` is changed.

    Args:
        experts: Records of the streams, (B,).
        values: What was observed, (B, R); NaN where missing.
        stand_in: Takes a missing value's place as the last value, (B, R); kept within what the field has shown.
    """
    _observe(values, stand_in, *(experts[name] for name in _PARTS))


def pending(experts: np.ndarray) -> Mixed:
    """What was mixed last; to be called after :func:`model.experts.mixing.mix`."""
    return Mixed(*(np.array(experts["fields"][name]) for name in ("mixed", "weights", "forecasts")))


@kernel(
    *(VALUES, VALUES, ITEMS, fields_of(FIELD), *[SINGLES_OF_FIELDS] * 3, PERIODS, *[SINGLES_OF_FIELDS] * 3),
)
def _observe(
    values: np.ndarray,
    stand_in: np.ndarray,
    items: np.ndarray,
    fields: np.ndarray,
    features: np.ndarray,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    periods: np.ndarray,
    paths: np.ndarray,
    residuals: np.ndarray,
    correlations: np.ndarray,
) -> None:
    gain = np.empty(features.shape[2], np.float32)
    for b in range(items.size):
        n = items[b]
        for f in range(fields.shape[1]):
            field, value = fields[b, f], clip(values[b, f], MAX_VALUE)
            weights, variances = row(coefficients, b, f), row(covariance, b, f)
            learn_mix(field, value)
            learn(field, weights, variances, row(features, b, f), row(residuals, b, f), value, n, gain)
            search(field, weights, variances, row(residuals, b, f), row(correlations, b, f), periods[b, f], value, n)
            follow(field, row(paths, b, f), value, stand_in[b, f], n)
        for f in range(fields.shape[1]):  # once all have followed: a field is shown the last increments of others
            field, shown = fields[b, f], row(features, b, f)
            describe(field, paths[b], f, row(paths, b, f), row(residuals, b, f), periods[b, f], shown, n)
            forecast(field, row(coefficients, b, f), shown)
        items[b] = n + 1
