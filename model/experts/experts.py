"""Persistence, a regression and the network, and their mix: the experts that forecast a stream's real fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.experts import lags, mixing, records, regression, scales

Floats = NDArray[np.float64]

_REGRESSION = ("coefficients", "covariance", "features")
_PAST = ("path", "residuals", "correlations", "periods")


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
    values = np.clip(values, -records.MAX_VALUE, records.MAX_VALUE)
    items, fields = experts["items"].copy(), experts["fields"]
    # Kernels want contiguous rows; of a batch these are copies.
    coefficients, covariance, features = (np.ascontiguousarray(experts[name]) for name in _REGRESSION)
    path, residuals, correlations, periods = (experts[name] for name in _PAST)
    mixing.learn(fields, values)
    regression.learn(fields, coefficients, covariance, features, residuals, values, items, scales.RATE)
    lags.search(
        *(fields, coefficients, covariance, residuals, correlations, periods, values, items),
        *(regression.PRIOR, regression.MEMORY),
    )
    scales.follow(fields, path, values, stand_in, items)
    lags.describe(fields, path, residuals, periods, features, items)
    regression.forecast(fields, coefficients, features)
    for name, rows in zip(_REGRESSION, (coefficients, covariance, features), strict=True):
        experts[name] = rows
    experts["items"] = items + 1


def forecasts(experts: np.ndarray) -> Floats:
    """What persistence and the regression say of the next item, (B, R, 2); NaN where a field was never seen."""
    return np.array(experts["fields"]["forecasts"][..., :2])


def mix(experts: np.ndarray, network: Floats) -> Mixed:
    """Mix in what the network says of the next item, (B, R); what is mixed is kept as pending in ``experts``.

    To be called between one :func:`observe` and the next. Where the network's forecast is not finite, the last value
    takes its place.
    """
    mixing.combine(experts["fields"], network, records.MAX_VALUE)
    return pending(experts)


def pending(experts: np.ndarray) -> Mixed:
    """What was mixed last; to be called after :func:`mix`."""
    return Mixed(*(np.array(experts["fields"][name]) for name in ("mixed", "weights", "forecasts")))
