"""The ring of what a stream keeps of its last items: the replies for resends, and with them the items themselves.

A stream keeps ``kept_replies`` of them in as many fields of its hash, that of sequence n in field
``r{n % kept_replies}``. Each value begins with its sequence, so that a field that still holds an older one, or one
written under another ``kept_replies``, is told apart. A record follows (:mod:`model.codec`): the checksums of the
beliefs before and after the item, its timestamp, the length of its JSON, that JSON, the reply. In a store that an older
version wrote the reply alone follows, which begins with ``{`` as no record does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from model import codec
from model.codec import DamagedRecord
from model.items import NO_TIME

_SEQUENCE = struct.Struct("<q")
_HEAD = struct.Struct("<4s4sqI")
_BARE = b"{"  # how a reply begins
_NONE = bytes(4)


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item as it was observed.

    Args:
        values: By field, missing ones as null; a JSON object.
        timestamp_us: Microseconds since 1970 UTC; None if it had none.
        awaited_by: Checksum of the belief whose prediction awaited it; empty for a stream's first item.
    """

    values: bytes
    timestamp_us: int | None = None
    awaited_by: bytes = b""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one applied item.

    Args:
        sequence: The item's.
        reply: As it was sent.
        item: The item; None where an older version kept the reply alone.
        belief: Checksum of the belief after the item.
    """

    sequence: int
    reply: bytes
    item: KeptItem | None = None
    belief: bytes = b""

    def encode(self) -> bytes:
        """The value of the item's field; :meth:`decode` is its inverse."""
        item = self.item or KeptItem(b"")
        timestamp_us = NO_TIME if item.timestamp_us is None else item.timestamp_us
        head = _HEAD.pack(item.awaited_by, self.belief, timestamp_us, len(item.values))
        return encode_sequence(self.sequence) + codec.pack(codec.Kind.REPLY, head + item.values + self.reply)

    @classmethod
    def decode(cls, value: bytes, sequence: int) -> Self | None:
        """Read what :meth:`encode` or an older version wrote; None if it is of another item.

        Args:
            value: Of the field.
            sequence: Expected.

        Raises:
            DamagedRecord: If it is neither.
        """
        if value[: _SEQUENCE.size] != encode_sequence(sequence):
            return None
        record = value[_SEQUENCE.size :]
        if record[:1] == _BARE:
            return cls(sequence, record)
        payload = bytes(codec.unpack(codec.Kind.REPLY, record))
        if len(payload) < _HEAD.size:
            raise DamagedRecord(codec.Kind.REPLY, "it is too short")
        awaited_by, belief, timestamp_us, n_bytes = _HEAD.unpack_from(payload)
        end = _HEAD.size + n_bytes
        if len(payload) < end:
            raise DamagedRecord(codec.Kind.REPLY, "the item is not whole")
        item = None
        if n_bytes:
            time_us = None if timestamp_us == NO_TIME else timestamp_us
            item = KeptItem(payload[_HEAD.size : end], time_us, _known(awaited_by))
        return cls(sequence, payload[end:], item, _known(belief))


def encode_sequence(sequence: int) -> bytes:
    """The sequence as a value of the ring begins with it."""
    return _SEQUENCE.pack(sequence)


def reply_field(sequence: int, kept_replies: int) -> str:
    """Name the hash field of the item with this sequence."""
    return f"r{sequence % kept_replies}"


def _known(checksum: bytes) -> bytes:
    return b"" if checksum == _NONE else checksum
