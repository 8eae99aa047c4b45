"""What a model is: its fields, its network and how it learns. The only home of defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, get_args

FieldKind = Literal["real", "category"]
CellKind = Literal["lstm", "gru", "rnn", "fused"]
ExpertsKind = Literal["all", "light", "none"]
TailsKind = Literal["normal", "student"]

MAX_FIELDS = 64
MAX_HIDDEN = 1024
MAX_LAYERS = 4
MAX_WINDOW = 64
MAX_VALUES = 65_536
MAX_QUANTILES = 32
MAX_STREAMS = 2**63 - 1
MAX_TTL_S = 10 * 365 * 86_400
MAX_NAME_LENGTH = 64
MAX_VALUE_LENGTH = 256

NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAME_LENGTH - 1}}}"
"""What a model may be named, as a regular expression."""

_ECHO = 100  # characters of what was sent that an error repeats
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class FieldSpec:
    """One named field of an item.

    Args:
        name: Its key in an item; any text without control characters, 1 to 64 characters.
        kind: ``real`` for a number, ``category`` for one of a set of texts.
        values: A category's closed vocabulary.
        capacity: Instead of ``values``: how many distinct values an open vocabulary may grow to.

    Raises:
        ValueError: If the parts do not fit each other.
    """

    name: str
    kind: FieldKind = "real"
    values: tuple[str, ...] | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME_LENGTH or not self.name.isprintable():
            raise ValueError(f"field name {self.name[:_ECHO]!r}: 1 to {MAX_NAME_LENGTH} printable characters")
        if self.kind not in get_args(FieldKind):
            raise ValueError(f"field {self.name!r}: kind {self.kind!r} is none of {', '.join(get_args(FieldKind))}")
        if self.kind == "real":
            if self.values is not None or self.capacity is not None:
                raise ValueError(f"field {self.name!r}: a real field takes neither values nor capacity")
        elif (self.values is None) == (self.capacity is None):
            raise ValueError(f"field {self.name!r}: a category takes either values or capacity")
        if self.values is not None:
            if not 2 <= len(self.values) <= MAX_VALUES or len(set(self.values)) != len(self.values):
                raise ValueError(f"field {self.name!r}: values must be 2 to {MAX_VALUES} distinct texts")
            if any(not value or len(value) > MAX_VALUE_LENGTH for value in self.values):
                raise ValueError(f"field {self.name!r}: each value takes 1 to {MAX_VALUE_LENGTH} characters")
        if self.capacity is not None and not 2 <= self.capacity <= MAX_VALUES:
            raise ValueError(f"field {self.name!r}: capacity must be 2 to {MAX_VALUES}")

    @cached_property
    def known_values(self) -> frozenset[str]:
        """The values of a closed vocabulary."""
        return frozenset(self.values or ())

    @property
    def n_slots(self) -> int:
        """Output units of a category: its values, and for an open vocabulary one more that stands for any new value."""
        if self.values is not None:
            return len(self.values)
        return 0 if self.capacity is None else self.capacity + 1

    @property
    def is_open(self) -> bool:
        """Whether the vocabulary grows as values are met."""
        return self.capacity is not None


@dataclass(frozen=True, slots=True)
class LearnSpec:
    """Which parts an item may change: shared weights, the stream's carried state, the learned initial state."""

    weights: bool = True
    state: bool = True
    initial_state: bool = True


class Layout(NamedTuple):
    """The parts of a spec that decide how its beliefs lie in memory; none of them changes while a model lives."""

    cell: CellKind
    hidden: int
    layers: int
    window: int
    n_reals: int
    n_slots: tuple[int, ...]
    experts: ExpertsKind
    has_ngrams: bool


