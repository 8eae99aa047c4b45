"""What goes into the store and comes out of it, and a stream's snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from model import codec
from model.spec import MAX_TTL_S
from service.store.ring import Kept

_SNAPSHOT = "snapshot:"


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream as it was read.

    Args:
        belief: As it was committed.
        created_us: When the stream's first item was committed; microseconds since 1970, the store's clock.
        updated_us: When its last one was.
        sequence: Of that one.
    """

    belief: bytes
    created_us: int
    updated_us: int
    sequence: int


@dataclass(frozen=True, slots=True)
class BeliefChange:
    """What a commit changes in one stream, by one item or several that follow each other.

    Args:
        stream: The stream's name.
        sequence: Of the last of the items that were applied now.
        belief: The belief after it.
        reply: As it is kept, for a resend of the item and for the stream's history.
        awaited_by: Checksum of the belief whose prediction awaited the item; empty for a stream's first item.
        earlier: What is kept of the items before it, in their order; those that the ring no longer has room for may
            be left out.
        n_items: Items applied; the stored belief must be at ``sequence - n_items``.
        updated_us: When the belief that it was computed from was committed, where that is to be checked; None for a
            belief that was read a moment ago.
    """

    stream: str
    sequence: int
    belief: bytes
    reply: bytes
    awaited_by: bytes = b""
    earlier: Sequence[Kept] = ()
    n_items: int = 1
    updated_us: int | None = None

    @property
    def kept(self) -> list[Kept]:
        """What the stream keeps of the items, in their order."""
        return [*self.earlier, Kept(self.sequence, self.reply, self.awaited_by, codec.checksum_of(self.belief))]


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What is kept of an item that may have been applied.

    Args:
        applied: Sequence of the stream's last applied item; 0 if there is no such stream.
        kept: Of the item that was asked for; None if it is not, or no longer, kept.
        damage: Why what is kept of it cannot be read; None where it can.
    """

    applied: int
    kept: Kept | None
    damage: str | None = None

    @property
    def reply(self) -> bytes | None:
        """To the item that was asked for, as it is kept."""
        return None if self.kept is None else self.kept.reply


@dataclass(frozen=True, slots=True)
class KeptItems:
    """What is kept of a stream's last items.

    Args:
        applied: Sequence of the stream's last applied item.
        items: In their order; those that are not, or no longer, kept are left out.
        belief: Checksum of the belief after the last.
    """

    applied: int
    items: list[Kept]
    belief: bytes

    @property
    def seen(self) -> list[Kept]:
        """Those of the items that the belief has seen, as far back as that can be told.

        A stream that went back to a snapshot, and from there to one that was made before, keeps items that its belief
        has not seen: each belief is followed to the one before it.
        """
        found: list[Kept] = []
        sequence, belief = self.applied, self.belief
        for kept in reversed(self.items):
            if kept.sequence != sequence or kept.belief != belief:
                break
            found.append(kept)
            sequence, belief = sequence - 1, kept.awaited_by
        return found[::-1]


@dataclass(frozen=True, slots=True)
class NewStream:
    """A stream that begins with a belief instead of a first item.

    Args:
        stream: The stream's name.
        sequence: That the belief is at.
        belief: As :class:`StoredStream` holds it.
    """

    stream: str
    sequence: int
    belief: bytes


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """What a stream was at some item, kept to go back to.

    Args:
        name: That its maker gave it; ``None`` for none.
        sequence: Of the last item that the belief had seen.
        created_us: When it was made; microseconds since 1970.
        belief: As :class:`StoredStream` holds it.
    """

    name: str | None
    sequence: int
    created_us: int
    belief: bytes

    def encode(self) -> bytes:
        """A record with a checksum; :meth:`decode` is its inverse."""
        meta = {"name": self.name, "sequence": self.sequence, "created_us": self.created_us}
        return codec.pack_arrays(codec.Kind.STREAM_SNAPSHOT, meta, [np.frombuffer(self.belief, np.uint8)])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read :meth:`encode`'s bytes.

        Raises:
            DamagedRecord: If they are not such a record.
        """
        meta, belief = codec.unpack_arrays(codec.Kind.STREAM_SNAPSHOT, data)
        return cls(meta["name"], meta["sequence"], meta["created_us"], bytes(belief))


def snapshot_field(snapshot: str) -> str:
    """Name the hash field that holds the snapshot of this id."""
    return _SNAPSHOT + snapshot


def snapshot_id(field: str) -> str | None:
    """The id of the snapshot in this hash field; None if it holds something else."""
    return field.removeprefix(_SNAPSHOT) if field.startswith(_SNAPSHOT) else None


def milliseconds(ttl_s: float | None) -> int:
    """A time to live as the scripts take it, 0 for never.

    Raises:
        ValueError: If it is below 0 or over ``MAX_TTL_S``.
    """
    if ttl_s is None:
        return 0
    if not 0 <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"ttl_s: 0 to {MAX_TTL_S} seconds, got {ttl_s:g}")
    return max(1, round(ttl_s * 1000))
