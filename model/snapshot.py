"""All that a model has learned, as bytes: weights, optimiser state, vocabulary, counts, version."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import codec
from model.items import Vocabulary
from model.ngrams import Counts
from model.optimiser import Weights
from model.parameters import ParameterLayout
from model.spec import ModelSpec


def encode(weights: Weights, vocabulary: Vocabulary, counts: Counts | None, version: int) -> bytes:
    """A record that :func:`decode` reads."""
    meta: dict[str, Any] = {"version": version, "n_updates": weights.n_updates, "values": vocabulary.met}
    arrays: list[NDArray[Any]] = [*weights.arrays]
    if counts is not None:
        meta["counts"], counted = counts.encode()
        arrays += counted
    return codec.pack_arrays(codec.Kind.WEIGHTS, meta, arrays)


def decode(spec: ModelSpec, layout: ParameterLayout, encoded: bytes) -> tuple[Weights, Vocabulary, Counts | None, int]:
    """Weights, vocabulary, counts (``None`` where the spec has none) and version.

    Raises:
        OtherFormat: If the record is whole, but of another format.
        DamagedRecord: If it is not whole, or not of this layout.
    """
    meta, payload = codec.unpack_arrays(codec.Kind.WEIGHTS, encoded)
    n_bytes = 3 * 4 * layout.size
    if len(payload) < n_bytes or (len(payload) > n_bytes and not spec.has_ngrams):
        raise codec.DamagedRecord(codec.Kind.WEIGHTS, f"{len(payload)} bytes for {layout.size} parameters")
    version, n_updates, values = (meta.get(name) for name in ("version", "n_updates", "values"))
    vocabulary = Vocabulary(spec)
    if not (codec.is_count(version) and codec.is_count(n_updates) and vocabulary.admits(values, nameless=True)):
        raise codec.DamagedRecord(codec.Kind.WEIGHTS, "its numbers or values are not the model's")
    counts = Counts.decode(spec, meta.get("counts"), payload[n_bytes:]) if spec.has_ngrams else None
    rows = np.frombuffer(payload[:n_bytes], np.float32).reshape(3, -1)
    flat, first, second = (row.copy() for row in rows)  # each in memory of its own, as after an update
    if not np.isfinite(rows).all():
        raise codec.DamagedRecord(codec.Kind.WEIGHTS, "its weights are not finite")
    if not (second >= 0).all():
        raise codec.DamagedRecord(codec.Kind.WEIGHTS, "its optimiser.second is negative: it is a mean of squares")
    weights = Weights(flat, first, second, n_updates)
    return weights, vocabulary.grown(values), counts, version
