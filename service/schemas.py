"""Wire models: what callers send, strictly checked, and what they get, for the API's documentation."""

from __future__ import annotations

from dataclasses import MISSING, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from model import spec as model_spec
from model.spec import CellKind, ExpertsKind, FieldKind, FieldSpec, LearnSpec, ModelSpec, TailsKind
from service.batcher import Observation
from service.errors import brief
from service.json_body import Unreadable

MAX_STREAM_LENGTH = 256
MAX_SNAPSHOT_NAME = 256
MAX_SEQUENCE = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_stream_name(name: str) -> str:
    """Return ``name`` if it can name a stream.

    Raises:
        ValueError: If it is not printable text without ``/``, or too long.
    """
    if not 1 <= len(name) <= MAX_STREAM_LENGTH:
        raise ValueError(f"a stream's name takes 1 to {MAX_STREAM_LENGTH} characters")
    if not name.isprintable() or "/" in name or name in {".", ".."}:
        raise ValueError("a stream's name is printable text without '/', and neither '.' nor '..'")
    if "\ufffd" in name:  # what stands for bytes that are not UTF-8: two such names would be one stream
        raise ValueError("a stream's name is UTF-8, and without the replacement character U+FFFD")
    return name


def _check_readable(item: dict[str, Any]) -> dict[str, Any]:
    for name, value in item.items():
        if isinstance(value, Unreadable):
            raise ValueError(f"field {brief(name)!r}: {value.why}")
    return item


def parse_timestamp(value: Any) -> int | None:
    """Microseconds since 1970 UTC of an ISO 8601 text; without a zone it is UTC."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("takes an ISO 8601 text")
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value[:40]!r} is not an ISO 8601 time") from error
    return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


StreamId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_STREAM_LENGTH,
        description="A stream's name: printable text without `/`.",
        examples=["site-7"],
    ),
    AfterValidator(check_stream_name),
]
TimestampUs = Annotated[
    int | None,
    BeforeValidator(parse_timestamp),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
]


class Wire(BaseModel):
    """Base of what is received: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _within(least: float, most: float) -> dict[str, JsonValue]:
    """Bounds for the documentation; the spec checks them, and says what is wrong in its own words."""
    return {"minimum": least, "maximum": most}


def _default(name: str, spec: type[ModelSpec | FieldSpec] = ModelSpec) -> Any:
    """The default of a part of a spec, for a field of the same name."""
    default = spec.__dataclass_fields__[name].default
    if default is MISSING:
        raise TypeError(f"{name} has no default")
    return list(default) if isinstance(default, tuple) else default


_VALUES: dict[str, JsonValue] = {"minItems": 2, "uniqueItems": True}
_Value = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": model_spec.MAX_VALUE_LENGTH})]


class FieldIn(Wire):
    """One named field of an item."""

    name: str = Field(
        description="Its key in an item: printable text.",
        examples=["load"],
        json_schema_extra={"minLength": 1, "maxLength": model_spec.MAX_NAME_LENGTH},
    )
    kind: FieldKind = Field(
        _default("kind", FieldSpec),
        description="`real` for a number, `category` for one of a set of texts.",
    )
    values: Annotated[list[_Value], Field(max_length=model_spec.MAX_VALUES, json_schema_extra=_VALUES)] | None = Field(
        None, description="A category's values.", examples=[["idle", "busy"]]
    )
    capacity: Annotated[int, Field(json_schema_extra=_within(2, model_spec.MAX_VALUES))] | None = Field(
        None, description="Instead of `values`: how many distinct values an open vocabulary may grow to."
    )


class LearnIn(Wire):
    """What an item changes."""

    weights: bool = Field(default=LearnSpec().weights, description="The model's shared weights.")
    state: bool = Field(default=LearnSpec().state, description="The stream's carried state.")
    initial_state: bool = Field(default=LearnSpec().initial_state, description="The state that new streams start in.")


_LEARNING_RATE = "Step size of the weights' optimiser, in (0, 1]; `null` for the default schedule."
_TAILS = (
    "The shape of a real field's distribution: `normal`, or `student` for Student's t wherever its tails have lately "
    "fitted the stream better. Quantiles follow the stream under both."
)
_QUANTILES = "Levels that a real field's prediction reports, rising, each in (0, 1)."
_MAX_STREAMS = "Most streams at once; an item of one more is answered `overloaded`. `null` for no bound."
_TTL_S = "Seconds after its last item at which a stream is forgotten, at least 1; `null` for never."


_Rate = Annotated[float, Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": 1})]
_Level = Annotated[float, Field(json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1})]
_Quantiles = Annotated[
    list[_Level],
    Field(max_length=model_spec.MAX_QUANTILES, json_schema_extra={"minItems": 1, "uniqueItems": True}),
]
_Count = Annotated[int, Field(json_schema_extra=_within(1, model_spec.MAX_STREAMS))]
_Lifetime = Annotated[float, Field(json_schema_extra=_within(1, model_spec.MAX_TTL_S))]


