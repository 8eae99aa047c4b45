"""Time: when a stream's next item is expected, and what the calendar says of it.

Times are integer microseconds since 1970 UTC; ``NO_TIME`` stands for none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model.items import NO_TIME
from model.kernels import part

Times = NDArray[np.int64]

_DAY_S = 86_400.0
_PERIODS_S = (_DAY_S, 7 * _DAY_S)
_WEEK_OFFSET_S = 3 * _DAY_S  # 1970-01-01 was a Thursday; weeks begin on Monday

N_CALENDAR = 2 * len(_PERIODS_S)
"""Calendar features of one time."""


@part
def calendar(time: int, features: np.ndarray) -> None:
    """Write sine and cosine of the time of day and of the week, (4,); zeros without a time."""
    features[:] = 0
    if time != NO_TIME:
        seconds = time / 1e6 + _WEEK_OFFSET_S
        n = len(_PERIODS_S)
        for i in range(n):
            phase = 2 * math.pi * seconds / _PERIODS_S[i]
            features[i] = math.sin(phase)
            features[n + i] = math.cos(phase)


@part
def expected(time: int, interval: int) -> int:
    """When an item is expected that follows one of this time; ``NO_TIME`` if that had none."""
    return time if time == NO_TIME else time + interval


def expected_us(records: np.ndarray) -> Times:
    """When each stream's next item is expected, (B,); ``NO_TIME`` where it never had a timestamp."""
    times: Times = records["timestamp_us"]
    return np.where(times == NO_TIME, NO_TIME, times + records["interval_us"])


@part
def tell(times: np.ndarray, intervals: np.ndarray, b: int, time: int) -> None:
    """Take in the time of an item of stream ``b``; its last time and interval, both (B,), change.

    Time that stands still or runs back is no interval.
    """
    if time != NO_TIME:
        elapsed = time - times[b]
        if times[b] != NO_TIME and elapsed > 0:
            intervals[b] = elapsed
        times[b] = time
