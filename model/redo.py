"""The redo record: from it a weight update can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from model import codec, examples, ngrams
from model.items import Vocabulary
from model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Redo:
    """What one step changed the model by.

    Args:
        version: That the step led to.
        rate: Step size of the optimiser.
        initial: Whether gradient reached the learned initial state.
        novel: Values that each category field met, in their order.
        learned: What the weights learned from, (n,); see :func:`model.examples.example_dtype`.
        lessons: What the counts learned from; ``None`` for nothing.
    """

    version: int
    rate: float
    initial: bool
    novel: list[list[str]]
    learned: np.ndarray
    lessons: np.ndarray | None

    def encode(self) -> bytes:
        """A record that :meth:`decode` reads."""
        meta = {"version": self.version, "rate": self.rate, "initial": self.initial, "novel": self.novel}
        parts = [self.learned] if self.lessons is None else [self.learned, self.lessons]
        return codec.pack_arrays(codec.Kind.REDO, {**meta, "n": len(self.learned)}, parts)

    @classmethod
    def decode(cls, spec: ModelSpec, vocabulary: Vocabulary, record: bytes) -> Self:
        """Read a redo record.

        Args:
            spec: The model's.
            vocabulary: That it will be added to.
            record: As :meth:`encode` made it.

        Raises:
            DamagedRecord: If it is not whole, or not of this spec.
        """
        meta, payload = codec.unpack_arrays(codec.Kind.REDO, record)
        version, n, rate, novel = (meta.get(name) for name in ("version", "n", "rate", "novel"))
        if not (codec.is_count(version) and codec.is_count(n) and isinstance(rate, float) and 0 <= rate <= 1):
            raise codec.DamagedRecord(codec.Kind.REDO, "its numbers are out of bounds")
        if not vocabulary.admits(novel):
            raise codec.DamagedRecord(codec.Kind.REDO, "its values are not of the model's fields")
        n_bytes = n * examples.example_dtype(spec).itemsize
        if len(payload) < n_bytes:
            raise codec.DamagedRecord(codec.Kind.REDO, "its examples are not of the model's layout")
        learned = examples.read_examples(spec, payload[:n_bytes])
        return cls(
            version, rate, bool(meta.get("initial")), novel, learned, ngrams.read_lessons(spec, payload[n_bytes:])
        )