@dataclass(frozen=True)
class ModelSpec:
    """A model: what an item is, how big the network is, how it learns.

    Args:
        fields: At least one.
        cell: The recurrent cell.
        hidden: Units per layer (H).
        layers: Stacked cells (L).
        window: Items that the weight gradient reaches back over (K).
        learning_rate: Adam's step size; ``None`` for the default schedule.
        seed: Of the initial weights.
        learn: What an item changes.
        experts: What predicts beside the network, and is mixed with it. ``all``: of a real field persistence and a
            regression that finds seasons, some ten kilobytes per field of a stream; of a category counts of what
            followed its last values, shared by all streams of the model, some kilobytes to 16 megabytes. ``light``: the
            regression looks for no seasons and takes a quarter of that. ``none`` leaves the network alone.
        tails: The shape of a real field's distribution: ``normal``, or ``student`` for Student's t wherever its tails
            have lately fitted the stream better. Quantiles follow the stream under both.
        quantiles: Levels that a real field's prediction reports, each in (0, 1).
        max_streams: Most streams at once; ``None`` for no bound of its own.
        ttl_s: Seconds after its last item at which a stream is forgotten; ``None`` for never.

    Raises:
        ValueError: If a part is out of its bounds.
    """

    fields: tuple[FieldSpec, ...]
    cell: CellKind = "lstm"
    hidden: int = 64
    layers: int = 1
    window: int = 4
    learning_rate: float | None = None
    seed: int = 0
    learn: LearnSpec = field(default_factory=LearnSpec)
    experts: ExpertsKind = "all"
    tails: TailsKind = "student"
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    max_streams: int | None = None
    ttl_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.fields) <= MAX_FIELDS:
            raise ValueError(f"fields: 1 to {MAX_FIELDS}, got {len(self.fields)}")
        names = [f.name for f in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("fields: each name once")
        for name, kinds in (("cell", CellKind), ("experts", ExpertsKind), ("tails", TailsKind)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(get_args(kinds))}")
        for name, most in (("hidden", MAX_HIDDEN), ("layers", MAX_LAYERS), ("window", MAX_WINDOW)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: 1 to {most}, got {getattr(self, name)}")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate: above 0 and at most 1, got {self.learning_rate}")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed: 0 to 2**63 - 1")
        if not 1 <= len(self.quantiles) <= MAX_QUANTILES or any(not 0 < q < 1 for q in self.quantiles):
            raise ValueError(f"quantiles: 1 to {MAX_QUANTILES} levels between 0 and 1")
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError("quantiles: rising, each once")
        if self.max_streams is not None and not 1 <= self.max_streams <= MAX_STREAMS:
            raise ValueError("max_streams: 1 to 2**63 - 1")
        if self.ttl_s is not None and not 1 <= self.ttl_s <= MAX_TTL_S:
            raise ValueError(f"ttl_s: 1 second to ten years ({MAX_TTL_S} seconds)")

    @cached_property
    def reals(self) -> tuple[FieldSpec, ...]:
        """Real fields, in the order of ``fields``."""
        return tuple(f for f in self.fields if f.kind == "real")

    @cached_property
    def field_names(self) -> frozenset[str]:
        """Names of all fields."""
        return frozenset(f.name for f in self.fields)

    @cached_property
    def layout(self) -> Layout:
        """What decides the layout of a belief."""
        n_slots = tuple(f.n_slots for f in self.categories)
        shape = (self.cell, self.hidden, self.layers, self.window)
        return Layout(*shape, len(self.reals), n_slots, self.experts if self.has_experts else "none", self.has_ngrams)

    @cached_property
    def categories(self) -> tuple[FieldSpec, ...]:
        """Category fields, in the order of ``fields``."""
        return tuple(f for f in self.fields if f.kind == "category")

    @property
    def has_experts(self) -> bool:
        """Whether anything forecasts real fields beside the network."""
        return self.experts != "none" and bool(self.reals)

    @property
    def has_ngrams(self) -> bool:
        """Whether counts predict category fields beside the network."""
        return self.experts != "none" and bool(self.categories)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values; :meth:`from_dict` is its inverse."""
        return {
            "fields": [{k: v for k, v in _plain(f).items() if v is not None} for f in self.fields],
            **{f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name != "fields"},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from the plain values of :meth:`to_dict`; a missing part takes its default.

        Raises:
            ValueError: If a part is unknown or out of its bounds.
        """
        given = dict(data)
        try:
            given["fields"] = tuple(_field(field) for field in given["fields"])
            given["learn"] = LearnSpec(**given.get("learn", {}))
            if "quantiles" in given:
                given["quantiles"] = tuple(given["quantiles"])
            return cls(**given)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a model spec: {error}") from error


def check_model_name(name: str) -> str:
    """Return ``name`` if it can name a model.

    Raises:
        ValueError: If it is not 1 to 64 letters, digits, ``_``, ``.`` or ``-``, beginning with a letter or digit.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"model name {name[:_ECHO]!r}: 1 to {MAX_NAME_LENGTH} letters, digits, '_', '.' or '-', "
            "beginning with a letter or digit"
        )
    return name


def _field(data: dict[str, Any]) -> FieldSpec:
    values = data.get("values")
    return FieldSpec(**{**data, "values": None if values is None else tuple(values)})


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value
