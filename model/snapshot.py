"""All that a model has learned, as bytes: weights, optimiser state, vocabulary, version."""

from __future__ import annotations

import numpy as np
import torch

from model import codec
from model.items import Vocabulary
from model.optimiser import Weights
from model.parameters import ParameterLayout, Parameters
from model.spec import ModelSpec


def encode(weights: Weights, vocabulary: Vocabulary, version: int) -> bytes:
    """A record that :func:`decode` reads."""
    meta = {"version": version, "n_updates": weights.n_updates, "values": vocabulary.values}
    tensors = (weights.parameters.flat, weights.first, weights.second)
    return codec.pack_arrays(codec.Kind.WEIGHTS, meta, [tensor.cpu().numpy() for tensor in tensors])


def decode(spec: ModelSpec, layout: ParameterLayout, encoded: bytes) -> tuple[Weights, Vocabulary, int]:
    """Weights, vocabulary and version.

    Raises:
        DamagedRecord: If the record is not whole, or not of this layout.
    """
    meta, payload = codec.unpack_arrays(codec.Kind.WEIGHTS, encoded)
    if len(payload) != 3 * 4 * layout.size:
        raise codec.DamagedRecord(codec.Kind.WEIGHTS, f"{len(payload)} bytes for {layout.size} parameters")
    rows = torch.from_numpy(np.frombuffer(payload, np.float32).copy()).view(3, -1)
    flat, first, second = (row.clone() for row in rows)  # each in memory of its own, as after an update
    weights = Weights(Parameters(layout, flat), first, second, meta["n_updates"])
    return weights, Vocabulary(spec, meta["values"]), meta["version"]
