"""What goes into the store and comes out of it, and the ring of replies kept for resends.

A stream keeps its last ``kept_replies`` replies in as many fields of its hash, the reply to sequence n in field
``r{n % kept_replies}``. Each value begins with its sequence, so that a field that still holds an older reply, or one
written under another ``kept_replies``, is told apart.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SEQUENCE = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream as it was read.

    Args:
        belief: As it was committed.
        created_us: When the stream's first item was committed; microseconds since 1970, the store's clock.
        updated_us: When its last one was.
    """

    belief: bytes
    created_us: int
    updated_us: int


@dataclass(frozen=True, slots=True)
class BeliefChange:
    """What one item changes in its stream.

    Args:
        stream: The stream's name.
        sequence: Of the item that was applied now; the stored belief must be at ``sequence - 1``.
        belief: The belief after it.
        reply: Kept for a resend of the item.
    """

    stream: str
    sequence: int
    belief: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What is kept of an item that may have been applied.

    Args:
        applied: Sequence of the stream's last applied item; 0 if there is no such stream.
        reply: To the item that was asked for; None if it is not, or no longer, kept.
    """

    applied: int
    reply: bytes | None


def reply_field(sequence: int, kept_replies: int) -> str:
    """Name the hash field that holds the reply to ``sequence``."""
    return f"r{sequence % kept_replies}"


def encode_reply(sequence: int, reply: bytes) -> bytes:
    """Put the sequence before the reply."""
    return _SEQUENCE.pack(sequence) + reply


def decode_reply(value: bytes, sequence: int) -> bytes | None:
    """Return the reply, or None if ``value`` is the reply to another sequence."""
    if value[: _SEQUENCE.size] != _SEQUENCE.pack(sequence):
        return None
    return value[_SEQUENCE.size :]
