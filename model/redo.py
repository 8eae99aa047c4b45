"""What a weight update is computed again from, as bytes: a redo record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model import codec, examples, ngrams
from model.codec import DamagedRecord, Kind
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


def write(redo: Redo) -> bytes:
    """A record that :func:`read` reads."""
    meta = {"version": redo.version, "rate": redo.rate, "initial": redo.initial, "novel": redo.novel}
    if any(redo.novel):
        meta["known"] = redo.known
    parts = [redo.examples] if redo.lessons is None else [redo.examples, redo.lessons]
    return codec.pack_arrays(Kind.REDO, {**meta, "n": len(redo.examples)}, parts)


def read(spec: ModelSpec, record: bytes) -> Redo:
    """Read a record of this spec.

    Raises:
        OtherFormat: If it is whole, but of another format.
        DamagedRecord: If it is not whole, or not of this spec.
    """
    meta, payload = codec.unpack_arrays(Kind.REDO, record)
    dtype = examples.example_dtype(spec)
    try:
        n_bytes = int(meta["n"]) * dtype.itemsize
        if not 0 <= n_bytes <= len(payload):
            raise DamagedRecord(Kind.REDO, "its examples are not of the model's layout")
        learned = np.frombuffer(payload[:n_bytes], dtype).copy()  # torch takes no read-only memory
        return Redo(
            version=int(meta["version"]),
            rate=float(meta["rate"]),
            initial=bool(meta["initial"]),
            novel=meta["novel"],
            known=meta.get("known", []),
            examples=learned,
            lessons=ngrams.read_lessons(spec, payload[n_bytes:]),
        )
    except (KeyError, TypeError) as error:
        raise DamagedRecord(Kind.REDO, "it lacks a part") from error
