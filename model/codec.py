"""Versioned bytes with a checksum: beliefs, weights, redo records, kept replies. Never pickle.

Every record is ``magic (2) | format (1) | kind (1) | checksum of all else (4) | payload``, little-endian. The first
eight bytes are so in every format, so that a record of another format is told from a damaged one. The checksum is the
low half of XXH3 (64 bits) of the payload, seeded with the four bytes before it; up to format 2 the CRC-32 of both.
"""

from __future__ import annotations

import json
import struct
import zlib
from enum import IntEnum
from typing import Any, TypeGuard

import numpy as np
import orjson
from xxhash import xxh3_64_intdigest

FORMAT = 3

MAX_COUNT = 2**53 - 1
"""Largest sequence, version or count that is believed: scripts in the store compute with double precision."""

_MAGIC = b"SA"
_HEADER = struct.Struct("<4sI")  # what the checksum covers as well, and the checksum
_NAME = struct.Struct("<2sBB")
_LAST_OF_CRC = 2  # format
_LENGTH = struct.Struct("<I")


class Kind(IntEnum):
    """What a record holds."""

    BELIEF = 1
    WEIGHTS = 2
    REDO = 3
    STREAM_SNAPSHOT = 4
    REPLY = 5


class DamagedRecord(ValueError):
    """Bytes that are not a whole record of the expected kind and format."""

    def __init__(self, kind: Kind, why: str) -> None:
        super().__init__(f"damaged {kind.name.lower()} record: {why}")
        self.kind, self.why = kind, why


class OtherFormat(DamagedRecord):
    """A whole record that another version of this software wrote in a format that this one does not read."""

    def __init__(self, kind: Kind, found: int) -> None:
        wrote = "a newer" if found > FORMAT else "an older"
        super().__init__(kind, f"format {found}, written by {wrote} version; this one reads format {FORMAT}")


def pack(kind: Kind, payload: bytes | memoryview) -> bytes:
    """Put the header before a payload."""
    name = _NAME.pack(_MAGIC, FORMAT, kind)
    return b"".join((_HEADER.pack(name, _checksum(FORMAT, name, payload)), payload))


def checksum_of(record: bytes) -> bytes:
    """The four bytes by which a record is told from another of its kind; they are those of its header."""
    return record[_NAME.size : _HEADER.size]


def payload_of(record: bytes) -> memoryview:
    """The payload of a record that :func:`pack` just made, without a check."""
    return memoryview(record)[_HEADER.size :]


def unpack(kind: Kind, data: bytes, size: int | None = None) -> memoryview:
    """The payload of a record.

    Args:
        kind: Expected.
        data: As :func:`pack` made it.
        size: Expected payload bytes; ``None`` for any.

    Raises:
        OtherFormat: If it is whole, but of another format.
        DamagedRecord: If it is not such a record.
    """
    if len(data) < _HEADER.size:
        raise DamagedRecord(kind, f"{len(data)} bytes are fewer than a header's {_HEADER.size}")
    name, checksum = _HEADER.unpack_from(data)
    magic, version, found = _NAME.unpack(name)
    payload = memoryview(data)[_HEADER.size :]
    if _checksum(version, name, payload) != checksum:
        raise DamagedRecord(kind, "the checksum does not match")
    if magic != _MAGIC or found != kind:
        raise DamagedRecord(kind, "another kind of record")
    if version != FORMAT:
        raise OtherFormat(kind, version)
    if size is not None and len(payload) != size:
        raise DamagedRecord(kind, f"{len(payload)} bytes where the model's layout has {size}")
    return payload


def pack_arrays(kind: Kind, meta: dict[str, Any], arrays: list[np.ndarray]) -> bytes:
    """A record of JSON values and the raw bytes of arrays, whose layout the reader knows."""
    head = orjson.dumps(meta)
    return pack(kind, b"".join([_LENGTH.pack(len(head)), head, *(np.ascontiguousarray(a).tobytes() for a in arrays)]))


def unpack_arrays(kind: Kind, data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON object and the raw bytes after it.

    Raises:
        OtherFormat: If it is whole, but of another format.
        DamagedRecord: If it is not such a record.
    """
    payload = unpack(kind, data)
    try:
        (length,) = _LENGTH.unpack_from(payload)
        at = _LENGTH.size + length
        meta = json.loads(bytes(payload[_LENGTH.size : at]))
    except (struct.error, ValueError, RecursionError) as error:
        raise DamagedRecord(kind, str(error)) from error
    if not isinstance(meta, dict) or at > len(payload):
        raise DamagedRecord(kind, "it does not begin with an object")
    return meta, payload[at:]


def is_count(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number that 63 bits hold, from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _checksum(version: int, name: bytes, payload: bytes | memoryview) -> int:
    """Of a record of a format, as that format computes it."""
    if version <= _LAST_OF_CRC:
        return zlib.crc32(payload, zlib.crc32(name))
    return xxh3_64_intdigest(payload, int.from_bytes(name, "little")) & 0xFFFFFFFF
