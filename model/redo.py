"""What a weight update is computed again from, as bytes: a redo record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from model import codec, examples, ngrams
from model.codec import DamagedRecord, Kind
from model.items import Vocabulary
from model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Redo:
    """One change of weights, vocabulary and counts.

    Args:
        version: After it.
        rate: Step size of the update.
        initial: Whether the gradient reached the learned initial state.
        novel: Values met for the first time, by category field.
        known: How many values were known before, by category field: where the novel ones begin. Empty where there are
            none.
        examples: That the weights learned from, (N,), see :func:`model.examples.example_dtype`; none where only the
            vocabulary or the counts changed.
        lessons: That the counts learned from; ``None`` where there are none.
    """

    version: int
    rate: float
    initial: bool
    novel: list[list[str]]
    known: list[int]
    examples: np.ndarray
    lessons: np.ndarray | None

    def encode(self) -> bytes:
        """A record that :meth:`decode` reads."""
        meta = {"version": self.version, "rate": self.rate, "initial": self.initial, "novel": self.novel}
        if any(self.novel):
            meta["known"] = self.known
        parts = [self.examples] if self.lessons is None else [self.examples, self.lessons]
        return codec.pack_arrays(Kind.REDO, {**meta, "n": len(self.examples)}, parts)

    @classmethod
    def decode(cls, spec: ModelSpec, record: bytes) -> Self:
        """Read a record of this spec; whether it follows from weights and vocabulary is theirs to say.

        Raises:
            OtherFormat: If it is whole, but of another format.
            DamagedRecord: If it is not whole, or not of this spec.
        """
        meta, payload = codec.unpack_arrays(Kind.REDO, record)
        version, n, rate, initial = (meta.get(name) for name in ("version", "n", "rate", "initial"))
        novel, known = meta.get("novel"), meta.get("known")
        if not isinstance(rate, float) or not 0 <= rate <= 1 or not isinstance(initial, bool):
            raise DamagedRecord(Kind.REDO, "it does not say how the step was taken")
        if not (codec.is_count(version) and codec.is_count(n)):
            raise DamagedRecord(Kind.REDO, "its numbers are out of bounds")
        if not Vocabulary(spec).admits(novel) or not _are_known(spec, known):
            raise DamagedRecord(Kind.REDO, "its values are not of the model's fields")
        n_bytes = n * examples.example_dtype(spec).itemsize
        if len(payload) < n_bytes:
            raise DamagedRecord(Kind.REDO, "its examples are not of the model's layout")
        return cls(
            version=version,
            rate=rate,
            initial=initial,
            novel=novel,
            known=known or [],
            examples=examples.read_examples(spec, payload[:n_bytes]),
            lessons=ngrams.read_lessons(spec, payload[n_bytes:]),
        )


def _are_known(spec: ModelSpec, known: object) -> bool:
    """Whether these are numbers of known values, one for each category field, or are not there."""
    if known is None:
        return True
    fields = spec.categories
    return (
        isinstance(known, list)
        and len(known) == len(fields)
        and all(codec.is_count(n) and n <= field.n_slots for n, field in zip(known, fields, strict=True))
    )
