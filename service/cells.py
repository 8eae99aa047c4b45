"""What one cell of a file, or one value of a message, means: nothing, a number, a text, a time."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity"})
"""Cells, in lower case, that stand for no value; infinities are refused everywhere, and no measurement."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = -62_135_596_800_000_000  # the year 1, before which there is no date


def is_missing(cell: object) -> bool:
    """Whether a cell stands for no value."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return cell is None or (isinstance(cell, (float, Decimal)) and not math.isfinite(cell))


def parse_number(cell: object) -> float | None:
    """A finite number; ``None`` if the cell is none."""
    if isinstance(cell, bool) or not isinstance(cell, (str, int, float, Decimal)):
        return None
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def parse_text(cell: object) -> str | None:
    """A category's value; ``None`` if the cell holds what is none, such as a list."""
    match cell:
        case str():
            return cell.strip()
        case bool():
            return "true" if cell else "false"
        case int() | float() | Decimal():
            return str(cell)
        case date():
            return cell.isoformat()
        case _:
            return None


def parse_time_us(cell: object) -> int | None:
    """Microseconds since 1970 UTC of a time, ``None`` if it is none.

    ISO 8601, UTC where it has no zone; or a count since 1970 whose size tells its unit: s, ms, us or ns.
    """
    number = parse_number(cell)
    if number is None:
        return parse_date_us(cell)
    for unit_us, most in ((1e6, 1e11), (1e3, 1e14), (1.0, 1e17), (1e-3, 1e20)):
        if abs(number) < most:
            time_us = round(number * unit_us)
            return time_us if time_us >= _FIRST_US else None
    return None


def parse_date_us(cell: object) -> int | None:
    """As :func:`parse_time_us`, of what is a date and no count."""
    match cell:
        case datetime():
            time = cell
        case date():
            time = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
        case str() if "-" in cell:  # "20260101" is a number before it is a day
            try:
                time = datetime.fromisoformat(cell.strip())
            except ValueError:
                return None
        case _:
            return None
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def iso(timestamp_us: int) -> str:
    """A time as ISO 8601."""
    seconds, microseconds = divmod(timestamp_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds).isoformat()
