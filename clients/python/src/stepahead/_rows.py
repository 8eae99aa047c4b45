"""What a caller gives to be observed, as the rest of a feed has it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, Protocol, TypedDict

from stepahead import _wire as wire
from stepahead.errors import InvalidItem, StepaheadError
from stepahead.types import Reply


class _RowRequired(TypedDict):
    stream: str
    item: Mapping[str, Any]


class RowDict(_RowRequired, total=False):
    """A row as a mapping; ``sequence`` numbers it explicitly."""

    timestamp: datetime | str | None
    sequence: int | None


Row = tuple[str, Mapping[str, Any]] | RowDict | Mapping[str, Any]


class Table(Protocol):
    """A pandas or polars ``DataFrame``."""

    @property
    def columns(self) -> Any:
        """Names of its columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""


Errors = Literal["raise", "yield"]
Via = Literal["websocket", "ndjson", "requests"]
Outcome = Reply | StepaheadError

N_NAMES = 4096
"""Streams whose names are known to be sendable."""


class Entry:
    """One row on its way.

    Args:
        i: Its place among all rows, from 0.
        stream: Its stream.
        head: Its JSON up to its sequence; empty for a row that cannot be sent.
        given: The sequence that the caller gave it, which is never changed; ``None`` for the stream's next.
    """

    __slots__ = ("attempt", "doubt", "epoch", "gapped", "given", "head", "i", "n_taken", "number", "outcome", "stream")

    def __init__(self, i: int, stream: str, head: bytes, given: int | None) -> None:
        self.i, self.stream, self.head, self.given = i, stream, head, given
        self.number = 0
        """The sequence that it was sent under last."""
        self.doubt: int | None = None
        """A sequence under which it may have been applied, though nobody said so."""
        self.gapped = False
        """Whether the server said since that it was not."""
        self.epoch = 0
        """How often the numbers of its stream's waiting rows had changed when it was numbered."""
        self.n_taken = 0
        """How many of its numbers were taken by other writers."""
        self.attempt = (0, 0)
        """How often it was refused for now without anything being answered meanwhile, and what was by then."""
        self.outcome: Outcome | None = None

    def __lt__(self, other: Entry) -> bool:
        return self.i < other.i


def entry(i: int, row: Row) -> Entry:
    """A row as it is sent; one that cannot be sent has its refusal for outcome."""
    stream = ""
    try:
        if not _is_row(row):
            raise ValueError("a row is a pair of stream and item, or a mapping with these keys")
        if isinstance(row, Mapping):
            stream, item, timestamp, sequence = row["stream"], row["item"], row.get("timestamp"), row.get("sequence")
        else:
            (stream, item), timestamp, sequence = row, None, None
        if not isinstance(stream, str):
            raise TypeError(f"a stream is named by a text, got {type(stream).__name__}")
        if not isinstance(item, Mapping):
            raise TypeError(f"an item is a mapping of fields to values, got {type(item).__name__}")
        head = b'{"stream":%b,"item":%b' % (_name(stream), wire.dumps(wire.item_to_wire(item)))
        if timestamp is not None:
            head += b',"timestamp":' + wire.dumps(wire.timestamp_to_wire(timestamp))
        if sequence is not None and (isinstance(sequence, bool) or not isinstance(sequence, int)):
            raise TypeError(f"a sequence is an integer, got {type(sequence).__name__}")
    except (ValueError, TypeError) as error:
        refused = Entry(i, str(stream), b"", None)
        refused.outcome = InvalidItem(str(error))
        refused.outcome.__cause__ = error
        return refused
    return Entry(i, stream, head, sequence)


def _is_row(row: object) -> bool:
    if isinstance(row, Mapping):
        return {"stream", "item"} <= row.keys()
    return isinstance(row, Sequence) and len(row) == 2


@lru_cache(N_NAMES)
def _name(stream: str) -> bytes:
    wire.path(stream)  # refuses what cannot name a stream
    return wire.dumps(stream)
