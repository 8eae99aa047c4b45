"""What an entry says: which stream, which item, when; checked before it gets a number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from model.items import parse_item
from model.spec import ModelSpec
from service.bridges.broker import Entry, Refusal
from service.cells import is_missing, iso, parse_number, parse_text, parse_time_us
from service.errors import brief
from service.schemas import check_stream_name

DEFAULT_STREAM_FIELD = "stream"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is sent of an entry.

    Args:
        stream: The stepahead stream.
        item: Field name to number or text, ``None`` where missing.
        timestamp: ISO 8601; ``None`` where the entry has no time.
    """

    stream: str
    item: dict[str, float | str | None]
    timestamp: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How entries are read.

    Args:
        spec: The model's; an entry's other fields are passed over.
        stream: The one stream of all entries; ``None`` where entries name theirs.
        stream_field: Names the stream; ``None`` to take the entry's key, and where there is none ``stream``.
        time_field: Holds the time; ``None`` for entries without.
        json_field: Holds the fields as one JSON object; ``None`` where they are the entry's own.
        names: Model field to entry field, where these differ.
    """

    spec: ModelSpec
    stream: str | None = None
    stream_field: str | None = None
    time_field: str | None = None
    json_field: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def read(self, entry: Entry) -> Observation | Refusal:
        """What the entry says, or why it fits no stream of the model."""
        try:
            if entry.defect is not None:
                raise ValueError(entry.defect)
            return self._observation(entry)
        except ValueError as error:
            return Refusal("invalid_entry", str(error))

    def _observation(self, entry: Entry) -> Observation:
        fields = entry.fields if self.json_field is None else {**entry.fields, **self._object(entry)}
        places = {spec.name: self.names.get(spec.name, spec.name) for spec in self.spec.fields}
        if not any(place in fields for place in places.values()):
            raise ValueError(f"none of the model's fields ({', '.join(map(repr, places.values()))})")
        item = {
            spec.name: _value(places[spec.name], fields.get(places[spec.name]), is_real=spec.kind == "real")
            for spec in self.spec.fields
        }
        time_us = self._time_us(fields)
        parse_item(self.spec, item, time_us)
        return Observation(self._stream(entry, fields), item, None if time_us is None else iso(time_us))

    def _object(self, entry: Entry) -> dict[str, object]:
        text = entry.fields.get(self.json_field or "")
        try:
            found = json.loads(text) if isinstance(text, str) else text
        except (ValueError, RecursionError) as error:
            raise ValueError(f"field {self.json_field!r} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"field {self.json_field!r} holds no JSON object")
        return found

    def _stream(self, entry: Entry, fields: Mapping[str, object]) -> str:
        if self.stream is not None:
            return self.stream
        if self.stream_field is None and entry.key is not None:
            name: object = entry.key
        else:
            place = self.stream_field or DEFAULT_STREAM_FIELD
            if place not in fields:
                raise ValueError(f"no field {place!r}, which names the stream")
            name = fields[place]
        text = parse_text(name)
        try:
            return check_stream_name(text or "")
        except ValueError as error:
            raise ValueError(f"{brief(repr(name))} cannot name a stream: {error}") from error

    def _time_us(self, fields: Mapping[str, object]) -> int | None:
        cell = None if self.time_field is None else fields.get(self.time_field)
        if is_missing(cell):
            return None
        time_us = parse_time_us(cell)
        if time_us is None:
            raise ValueError(f"field {self.time_field!r}: {cell!r} is no time")
        return time_us


def _value(name: str, cell: object, *, is_real: bool) -> float | str | None:
    if is_missing(cell):
        return None
    value = parse_number(cell) if is_real else parse_text(cell)
    if value is None:
        raise ValueError(f"field {name!r}: {repr(cell)[:80]} is no {'number' if is_real else 'value'}")
    return value
