"""The ring of what a stream keeps of its last items: the replies for resends and its history, the items with them.

A stream keeps ``kept_replies`` of them. That of sequence n is in place ``n % kept_replies`` of its ring, which lies in
parts of ``PER_PART`` places in as many fields of the stream's hash, ``k0``, ``k1``, …: a field of its own for each
would cost half as much again. A part is its values one after the other, each with its length before it (7 bits a byte,
the least first, the last byte below 128); a length of 0 is an empty place, and what is not reached yet is not there.

A value is ``checksum (4) | sequence (2) | belief before the item (4) | belief after it (4) | reply``, little-endian.
The beliefs are told by their checksums. The checksum is the low half of XXH3 of what follows it, seeded with the whole
sequence, of which the value itself has the low bytes: a place may still hold an older item's, or one that was written
under another ``kept_replies``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from xxhash import xxh3_64_intdigest

from model import codec
from model.codec import DamagedRecord, Kind

PER_PART = 16
"""Places of a ring in one field; ``commit.lua`` is told places within it."""

_HEAD = struct.Struct("<H4s4s")
_CHECKSUM = struct.Struct("<I")
_SEQUENCE = struct.Struct("<H")
_SEQUENCES = 2**16  # that the value's own bytes tell apart; a ring has no more places
_NONE = bytes(4)
_SEED_BITS = 60  # the format is above them
_LAST_BYTE = 128  # of a length is below


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one applied item.

    Args:
        sequence: The item's.
        reply: What is told of it, and the item; see :class:`model.reply.Reply`.
        awaited_by: Checksum of the belief whose prediction awaited it; empty for a stream's first item.
        belief: Checksum of the belief after the item.
    """

    sequence: int
    reply: bytes
    awaited_by: bytes = b""
    belief: bytes = b""

    def encode(self) -> bytes:
        """The item's value in the ring, with its length; :meth:`decode` is the inverse but for that."""
        head = _HEAD.pack(self.sequence % _SEQUENCES, self.awaited_by or _NONE, self.belief or _NONE)
        body = head + self.reply
        return b"".join((_length(_CHECKSUM.size + len(body)), _CHECKSUM.pack(_checksum(body, self.sequence)), body))

    @classmethod
    def decode(cls, value: bytes, sequence: int) -> Self | None:
        """Read what :meth:`encode` wrote; None if it is of another item, or of none.

        Args:
            value: In the item's place, without its length.
            sequence: Expected.

        Raises:
            DamagedRecord: If it is neither.
        """
        if not value:
            return None
        if len(value) < _CHECKSUM.size + _HEAD.size:
            raise DamagedRecord(Kind.REPLY, "it is too short")
        body = value[_CHECKSUM.size :]
        low, awaited_by, belief = _HEAD.unpack_from(body)
        if low != sequence % _SEQUENCES:
            return None
        if value[: _CHECKSUM.size] != _CHECKSUM.pack(_checksum(body, sequence)):
            raise DamagedRecord(Kind.REPLY, "the checksum does not match")
        return cls(sequence, body[_HEAD.size :], _known(awaited_by), _known(belief))


def place(sequence: int, kept_replies: int) -> tuple[str, int]:
    """Where what is kept of this item lies: the field of its part, and the place within it."""
    part, within = divmod(sequence % kept_replies, PER_PART)
    return f"k{part}", within


def is_part(field: str) -> bool:
    """Whether this field of a stream's hash holds a part of its ring."""
    return field[:1] == "k" and field[1:].isdecimal()


def values(part: bytes) -> Iterator[bytes]:
    """The values of a part, empty where a place is.

    Raises:
        DamagedRecord: If it ends within one, once those before it were given.
    """
    at = 0
    while at < len(part):
        n = shift = 0
        while True:
            if at == len(part):
                raise DamagedRecord(Kind.REPLY, "the part of the ring ends within a length")
            byte = part[at]
            at += 1
            n |= byte % _LAST_BYTE << shift
            shift += 7
            if byte < _LAST_BYTE:
                break
        if at + n > len(part):
            raise DamagedRecord(Kind.REPLY, "the part of the ring ends within it")
        yield part[at : at + n]
        at += n


def until(part: bytes, sequence: int) -> bytes:
    """A part of the ring without what is kept of later items than this, or cannot be read."""
    found = list[bytes]()
    with suppress(DamagedRecord):
        found.extend(values(part))
    kept = (value if _is_of(value, sequence) else b"" for value in found)
    return b"".join(_length(len(value)) + value for value in kept)


def value_at(part: bytes | None, within: int) -> bytes:
    """The value in a place of a part; empty if there is none.

    Raises:
        DamagedRecord: If the part ends within it.
    """
    for i, value in enumerate(values(part or b"")):
        if i == within:
            return value
    return b""


def _is_of(value: bytes, sequence: int) -> bool:
    """Whether this is of an item that is no later than ``sequence``."""
    if len(value) < _CHECKSUM.size + _HEAD.size:
        return False
    (low,) = _SEQUENCE.unpack_from(value, _CHECKSUM.size)
    own = sequence - (sequence - low) % _SEQUENCES
    return own > 0 and value[: _CHECKSUM.size] == _CHECKSUM.pack(_checksum(value[_CHECKSUM.size :], own))


def _checksum(body: bytes, sequence: int) -> int:
    return xxh3_64_intdigest(body, codec.FORMAT << _SEED_BITS ^ sequence) & 0xFFFFFFFF


def _length(n: int) -> bytes:
    found = bytearray()
    while n >= _LAST_BYTE:
        found.append(n % _LAST_BYTE + _LAST_BYTE)
        n //= _LAST_BYTE
    found.append(n)
    return bytes(found)


def _known(checksum: bytes) -> bytes:
    return b"" if checksum == _NONE else checksum
