"""Time: when a stream's next item is expected, and what the calendar says of it.

Times are integer microseconds since 1970 UTC; ``NO_TIME`` stands for none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.items import NO_TIME

Times = NDArray[np.int64]

_DAY_S = 86_400.0
_PERIODS_S = (_DAY_S, 7 * _DAY_S)
_WEEK_OFFSET_S = 3 * _DAY_S  # 1970-01-01 was a Thursday; weeks begin on Monday

N_CALENDAR = 2 * len(_PERIODS_S)
"""Calendar features of one time."""


def calendar(times: Times) -> NDArray[np.float64]:
    """Sine and cosine of the time of day and of the week, (B, 4); zeros without a time."""
    known = times != NO_TIME
    seconds = np.where(known, times, 0) / 1e6 + _WEEK_OFFSET_S
    phase = 2 * np.pi * seconds[:, None] / np.array(_PERIODS_S)
    return np.where(known[:, None], np.concatenate([np.sin(phase), np.cos(phase)], axis=1), 0.0)


def expected_us(records: np.ndarray) -> Times:
    """When each stream's next item is expected, (B,); ``NO_TIME`` where it never had a timestamp."""
    timed = records["timestamp_us"] != NO_TIME
    return np.where(timed, np.where(timed, records["timestamp_us"], 0) + records["interval_us"], NO_TIME)


def tell(records: np.ndarray, times: Times) -> None:
    """Take in the items' times, (B,); ``records`` is changed. Time that stands still or runs back is no interval."""
    timed = times != NO_TIME
    both = timed & (records["timestamp_us"] != NO_TIME)
    elapsed = np.where(both, times - np.where(both, records["timestamp_us"], 0), 0)
    records["interval_us"] = np.where(elapsed > 0, elapsed, records["interval_us"])
    records["timestamp_us"] = np.where(timed, times, records["timestamp_us"])
