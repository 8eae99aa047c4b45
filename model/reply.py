"""Replies: what is told of one item, and as what it is kept; :mod:`model.reply_form` renders it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from model import drift, opinions
from model.codec import DamagedRecord, Kind
from model.items import NO_TIME, Items, Vocabulary
from model.prediction import Predictions
from model.reply_rows import LEVEL_STEPS, MOST_LIKELY, NUMBER, row_layout
from model.spec import FieldSpec, ModelSpec

IMPLIED_LEVELS = (0.05, 0.5, 0.95)
"""Levels of the quantiles of a kept reply that names none."""

Texts = tuple[str | None, list[str]]
"""Of a category the value observed, and the values that a row names, in its order."""

_UNITS_US = ((1_000_000, 5), (1000, 6), (1, 8))  # of a kept timestamp, and its bytes; the first that fits it is taken
_VERSION_BYTES, _UNIT, _MORE = 0b111, 3, 0b100000  # in the first byte: mask, shift of two bits, flag
_LENGTH = struct.Struct("<I")
_BYTE = [bytes((i,)) for i in range(256)]


@dataclass(slots=True)
class Reply:
    """What is told of one item, and the item itself.

    Args:
        sequence: Of the item.
        version: Of the weights that made the prediction.
        row: Its numbers, see :class:`model.reply_rows.RowLayout`.
        levels: Of its quantiles.
        timestamp_us: Of the item, microseconds since 1970 UTC; ``None`` if it has none.
        texts: Of each category of an open vocabulary.
        experts: What each expert said, by field; ``None`` where that was not asked for.
    """

    sequence: int
    version: int
    row: bytes
    levels: tuple[float, ...]
    timestamp_us: int | None = None
    texts: Sequence[Texts] = ()
    experts: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        """All but the sequence; :meth:`decode` is its inverse.

        ``shape (1) | version (0 to 7) | timestamp (0, 5, 6 or 8) | length (4), JSON of levels, texts, experts | row``,
        little-endian. The shape tells how long version and timestamp are, and whether there is JSON.
        """
        version = self.version.to_bytes((self.version.bit_length() + 7) // 8, "little")
        shape, time = len(version), b""
        if self.timestamp_us is not None:
            unit, time = _encode_time(self.timestamp_us)
            shape |= unit << _UNIT
        levels = None if self.levels == IMPLIED_LEVELS else self.levels
        if levels is None and not self.texts and self.experts is None:
            return b"".join((_BYTE[shape], version, time, self.row))
        more = orjson.dumps((levels, self.texts, self.experts))
        return b"".join((_BYTE[shape | _MORE], version, time, _LENGTH.pack(len(more)), more, self.row))

    @classmethod
    def decode(cls, spec: ModelSpec, sequence: int, data: bytes) -> Self:
        """Read :meth:`encode`'s bytes.

        Args:
            spec: The model's, as it is now; it may report other quantiles than then.
            sequence: Of the item.
            data: As it was kept.

        Raises:
            DamagedRecord: If they are of no reply of this model.
        """
        try:
            shape = data[0]
            at = 1 + (shape & _VERSION_BYTES)
            version, timestamp_us = int.from_bytes(data[1:at], "little"), None
            if unit := shape >> _UNIT & 0b11:
                unit_us, size = _UNITS_US[unit - 1]
                timestamp_us = unit_us * int.from_bytes(data[at : at + size], "little", signed=True)
                at += size
            levels: tuple[float, ...] = IMPLIED_LEVELS
            texts: Sequence[Texts] = ()
            experts: Mapping[str, Any] | None = None
            if shape & _MORE:
                (length,) = _LENGTH.unpack_from(data, at)
                at += _LENGTH.size + length
                given, texts, experts = orjson.loads(data[at - length : at])
                levels = IMPLIED_LEVELS if given is None else tuple(map(float, given))
            reply = cls(sequence, version, data[at:], levels, timestamp_us, texts, experts)
            reply.check(spec)
        except (ValueError, TypeError, IndexError, struct.error) as error:
            raise DamagedRecord(Kind.REPLY, f"it is of no reply of the model: {error}") from error
        return reply

    def check(self, spec: ModelSpec) -> None:
        """Return if this can be a reply of a model.

        Raises:
            ValueError: If the row is of another length, or texts or experts are not of the model's fields.
            TypeError: If a part is of another type.
        """
        layout = row_layout(spec, len(self.levels))
        if len(self.row) != layout.n_bytes:
            raise ValueError(f"a row of {len(self.row)} bytes where {layout.n_bytes} are expected")
        *_, categories = layout.split(self.row)
        texts = iter(self.texts)
        for field, numbers in zip(spec.categories, categories, strict=True):
            n_named = numbers[3] // NUMBER
            if field.is_open:
                observed, named = next(texts, (None, ()))
                if not (isinstance(observed, str | None) and all(isinstance(name, str) for name in named)):
                    raise TypeError("values that are no texts")
                if len(named) != n_named:
                    raise ValueError(f"{len(named)} values where the row names {n_named}")
            elif n_named > layout.n_likely or max(numbers[2], *numbers[4 : 4 + n_named], 0) >= field.n_slots:
                raise ValueError("a slot that the field does not have")
        if self.experts is not None and not (
            isinstance(self.experts, dict) and self.experts.keys() <= spec.field_names
        ):
            raise TypeError("experts that are of no field")


def replies(
    spec: ModelSpec,
    vocabulary: Vocabulary,
    sequences: NDArray[np.int64],
    version: int,
    rows: bytes,
    items: Items,
) -> list[Reply]:
    """The reply to each item of a micro-batch, without what experts said.

    Args:
        spec: The model's.
        vocabulary: Names the values of categories; after the items.
        sequences: Of the items, (B,).
        version: Weights version that made the predictions.
        rows: Of :meth:`model.reply_rows.RowLayout.fill`, (B,).
        items: Their times, and the values that the vocabulary has no room for.
    """
    layout = row_layout(spec, len(spec.quantiles))
    n, levels = layout.n_bytes, spec.quantiles
    found = [
        Reply(sequence, version, rows[at : at + n], levels, None if time == NO_TIME else time)
        for sequence, time, at in zip(
            sequences.tolist(), items.timestamp_us.tolist(), range(0, len(rows), n), strict=True
        )
    ]
    fields = [(j, vocabulary.values[j]) for j, field in enumerate(spec.categories) if field.is_open]
    if fields:
        for i, reply in enumerate(found):
            *_, categories = layout.split(reply.row)
            reply.texts = [
                (items.categories[j][i], [values[slot] for slot in categories[j][4 : 4 + categories[j][3] // NUMBER]])
                for j, values in fields
            ]
    return found


def fields(spec: ModelSpec, vocabulary: Vocabulary, predictions: Predictions, i: int) -> dict[str, Any]:
    """What is predicted of each field of stream ``i``; ``None`` for a real field that was never seen."""
    found: dict[str, Any] = {}
    levels = [str(level) for level in spec.quantiles]
    known, mean, std = (column[i].tolist() for column in (predictions.known, predictions.mean, predictions.std))
    for j, field in enumerate(spec.reals):
        degrees = 0 if predictions.degrees is None else int(predictions.degrees[i, j])
        quantiles = dict(zip(levels, predictions.quantiles[i, j].tolist(), strict=True))
        found[field.name] = _distribution(mean[j], std[j], quantiles, degrees) if known[j] else None
    for j, (field, place) in enumerate(places(spec)):
        found[field.name] = category(vocabulary.values[j], predictions.probabilities[i, place])
    return in_order(spec, found)


def experts_said(
    spec: ModelSpec, vocabulary: Vocabulary, predictions: Predictions, i: int, sent: Mapping[str, Any]
) -> dict[str, Any]:
    """What each expert said of each field of stream ``i`` that something is predicted of.

    Args:
        spec: The model's.
        vocabulary: Names the values of categories.
        predictions: Of the streams.
        i: The stream's place among them.
        sent: What is predicted of each field.
    """
    found = {
        field.name: opinions.of_real(predictions, i, j)
        for j, field in enumerate(spec.reals)
        if sent[field.name] is not None
    }
    opinion = None if predictions.said is None else predictions.said(i)
    for j, (field, place) in enumerate(places(spec)):
        said = [] if opinion is None else [category(vocabulary.values[j], p[place]) for p in opinion.probabilities]
        found[field.name] = opinions.of_category(sent[field.name], said, () if opinion is None else opinion.weights[j])
    return in_order(spec, found)


def category(values: list[str], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """The most likely value, and the most likely ten with their probabilities; no value is known before the first."""
    of_known = probabilities[: len(values)]
    first = np.argsort(-of_known, kind="stable")[:MOST_LIKELY]
    return likely([values[k] for k in first.tolist()], of_known[first].tolist())


def drift_signal(spec: ModelSpec, drifted: np.void) -> dict[str, Any]:
    """Whether the stream drifts, how near the nearest field is to drift, and which fields drift."""
    drifting = {f.name: now for f, now in zip((*spec.reals, *spec.categories), drift.which_drift(drifted), strict=True)}
    return {
        "drifting": any(drifting.values()),
        "level": round(float(drift.level(drifted).max()) * LEVEL_STEPS) / LEVEL_STEPS,
        "fields": [field.name for field in spec.fields if drifting[field.name]],
    }


def in_order(spec: ModelSpec, found: dict[str, Any]) -> dict[str, Any]:
    """The fields in the order the model names them."""
    return {field.name: found[field.name] for field in spec.fields if field.name in found}


def places(spec: ModelSpec) -> Iterator[tuple[FieldSpec, slice]]:
    """The category fields, each with where its slots lie among the probabilities."""
    at = 0
    for field in spec.categories:
        yield field, slice(at, at + field.n_slots)
        at += field.n_slots


def _distribution(mean: float, std: float, quantiles: dict[str, float], degrees: int) -> dict[str, Any]:
    sent: dict[str, Any] = {"mean": mean, "std": std, "quantiles": quantiles}
    if degrees:
        sent["degrees_of_freedom"] = degrees
    return sent


def likely(names: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    """What is predicted of a category, from its most likely values and their probabilities."""
    return {"top": names[0] if names else None, "probabilities": dict(zip(names, probabilities, strict=True))}


def _encode_time(time_us: int) -> tuple[int, bytes]:
    """The number of the unit, from 1, and how many of it."""
    for number, (unit_us, n_bytes) in enumerate(_UNITS_US, 1):
        count, rest = divmod(time_us, unit_us)
        if not rest and -(1 << 8 * n_bytes - 1) <= count < 1 << 8 * n_bytes - 1:
            return number, count.to_bytes(n_bytes, "little", signed=True)
    raise OverflowError(f"a time of {time_us} microseconds")
