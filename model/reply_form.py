"""Replies as JSON: one way for the first answer, a resend and the history, so that all are the same to the byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from model.reply import Reply, Texts, likely
from model.reply_rows import COVERED, DRIFTING, KNOWN, NUMBER, CategoryNumbers, row_layout
from model.spec import FieldSpec, ModelSpec

MAX_SHAPES = 1024
"""Shapes that a form remembers."""

_GAP = b"\0"  # JSON has none

Shape = tuple[int, ...]
"""What decides all but the numbers of a reply: whether it is a duplicate, whether anything was scored, and of each
field in the spec's order twice its flags, and one more where it was scored."""


class ReplyForm:
    """Renders a model's replies.

    Replies of one shape differ in their numbers alone, and there are few shapes. So the text around the numbers is made
    once for each; the numbers of a reply are written all at once and put in. That takes half the time of building
    objects and rendering these.

    Args:
        spec: The model's. Replies may report other quantiles than it does now.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._levels = spec.quantiles
        self._layout = row_layout(spec, len(spec.quantiles))
        places = {field.name: i for i, field in enumerate((*spec.reals, *spec.categories))}
        self._fields = [(f, places[f.name], f.kind == "real") for f in spec.fields]
        self._shapes: dict[Shape, list[bytes]] = {}

    def reply(self, stream: str, reply: Reply, *, duplicate: bool = False, with_experts: bool = True) -> bytes:
        """The answer to one observation; that to a resend is the same but for ``duplicate``.

        Args:
            stream: The observed stream.
            reply: As the learner gave it, or as it was kept.
            duplicate: Whether it answers a resend.
            with_experts: Whether to tell what each expert said, where that is known.
        """
        layout = self._layout if reply.levels == self._levels else row_layout(self._spec, len(reply.levels))
        nll, anomaly, level, reals, categories = layout.split(reply.row)
        is_scored, experts = not math.isnan(nll), reply.experts if with_experts else None
        parts, texts = reals + categories if categories else reals, iter(reply.texts)
        shape = [duplicate, is_scored]
        numbers: list[float] = [reply.sequence, nll, anomaly, level] if is_scored else [reply.sequence]
        predicted: list[float] = [reply.sequence + 1, reply.version]
        objects: list[tuple[int, bytes]] = []  # with their places among what was predicted
        for field, place, is_real in self._fields:
            part = parts[place]
            if is_real:
                error, crps, mean, std, _, flags = part[:6]
                field_scored = is_scored and not math.isnan(error)
                if field_scored:
                    numbers += (error, crps)
                if flags & KNOWN:
                    predicted += (mean, std)
                    predicted += [mean + std * offset for offset in part[6:]]
            else:
                nats, rank, _, flags = part[:4]
                field_scored = is_scored and rank > 0
                if field_scored:
                    numbers += (nats, rank)
                sent = likely(*_named(field, part, texts))
                if experts is not None and field.name in experts:
                    sent["experts"] = experts[field.name]
                objects.append((len(predicted), orjson.dumps(sent)))
                predicted.append(0)
            shape.append(2 * flags + field_scored)
        written = orjson.dumps(numbers + predicted)[1:-1].split(b",")
        for at, text in objects:
            written[len(numbers) + at] = text
        around = self._around(tuple(shape), reply.levels, experts)
        pieces = [_GAP] * (2 * len(around) - 1)
        pieces[::2] = around
        pieces[1::2] = orjson.dumps(stream), *written
        return b"".join(pieces)

    def result(self, reply: Reply, *, with_experts: bool = True) -> dict[str, Any]:
        """Sequence, score and prediction as plain values."""
        told: dict[str, Any] = orjson.loads(self.reply("", reply, with_experts=with_experts))
        return {name: told[name] for name in ("sequence", "score", "prediction")}

    def values(self, reply: Reply) -> dict[str, float | str | None]:
        """The item, every field in the spec's order, missing ones as ``None``."""
        *_, reals, categories = row_layout(self._spec, len(reply.levels)).split(reply.row)
        parts, texts = reals + categories, iter(reply.texts)
        found: dict[str, float | str | None] = {}
        for field, place, is_real in self._fields:
            numbers = parts[place]
            if is_real:
                found[field.name] = None if math.isnan(numbers[4]) else numbers[4]
            elif field.values is None:
                found[field.name] = next(texts)[0]
            else:
                found[field.name] = None if numbers[2] < 0 else field.values[numbers[2]]
        return found

    def _around(self, shape: Shape, levels: tuple[float, ...], experts: Mapping[str, Any] | None) -> Sequence[bytes]:
        """The text around the numbers of a reply of this shape."""
        if experts is not None or levels != self._levels:
            return self._text(shape, levels, experts or {}).split(_GAP)
        around = self._shapes.get(shape)
        if around is None:
            if len(self._shapes) == MAX_SHAPES:
                self._shapes.clear()
            around = self._shapes[shape] = self._text(shape, levels, {}).split(_GAP)
        return around

    def _text(self, shape: Shape, levels: tuple[float, ...], experts: Mapping[str, Any]) -> bytes:
        """A reply of this shape, a gap for each of its numbers and for the objects of categories."""
        duplicate, is_scored, *of_fields = shape
        scores, predictions, drifting = list[bytes](), list[bytes](), list[bytes]()
        for (field, _, is_real), facts in zip(self._fields, of_fields, strict=True):
            flags, name = facts // 2, orjson.dumps(field.name)
            if facts % 2:
                scores.append(name + b":" + (_real_score(flags, levels) if is_real else _object(nll=_GAP, rank=_GAP)))
            prediction = _real_prediction(flags, levels) if is_real else _GAP
            if is_real and flags & KNOWN and field.name in experts:
                prediction = b'%b,"experts":%b}' % (prediction[:-1], orjson.dumps(experts[field.name]))
            predictions.append(name + b":" + prediction)
            if flags & DRIFTING:
                drifting.append(name)
        score = b"null"
        if is_scored:
            drift = _object(drifting=_truth(bool(drifting)), level=_GAP, fields=b"[%b]" % b",".join(drifting))
            score = _object(nll=_GAP, anomaly=_GAP, drift=drift, fields=b"{%b}" % b",".join(scores))
        fields = b"{%b}" % b",".join(predictions)
        return _object(
            stream=_GAP, sequence=_GAP, duplicate=_truth(bool(duplicate)), score=score,
            prediction=_object(sequence=_GAP, weights_version=_GAP, fields=fields),
        )  # fmt: skip


