"""Reading JSON so that one value nobody can take does not cost the whole body."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # a shorter integer fits 64 bits


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a body holds a value that nothing here takes; whoever refuses it says why."""

    why: str


NOT_UNICODE = Unreadable("a text that is not Unicode: it holds half of a surrogate pair")
TOO_LONG = Unreadable("an integer that does not fit 64 bits")


def read_json(body: bytes) -> Any:
    """Parse a body; NaN and infinities are floats, and what cannot be taken is :class:`Unreadable` in its place.

    Raises:
        json.JSONDecodeError: If it is no JSON; ``msg`` says why.
    """
    if _LONG_NUMBER not in body.translate(_AS_ZEROS):  # orjson makes a float of an integer that is too long
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        return _readable(json.loads(body.decode(), parse_int=_integer, object_pairs_hook=_object))
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("it is not UTF-8", "", 0) from error
    except RecursionError as error:
        raise json.JSONDecodeError("it is nested too deep", "", 0) from error


def _integer(digits: str) -> int | Unreadable:
    if len(digits) > 20:
        return TOO_LONG
    value = int(digits)
    return value if MIN_INTEGER <= value <= MAX_INTEGER else TOO_LONG


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose values are readable; a key that is not Unicode is spelled out, and so is no key that is known."""
    return {key.encode("utf-8", "backslashreplace").decode(): _readable(value) for key, value in pairs}


def _readable(value: Any) -> Any:
    if isinstance(value, list):
        return [_readable(part) for part in value]
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return NOT_UNICODE
    return value
