"""How large a model may be: parts that are each within their bounds can still make one that no machine holds."""

from __future__ import annotations

from model import features
from model.belief import belief_dtype
from model.parameters import ParameterLayout
from model.spec import ModelSpec

MAX_WEIGHTS = 2**26
"""Most weights: a quarter of a gigabyte, of which optimiser and a step in progress hold several."""

MAX_BELIEF_BYTES = 8 * 2**20
"""Most bytes of one stream's belief: it is read and written whole at every item."""


def n_weights(spec: ModelSpec) -> int:
    """How many weights a model has."""
    n_slots = sum(field.n_slots for field in spec.categories)
    return ParameterLayout(spec, features.n_dense(spec), n_slots, n_slots + len(spec.reals)).size


def check_size(spec: ModelSpec) -> None:
    """Refuse a model that is too large to serve.

    Raises:
        ValueError: If it has too many weights, or its beliefs are too large; the message says what to do.
    """
    if (found := n_weights(spec)) > MAX_WEIGHTS:
        raise ValueError(
            f"the model has {found:,} weights, at most {MAX_WEIGHTS:,} are allowed: fewer units, layers or values"
        )
    if (found := belief_dtype(spec).itemsize) > MAX_BELIEF_BYTES:
        raise ValueError(
            f"a stream's belief takes {found:,} bytes, at most {MAX_BELIEF_BYTES:,} are allowed: fewer fields or values"
        )
