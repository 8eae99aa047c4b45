"""Whether one method's losses on the same items are lower than another's by more than chance.

Sources: Diebold & Mariano, "Comparing Predictive Accuracy" (1995), with the variance of Newey & West (1987) and the lag
of Newey & West (1994); Politis & Romano, "The Stationary Bootstrap" (1994), with the block length of Patton, Politis
& White (2009) from the library arch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_RESAMPLES = 2_000
LEVEL = 0.95
_MIN_BLOCKS = 16  # values below which a block length cannot be told
_MAX_RESAMPLED = 20_000  # values; the time it takes grows with them
_SIGMAS = 1.959963984540054  # of the normal distribution, at LEVEL


@dataclass(frozen=True, slots=True)
class Comparison:
    """A method's mean loss against another's, on the same items.

    Args:
        change: Mean difference as a share of the other's mean loss; below 0 where the method is better.
        low: Lower end of the interval of ``change`` that holds at 95 %: of the bootstrap, or of the normal distribution
            where the bootstrap's library is not installed; ``None`` where nothing varies.
        high: Upper end.
        p_diebold_mariano: Two-sided; ``None`` where nothing varies.
        p_bootstrap: Two-sided; ``None`` where the library is not installed, or nothing varies.
        seeds_better: Seeds under which the mean loss was lower.
        n_seeds: How many there were.
        seed_deviation: Standard deviation of ``change`` over seeds; ``None`` for one.
    """

    change: float
    low: float | None
    high: float | None
    p_diebold_mariano: float | None
    p_bootstrap: float | None
    seeds_better: int
    n_seeds: int
    seed_deviation: float | None


def compare(losses: Sequence[Sequence[Floats]], others: Sequence[Sequence[Floats]], seed: int = 0) -> Comparison | None:
    """Compare two methods.

    Differences under several seeds are averaged item by item first: what is asked is whether the methods differ on a
    series like these, and the seeds are no independent draws of the series. Series count alike, in units of the other's
    mean loss there. Those of one length may share their time, as the columns of a file do, and are averaged item by
    item too.

    Args:
        losses: Of one method, per seed and series, (T,) each; NaN where nothing was scored.
        others: Of the other, likewise, for the same seeds.
        seed: Of the bootstrap.

    Returns:
        ``None`` where nothing was scored by both, or the other has no loss at all.
    """
    shares: dict[
        int, list[Floats]
    ] = {}  # by length, per series the differences, (seeds, T), over the other's mean loss
    for at in range(len(losses[0])):
        own, other = (np.stack([run[at] for run in runs]) for runs in (losses, others))
        both = ~(np.isnan(own) | np.isnan(other))
        level = other[both].mean() if both.any() else 0.0
        if level > 0:
            shares.setdefault(own.shape[1], []).append(np.where(both, (own - other) / level, np.nan))
    if not shares:
        return None
    by_seed = _mean(np.stack([_mean(share, 1) for alike in shares.values() for share in alike]), 0)
    series = [_mean(np.stack([_mean(share, 0) for share in alike]), 0) for alike in shares.values()]
    series = [one[~np.isnan(one)] for one in series]
    weights = np.array([len(alike) for alike in shares.values()]) / sum(map(len, shares.values()))
    change = float(_mean(by_seed, 0))
    variances = np.array([variance_of_mean(one) for one in series])
    deviation = math.sqrt(float(np.square(weights) @ variances))
    low = high = p_normal = p_bootstrap = None
    if deviation > 0:
        p_normal = math.erfc(abs(change) / deviation / math.sqrt(2))
        low, high = change - _SIGMAS * deviation, change + _SIGMAS * deviation
        resampled = bootstrap_means(series, weights, seed)
        if resampled is not None:
            low, high = (float(q) for q in np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            p_bootstrap = float((1 + np.sum(np.abs(resampled - change) >= abs(change))) / (1 + len(resampled)))
    return Comparison(
        change=change,
        low=low,
        high=high,
        p_diebold_mariano=p_normal,
        p_bootstrap=p_bootstrap,
        seeds_better=int((by_seed < 0).sum()),
        n_seeds=len(by_seed),
        seed_deviation=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
    )


def variance_of_mean(values: Floats) -> float:
    """Variance of the mean of a series (T,) that may depend on its own past, by Newey and West; 0 for one value."""
    n = len(values)
    if n < 2:
        return 0.0
    centred = values - values.mean()
    total = float(centred @ centred)
    lags = min(int(4 * (n / 100) ** (2 / 9)), n - 1)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return max(total, 0.0) / n**2


def bootstrap_means(series: Sequence[Floats], weights: Floats, seed: int) -> Floats | None:
    """Weighted means over all series of resampled means, (N_RESAMPLES,); ``None`` where arch is not installed.

    Of a long series, means of as many neighbours as it takes are resampled.
    """
    try:
        from arch.bootstrap import StationaryBootstrap, optimal_block_length  # noqa: PLC0415 - heavy, and optional
    except ImportError:
        return None
    source = np.random.default_rng(seed)
    means = []
    for whole in series:
        n_together = -(-len(whole) // _MAX_RESAMPLED)
        one = whole[: len(whole) // n_together * n_together].reshape(-1, n_together).mean(1)
        varies = len(one) > _MIN_BLOCKS and float(np.ptp(one)) > 0
        length = float(optimal_block_length(one)["stationary"].iloc[0]) if varies else 1.0
        length = min(max(length, 1.0), len(one) / 2) if math.isfinite(length) else 1.0
        resample = StationaryBootstrap(max(round(length), 1), one, seed=source)
        means.append(resample.apply(np.mean, N_RESAMPLES)[:, 0] + whole.mean() - one.mean())
    return np.asarray(weights @ np.stack(means))


def _mean(values: Floats, axis: int) -> Floats:
    """Mean along an axis of what is no NaN; NaN where all are."""
    n = (~np.isnan(values)).sum(axis)
    return np.asarray(np.where(n > 0, np.nansum(values, axis) / np.maximum(n, 1), np.nan))
