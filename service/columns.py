"""Observations as columns: one compiled read takes a frame's JSON into the arrays that the learner wants.

It takes what is in order, and nothing else. The careful way (``schemas``, ``model.items.parse_item``) takes the rest,
and knows of each item what is wrong with it. What both take they read alike, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from model.items import NO_TIME, Items
from model.spec import MAX_VALUE_LENGTH, FieldSpec, ModelSpec
from service.schemas import MAX_SEQUENCE, MAX_STREAM_LENGTH, parse_timestamp

PLAIN = 1e18
"""A number below it is in order however it was written; above it an integer may not fit 64 bits, which is refused."""

_KEY_WITHIN = 64  # bytes from a frame's beginning that its first key is looked for in


@dataclass(frozen=True, slots=True)
class Columns:
    """Observations that are items of a model.

    Args:
        streams: Of each.
        sequences: Position in the stream, from 1; ``None`` for the next.
        items: What was observed.
    """

    streams: Sequence[str]
    sequences: Sequence[int | None]
    items: Items

    def __len__(self) -> int:
        return len(self.streams)


Row = Any
"""One observation as it was read: its type is made for the model."""


class ColumnReader:
    """Reads observations of one model's fields.

    Args:
        spec: Names the fields.
    """

    def __init__(self, spec: ModelSpec) -> None:
        names = {field.name: f"f{i}" for i, field in enumerate(spec.fields)}
        self._n_reals = len(spec.reals)
        self._reals = attrgetter(*(names[field.name] for field in spec.reals)) if spec.reals else None
        self._categories = [attrgetter(names[field.name]) for field in spec.categories]
        self._one = self._of_stream = self._many = None
        try:
            item = _struct(
                "Item",
                [(names[field.name], _type_of(field), None) for field in spec.fields],
                rename={given: name for name, given in names.items()},
            )
        except ValueError:  # a field's name has a character that JSON escapes
            return
        parts = [
            ("item", item),
            ("sequence", Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)] | None, None),
            ("timestamp", str | None, None),
        ]
        stream = ("stream", Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_STREAM_LENGTH)])
        of_stream: Any = _struct("StreamObservation", [stream, *parts])
        self._one = msgspec.json.Decoder(_struct("Observation", parts))
        self._of_stream = msgspec.json.Decoder(of_stream)
        self._many = msgspec.json.Decoder(_struct("Observations", [("observations", GenericAlias(list, of_stream))]))

    def one(self, raw: bytes, stream: str) -> Columns | None:
        """The one observation of a body that names no stream; ``None`` if it is for the careful way."""
        row = _decoded(self._one, raw) if 1 <= len(stream) <= MAX_STREAM_LENGTH else None
        return None if row is None else self._columns([stream], [row])

    def rows(self, raw: bytes) -> tuple[list[Row], bool] | None:
        """The observations of a frame, and whether they came as a list; ``None`` if it is for the careful way."""
        if b'"observations"' in raw[:_KEY_WITHIN]:
            many = _decoded(self._many, raw)
            return None if many is None else (many.observations, True)
        row = _decoded(self._of_stream, raw)
        return None if row is None else ([row], False)

    def columns(self, rows: Sequence[Row]) -> Columns | None:
        """What was read of one frame or several, together; ``None`` if one of them is for the careful way."""
        return self._columns([row.stream for row in rows], rows)

    def _columns(self, streams: list[str], rows: Sequence[Row]) -> Columns | None:
        if not _are_names(streams):
            return None
        n, items = len(rows), [row.item for row in rows]
        if self._reals is None:
            reals = np.empty((n, 0))
        else:
            reals = np.array([*map(self._reals, items)], np.float64).reshape(n, self._n_reals)
        try:
            times = [NO_TIME if row.timestamp is None else parse_timestamp(row.timestamp) for row in rows]
        except (ValueError, OverflowError):
            return None
        return Columns(
            streams,
            [row.sequence for row in rows],
            Items(reals, tuple([*map(category, items)] for category in self._categories), np.array(times, np.int64)),
        )


def _type_of(field: FieldSpec) -> Any:
    if field.kind == "real":
        return Annotated[float, msgspec.Meta(gt=-PLAIN, lt=PLAIN)] | None
    if field.values is not None:
        return Literal[field.values] | None
    return Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_VALUE_LENGTH)] | None


def _struct(name: str, fields: list[Any], rename: dict[str, str] | None = None) -> Any:
    """A type that takes an object with these keys and no others; it is in no cycle, so none is looked for."""
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, rename=rename, gc=False)


def _decoded(decoder: msgspec.json.Decoder[Any] | None, raw: bytes) -> Any:
    if decoder is None:
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _are_names(streams: Sequence[str]) -> bool:
    """Whether all can name streams, looked at together; their length is checked elsewhere."""
    together = "".join(streams)
    return (
        together.isprintable()
        and "/" not in together
        and "\ufffd" not in together
        and "." not in streams
        and ".." not in streams
    )
