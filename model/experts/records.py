"""What the experts keep of a stream, as one fixed-size record.

Symbols: B streams, R real fields, N features of the regression, P = N (N + 1) / 2 numbers of a packed symmetric matrix.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

EXPERTS = ("persistence", "regression", "network")
"""Whose forecasts are mixed, in this order."""

MAX_VALUE = 1e100
"""Larger values are taken for this one: its square, and the square of any error, is finite."""

FIRST_PERIOD, LAST_PERIOD = 27, 340
"""Items per season that the finder considers, both included; shorter ones are within the regression's own lags."""

N_SEASONS = 4
"""Seasons that the regression looks back by at a time."""

RING = LAST_PERIOD + 4
"""Items that are remembered: a season, the items on both its sides, and one more for the increment."""

_SCALARS = (
    *("n_seen", "last", "observed", "level", "spread", "change", "recent_change"),
    *("n_learned", "noise", "n_scored", "loss", "recent_loss", "mixed"),
)
_PER_EXPERT = ("forecasts", "weights", "regret", "variation")

FIELD = np.dtype(
    [
        *((name, np.float64) for name in _SCALARS),
        *((name, np.float64, (len(EXPERTS),)) for name in _PER_EXPERT),
        # Four-byte parts come last, so that every part is aligned and no byte is left undefined.
        ("periods", np.int32, (N_SEASONS,)),
        ("path", np.float32, (RING,)),
        ("residuals", np.float32, (RING,)),
        ("correlations", np.float32, (LAST_PERIOD - FIRST_PERIOD + 1,)),
    ]
)
"""What is kept of a field besides its regression; 4,224 bytes.

- ``n_seen``: values seen; 0 for a field never seen, of which only ``forecasts`` and ``mixed`` are NaN.
- ``last``: the last value, or what stood in for it; ``observed``: the last value that was seen.
- ``level``, ``spread``: running mean and variance; ``change``, ``recent_change``: running mean square of increments.
- ``n_learned``: items that the regression learned from; ``noise``: running mean square of its error, over ``change``.
- ``n_scored``, ``loss``, ``recent_loss``: of the mix, its running mean squared errors.
- ``mixed``, ``forecasts`` (E,): of the next item; ``weights``, ``regret``, ``variation`` (E,): see ``mixing``.
- ``periods``: seasons in use, in items; 0 where there is none yet.
- ``path``: the last values, by item modulo ``RING``, from some origin and in units of the scale of increments, so that
  single precision is enough for any level and unit. ``residuals``: the regression's errors over their running size,
  likewise. ``correlations``: of the residual with that of one period before.
"""

Field: TypeAlias = Any
"""One record of :data:`FIELD` as kernels see it: its parts are attributes, which can be assigned to."""


def experts_dtype(n_reals: int, n_features: int) -> np.dtype[np.void]:
    """Layout of one stream's experts: ``items`` taken in, and per field what :data:`FIELD` and the regression hold.

    Of the regression: ``features`` (R, N), what the pending forecast was made from; ``coefficients`` (R, N), and their
    ``covariance`` (R, P), the upper triangle row by row.
    """
    n_packed = n_features * (n_features + 1) // 2
    parts = [
        ("items", np.int64),
        ("fields", FIELD, (n_reals,)),
        ("features", np.float32, (n_reals, n_features)),
        ("coefficients", np.float32, (n_reals, n_features)),
        ("covariance", np.float32, (n_reals, n_packed)),
    ]
    filler = np.dtype(parts).itemsize // 4 % 2
    return np.dtype([*parts, ("filler", np.int32, (filler,))])


def fresh(records: np.ndarray, prior: float) -> None:
    """Set records to those of a stream that has seen nothing, whose coefficients have the variance ``prior``."""
    records[...] = np.zeros((), records.dtype)
    n = records.dtype["features"].shape[1]
    rows = np.arange(n)
    records["covariance"][:, :, rows * n - rows * (rows - 1) // 2] = prior
    for name, value in (("weights", 1 / len(EXPERTS)), ("forecasts", np.nan), ("mixed", np.nan)):
        records["fields"][name] = value
