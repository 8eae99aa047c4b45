"""A model or a stream as a file of named arrays: for keeping, moving and looking at.

Both kinds name their spec, and hold what the store holds, bit for bit: whoever reads a model back goes on as the one
that was written would have. Arrays are named after what they are:

- ``weights.NAME``, ``optimiser.first.NAME``, ``optimiser.second.NAME``: parameters as :mod:`model.parameters` names
  them, and the running means of their gradients and of the squares of these;
- ``counts.NAME``: see :class:`model.ngrams.counts.Counts`; of its rows only those in use, and their ``places``;
- ``beliefs.NAME``, (S, …): of S streams, by the parts of :func:`model.belief.belief_dtype`;
- ``vocabulary``: the values each category field knows, ``streams``: the names of the S streams; JSON in UTF-8.

:mod:`model.archive_reading` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from model.belief import Beliefs
from model.learner import Learner
from model.ngrams.counts import ENCODED
from model.soundness import named_parts
from model.spec import ModelSpec
from model.tensors import as_json, write

FORMAT_VERSION = 1
MODEL, STREAM = "stepahead-model", "stepahead-stream"

WEIGHTS = ("weights", "optimiser.first", "optimiser.second")
"""What the names of arrays as long as all parameters begin with."""


def pack_model(learner: Learner, model: str, streams: Mapping[str, bytes], library: str) -> bytes:
    """A model's file.

    Args:
        learner: Its; not changed.
        model: Its name.
        streams: Encoded beliefs by name, those that are to go with it.
        library: Version of the library that writes.

    Raises:
        DamagedRecord: If a belief is damaged.
    """
    weights, layout = learner.weights, learner.network.layout
    arrays: dict[str, NDArray[Any]] = {"vocabulary": as_json(learner.vocabulary.values)}
    for prefix, vector in zip(WEIGHTS, weights.arrays, strict=True):
        arrays.update({f"{prefix}.{name}": part for name, part in layout.arrays(vector).items()})
    texts = {"weights_version": str(learner.version), "n_updates": str(weights.n_updates)}
    if learner.counts is not None:
        numbers, counted = learner.counts.encode()
        texts["counts_rows"] = str(numbers["n_rows"])
        arrays.update({f"counts.{name}": array for name, array in zip(ENCODED, counted, strict=True)})
    if streams:
        arrays["streams"] = as_json(list(streams))
        arrays.update(_belief_arrays(learner.decode_beliefs(list(streams.values()))))
    return write({**_texts(MODEL, model, learner.spec, library), **texts}, arrays)


def pack_stream(learner: Learner, model: str, stream: str, belief: bytes, library: str) -> bytes:
    """A stream's file: its belief, and the vocabulary that the belief's slots name.

    Args:
        learner: The model's; not changed.
        model: Its name.
        stream: The stream's name.
        belief: Encoded.
        library: Version of the library that writes.

    Raises:
        DamagedRecord: If the belief is damaged.
    """
    beliefs = learner.decode_beliefs([belief])
    texts = {"stream": stream, "sequence": str(int(beliefs.sequence[0]))}
    arrays = {"vocabulary": as_json(learner.vocabulary.values), **_belief_arrays(beliefs)}
    return write({**_texts(STREAM, model, learner.spec, library), **texts}, arrays)


def _texts(kind: str, model: str, spec: ModelSpec, library: str) -> dict[str, str]:
    return {
        "format": kind,
        "format_version": str(FORMAT_VERSION),
        "library_version": library,
        "model": model,
        "spec": json.dumps(spec.to_dict(), ensure_ascii=False),
    }


def _belief_arrays(beliefs: Beliefs) -> dict[str, NDArray[Any]]:
    return {f"beliefs.{name}": part for name, part in named_parts(beliefs.records).items()}