def _object(**members: bytes) -> bytes:
    """JSON of an object, from that of its members."""
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), text) for name, text in members.items())


def _truth(value: bool) -> bytes:
    return b"true" if value else b"false"


def _real_score(flags: int, levels: Sequence[float]) -> bytes:
    """Without an interval nothing can be covered."""
    return _object(error=_GAP, crps=_GAP, covered=_truth(flags & COVERED > 0) if len(levels) > 1 else b"null")


def _real_prediction(flags: int, levels: Iterable[float]) -> bytes:
    if not flags & KNOWN:
        return b"null"
    degrees = {"degrees_of_freedom": b"%d" % (flags // NUMBER)} if flags // NUMBER else {}
    return _object(mean=_GAP, std=_GAP, quantiles=_object(**{str(level): _GAP for level in levels}), **degrees)


def _named(field: FieldSpec, numbers: CategoryNumbers, texts: Iterator[Texts]) -> tuple[Sequence[str], Sequence[float]]:
    """The values that a row names, and their probabilities; those of an open vocabulary are the next of the texts."""
    n, probabilities_at = numbers[3] // NUMBER, (len(numbers) + 4) // 2
    names = next(texts)[1] if field.values is None else [field.values[slot] for slot in numbers[4 : 4 + n]]
    return names, numbers[probabilities_at : probabilities_at + n]
