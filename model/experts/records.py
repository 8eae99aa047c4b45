"""What the experts keep of a stream, as one fixed-size record.

Symbols: B streams, R real fields, N features of the regression, P = N (N + 1) / 2 numbers of a packed symmetric matrix,
S seasons in use at a time, C periods that the finder of seasons considers, T items that are remembered.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

EXPERTS = ("persistence", "regression", "network")
"""Whose forecasts are mixed, in this order."""

REGRESSION = EXPERTS.index("regression")

MAX_VALUE = 1e100
"""Larger values are taken for this one: its square, and the square of any error, is finite."""

FIRST_PERIOD, LAST_PERIOD = 27, 340
"""Items per season that the finder considers, both included; shorter ones are within the regression's own lags."""


class Size(NamedTuple):
    """What the experts of a field may remember."""

    n_seasons: int
    n_periods: int
    n_items: int


SEASONAL = Size(4, LAST_PERIOD - FIRST_PERIOD + 1, LAST_PERIOD + 4)
"""Room for seasons: items of the longest one, those on both its sides, and one more for the increment."""

LIGHT = Size(0, 0, FIRST_PERIOD + 3)
"""No seasons beyond the regression's own lags."""

_SCALARS = (
    *("n_seen", "last", "observed", "level", "spread", "change", "recent_change"),
    *("n_learned", "noise", "n_scored", "loss", "recent_loss", "mixed"),
)
_PER_EXPERT = ("forecasts", "weights", "regret", "variation")

FIELD = np.dtype(
    [
        *((name, np.float64) for name in _SCALARS),
        *((name, np.float64, (len(EXPERTS),)) for name in _PER_EXPERT),
    ]
)
"""What is kept of a field besides its regression and its past.

- ``n_seen``: values seen; 0 for a field never seen, of which only ``forecasts`` and ``mixed`` are NaN.
- ``last``: the last value, or what stood in for it; ``observed``: the last value that was seen.
- ``level``, ``spread``: running mean and variance; ``change``, ``recent_change``: running mean square of increments.
- ``n_learned``: items that the regression learned from; ``noise``: running mean square of its error, over ``change``.
- ``n_scored``, ``loss``, ``recent_loss``: of the mix, its running mean squared errors.
- ``mixed``, ``forecasts`` (E,): of the next item; ``weights``, ``regret``, ``variation`` (E,): see ``mixing``.
"""

Field: TypeAlias = Any
"""One record of :data:`FIELD` as kernels see it: its parts are attributes, which can be assigned to."""


def experts_dtype(n_reals: int, n_features: int, size: Size) -> np.dtype[np.void]:
    """Layout of one stream's experts: ``items`` taken in, and per field what :data:`FIELD` holds, and these.

    - ``features`` (R, N): what the regression's pending forecast was made from; ``coefficients`` (R, N), and their
      ``covariance`` (R, P), the upper triangle row by row.
    - ``periods`` (R, S): seasons in use, in items; 0 where there is none yet.
    - ``path`` (R, T): the last values, by item modulo T, from some origin and in units of the scale of increments, so
      that single precision is enough for any level and unit. ``residuals`` (R, T): the regression's errors over their
      running size, likewise. ``correlations`` (R, C): of the residual with that of one period before.
    """
    n_packed = n_features * (n_features + 1) // 2
    parts = [
        ("items", np.int64),
        ("fields", FIELD, (n_reals,)),
        # Four-byte parts come last, so that every part is aligned and no byte is left undefined.
        ("features", np.float32, (n_reals, n_features)),
        ("coefficients", np.float32, (n_reals, n_features)),
        ("covariance", np.float32, (n_reals, n_packed)),
        ("periods", np.int32, (n_reals, size.n_seasons)),
        ("path", np.float32, (n_reals, size.n_items)),
        ("residuals", np.float32, (n_reals, size.n_items)),
        ("correlations", np.float32, (n_reals, size.n_periods)),
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
