"""Frames: what is sent over a lasting connection, and what each is answered with. Without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from service.api.routes import describe
from service.batcher import Answer, Observation
from service.columns import ColumnReader, Columns, Row
from service.errors import InvalidItem, InvalidRequest, ServiceError
from service.json_body import read_json
from service.schemas import ObservationsIn, StreamObservationIn, StreamsIn
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Form:
    """How a frame with items is answered: all that is kept of it until then.

    Args:
        n_items: Answers that it waits for.
        is_many: Whether it is answered with a list.
    """

    n_items: int
    is_many: bool

    def render(self, answers: Sequence[Answer], request_id: str) -> bytes:
        """The answer to the frame, from those to its items."""
        return render_results(answers, request_id) if self.is_many else render(answers[0], request_id)


@dataclass(frozen=True, slots=True)
class Items:
    """A frame with items, or with what is wrong with it in the place of one.

    Args:
        observations: In their order; what cannot be read is an error in its place.
        is_many: Whether they came as a list.
    """

    observations: list[Observation | ServiceError]
    is_many: bool

    @property
    def size(self) -> int:
        """What it counts in a window."""
        return max(1, len(self.observations))

    @property
    def form(self) -> Form:
        """How it is answered."""
        return Form(len(self.observations), self.is_many)


@dataclass(frozen=True, slots=True)
class Rows:
    """A frame with items of a model, each of them in order.

    Args:
        rows: As ``reader`` read them.
        is_many: Whether they came as a list.
        reader: Of the model's fields as they were then.
        raw: What was sent.
    """

    rows: list[Row]
    is_many: bool
    reader: ColumnReader
    raw: bytes

    @property
    def size(self) -> int:
        """What it counts in a window."""
        return len(self.rows)

    @property
    def form(self) -> Form:
        """How it is answered."""
        return Form(len(self.rows), self.is_many)


@dataclass(frozen=True, slots=True)
class Question:
    """A frame that asks where streams are."""

    streams: list[str]

    @property
    def size(self) -> int:
        """What it counts in a window."""
        return max(1, len(self.streams))


Frame = Items | Rows | Question


def read_frame(raw: bytes, max_items: int, reader: ColumnReader | None = None) -> Frame:
    """The frame that was sent; what is none is one with an error.

    Args:
        raw: As it was sent.
        max_items: Most items, or streams, in one frame.
        reader: Of the model's fields, if they are known.
    """
    read = None if reader is None else reader.rows(raw)
    if reader is None or read is None or not 0 < len(read[0]) <= max_items:
        return _read_with_care(raw, max_items)
    rows, is_many = read
    return Rows(rows, is_many, reader, raw)


def gather(
    frames: Sequence[Items | Rows], max_items: int, reader: ColumnReader
) -> Columns | list[Observation | ServiceError]:
    """The items of frames together: as columns, if all of them are in order.

    Args:
        frames: As they were read.
        max_items: As they were read with.
        reader: Of the model's fields as they are now.
    """
    rows: list[Row] = []
    for frame in frames:
        if not isinstance(frame, Rows) or frame.reader is not reader:
            break
        rows += frame.rows
    else:
        columns = reader.columns(rows)
        if columns is not None:
            return columns
    observations: list[Observation | ServiceError] = []
    for frame in frames:
        read = _read_with_care(frame.raw, max_items) if isinstance(frame, Rows) else frame
        if isinstance(read, Items):
            observations += read.observations
    return observations


def _read_with_care(raw: bytes, max_items: int) -> Items | Question:
    """The frame that was sent, whatever it is; what is wrong with it is said in its place."""
    try:
        value = read_json(raw)
    except json.JSONDecodeError as error:
        return Items([InvalidItem(f"the frame is not JSON: {error.msg}")], is_many=False)
    try:
        if isinstance(value, dict) and "streams" in value:
            return Question(read_streams(StreamsIn.model_validate(value), max_items))
        if isinstance(value, dict) and "observations" in value:
            return Items(read_observations(ObservationsIn.model_validate(value), max_items), is_many=True)
    except ValidationError as error:
        kind = InvalidRequest if "streams" in value else InvalidItem
        return Items([kind(describe(error.errors(include_url=False)))], is_many=False)
    except ServiceError as error:
        return Items([error], is_many=False)
    return Items([read_observation(value)], is_many=False)


def read_observations(body: ObservationsIn, max_items: int) -> list[Observation | ServiceError]:
    """Many observations, each of them or what is wrong with it.

    Raises:
        InvalidItem: If they are too many.
    """
    if len(body.observations) > max_items:
        raise InvalidItem(f"at most {max_items} observations fit one request")
    return [read_observation(value) for value in body.observations]


def read_observation(value: Any) -> Observation | InvalidItem:
    """One observation with its stream, or what is wrong with it."""
    try:
        observation = StreamObservationIn.model_validate(value)
    except ValidationError as error:
        return InvalidItem(describe(error.errors(include_url=False)))
    return observation.to_observation(observation.stream)


def read_streams(body: StreamsIn, max_items: int) -> list[str]:
    """The streams that are asked about.

    Raises:
        InvalidRequest: If they are too many.
    """
    if len(body.streams) > max_items:
        raise InvalidRequest(f"at most {max_items} streams fit one request")
    return body.streams


def render(answer: Answer, request_id: str) -> bytes:
    """One answer as it is sent."""
    return answer if isinstance(answer, bytes) else orjson.dumps(answer.to_dict(request_id))


def render_results(answers: Sequence[Answer], request_id: str) -> bytes:
    """The answers to many observations as they are sent."""
    return b'{"results":[' + b",".join(render(answer, request_id) for answer in answers) + b"]}"


def render_sequences(streams: Sequence[str], sequences: Sequence[int], settings: Settings) -> bytes:
    """Where streams are, and how far who asks may go ahead."""
    window = {"items": settings.max_window_items, "per_stream": settings.kept_replies}
    return orjson.dumps({"sequences": dict(zip(streams, sequences, strict=True)), "window": window})


def read_experts(query: Mapping[str, str]) -> bool:
    """Whether the query asks what each expert said.

    Raises:
        InvalidItem: If what it says is neither yes nor no.
    """
    try:
        return _BOOL.validate_python(query.get("experts", False))
    except ValidationError as error:
        raise InvalidItem(f"experts: {describe(error.errors(include_url=False))}") from error


_BOOL = TypeAdapter(bool)