class ModelSpecIn(Wire):
    """What a model is; only `fields` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fields": [
                        {"name": "load", "kind": "real"},
                        {"name": "state", "kind": "category", "values": ["idle", "busy"]},
                    ]
                }
            ]
        }
    )

    fields: list[FieldIn] = Field(
        description=f"What an item is: 1 to {model_spec.MAX_FIELDS} fields, each name once.",
        max_length=model_spec.MAX_FIELDS,
        json_schema_extra={"minItems": 1},
    )
    cell: CellKind = Field(_default("cell"), description="The recurrent cell.")
    hidden: int = Field(
        _default("hidden"), description="Units per layer.", json_schema_extra=_within(1, model_spec.MAX_HIDDEN)
    )
    layers: int = Field(
        _default("layers"), description="Stacked cells.", json_schema_extra=_within(1, model_spec.MAX_LAYERS)
    )
    window: int = Field(
        _default("window"),
        description="Items that the weight gradient reaches back.",
        json_schema_extra=_within(1, model_spec.MAX_WINDOW),
    )
    learning_rate: _Rate | None = Field(_default("learning_rate"), description=_LEARNING_RATE)
    seed: int = Field(
        _default("seed"), description="Seed of the initial weights.", json_schema_extra=_within(0, 2**63 - 1)
    )
    learn: LearnIn = Field(LearnIn(), description="What an item changes.")
    experts: ExpertsKind = Field(
        _default("experts"),
        description="What predicts beside the network and is mixed with it by its recent success: `all`, some ten "
        "kilobytes per real field of a stream and, for categories, up to 16 megabytes per model; `light`, a quarter of "
        "that per real field, without seasons; or `none`.",
    )
    tails: TailsKind = Field(_default("tails"), description=_TAILS)
    quantiles: _Quantiles = Field(_default("quantiles"), description=_QUANTILES)
    max_streams: _Count | None = Field(_default("max_streams"), description=_MAX_STREAMS)
    ttl_s: _Lifetime | None = Field(_default("ttl_s"), description=_TTL_S)

    def to_spec(self) -> ModelSpec:
        """The spec.

        Raises:
            ValueError: If a part is out of its bounds.
        """
        return ModelSpec.from_dict(self.model_dump())


class SizeIn(Wire):
    """A spec, and how many streams of it there are to be."""

    spec: ModelSpecIn
    streams: int = Field(1, ge=1, le=MAX_SEQUENCE, description="How many.")


class ModelPatchIn(Wire):
    """What may change while a model runs; what is absent stays."""

    learn: LearnIn | None = Field(None, description="What an item changes; parts that are absent stay.")
    learning_rate: _Rate | None = Field(None, description=_LEARNING_RATE)
    tails: TailsKind | None = Field(None, description=_TAILS)
    quantiles: _Quantiles | None = Field(None, description=_QUANTILES)
    max_streams: _Count | None = Field(None, description=_MAX_STREAMS)
    ttl_s: _Lifetime | None = Field(None, description=_TTL_S)

    def apply(self, spec: ModelSpec) -> ModelSpec:
        """The changed spec.

        Raises:
            ValueError: If a part is out of its bounds.
        """
        given: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        for name in ("learn", "quantiles", "tails"):
            if name in given and given[name] is None:
                raise ValueError(f"{name}: null is no value")
        if self.learn is not None:
            given["learn"] = replace(spec.learn, **self.learn.model_dump(include=self.learn.model_fields_set))
        if self.quantiles is not None:
            given["quantiles"] = tuple(self.quantiles)
        return replace(spec, **given)


class ForkIn(Wire):
    """Which stream a fork becomes."""

    to: StreamId


class SnapshotIn(Wire):
    """What to call a snapshot."""

    name: str | None = Field(
        None, min_length=1, max_length=MAX_SNAPSHOT_NAME, description="For people.", examples=["before the outage"]
    )


class ObservationIn(Wire):
    """One item of the stream that the path names."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"item": {"load": 3.2, "state": "busy"}},
                {"item": {"load": 3.2, "state": None}, "sequence": 17, "timestamp": "2026-01-01T10:00:00Z"},
            ]
        }
    )

    item: Annotated[dict[str, Any], AfterValidator(_check_readable)] = Field(
        max_length=model_spec.MAX_FIELDS,
        description="A value for each field: a number for a real one, a text for a category; "
        "`null` or absent where it is missing.",
        json_schema_extra={"additionalProperties": {"type": ["number", "string", "null"]}},
    )
    sequence: int | None = Field(
        None,
        ge=1,
        le=MAX_SEQUENCE,
        description="The item's position in its stream, from 1; it makes a resend harmless. Absent: the next one.",
    )
    timestamp: TimestampUs = Field(None, description="When it was, ISO 8601; without a zone it is taken as UTC.")

    def to_observation(self, stream: str) -> Observation:
        """The observation for the engine."""
        return Observation(stream, self.item, self.sequence, self.timestamp)


class StreamObservationIn(ObservationIn):
    """One item, with the stream it belongs to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"stream": "site-7", "item": {"load": 3.2, "state": "busy"}, "sequence": 17}]}
    )

    stream: StreamId


class StreamsIn(Wire):
    """Streams that something is asked of."""

    streams: list[StreamId] = Field(description="Their names.", examples=[["site-7", "site-8"]])


class _DocumentedAs:
    """Shows a value that is checked later as the wire model that will check it."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._schema = model.__pydantic_core_schema__

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self._schema)


class ObservationsIn(Wire):
    """Many items, of any streams; several of one stream are learned in their order."""

    observations: list[Annotated[Any, _DocumentedAs(StreamObservationIn)]] = Field(
        description="Each is checked on its own: a bad one gets an error in its place, the others go on."
    )
