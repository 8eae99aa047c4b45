"""Network, counts and their blend, mixed by how well each has done: what is predicted of category fields.

The blend is the product of powers of what network and counts say. Its exponents are the model's, by kind of context,
and follow the gradient of the log loss, scaled by its curvature. The three are mixed by the stream's own weights:
Bayes' rule, of which each item returns a small share to the start (fixed share; Herbster & Warmuth, "Tracking the best
expert", 1998), so that what failed once can come back. A stream starts with the weights that the model has by then
from all its streams' items, by the same rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model import codec
from model.kernels import FACTS, SLOTS, VALUES, kernel
from model.ngrams import lookup, predicting
from model.ngrams.counts import KINDS, ORDER, Counts
from model.ngrams.learning import SHARE
from model.ngrams.lookup import BEGIN, LEAST, MISSING
from model.ngrams.predicting import KEPT_SLOTS, KEPT_TOKENS, WEIGHTS
from model.spec import ModelSpec

Floats = NDArray[np.float64]

EXPERTS = ("network", "counts", "blend")
_EXACT = 1e-6  # of what was rounded
_MOST_NATS = -math.log(lookup.LEAST) + _EXACT


def mix_dtype(n_categories: int) -> np.dtype[np.void]:
    """Layout of a stream's part: ``weights`` (C, 3) of the experts, and the last ``tokens`` (C, N), newest first."""
    tokens = n_categories * ORDER
    return np.dtype(
        [
            ("weights", np.float64, (n_categories, len(EXPERTS))),
            ("tokens", np.int32, (n_categories, ORDER)),
            ("filler", np.int32, (tokens % 2,)),
        ]
    )


@lru_cache
def lesson_dtype(n_categories: int) -> np.dtype[np.void]:
    """Layout of what the counts learn from one item of a stream; see :func:`model.ngrams.learning.learn`.

    What the experts gave the item (``likelihood``, (C, 3)), the ``slopes`` (C, 4) of the blend, the ``tokens`` (C, N)
    before the item, its slots as ``observed`` (C,) when it was scored and as ``named`` (C,) from then on, how many
    values were known (C,), and the ``kinds`` (C,) of context.
    """
    return np.dtype(
        [
            ("likelihood", np.float64, (n_categories, len(EXPERTS))),
            ("slopes", np.float64, (n_categories, 4)),
            ("tokens", np.int32, (n_categories, ORDER)),
            *((name, np.int32, (n_categories,)) for name in ("observed", "named", "n_known", "kinds")),
        ]
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """What the experts gave the items.

    Args:
        weights: Of the experts after the items, (B, C, 3).
        lessons: What the counts can learn, (B,).
    """

    weights: Floats
    lessons: np.ndarray


class Opinion(NamedTuple):
    """What each expert says of one stream's next item, in the order of ``EXPERTS``.

    Args:
        probabilities: (E, V), not floored.
        weights: In the mix, (C, E).
    """

    probabilities: Floats
    weights: Floats


def worth_learning(lessons: np.ndarray) -> np.ndarray | None:
    """The lessons of streams that observed anything, those that could be read back; ``None`` where there are none."""
    kept = (lessons["observed"] >= 0).any(1) & _within(lessons)
    return lessons if kept.all() else lessons[kept] if kept.any() else None


def _within(lessons: np.ndarray) -> NDArray[np.bool_]:
    """Whether the numbers of each lesson are finite, and of probabilities and their logarithms, (B,)."""
    found = np.empty(len(lessons), np.bool_)
    _are_within(lessons["likelihood"], lessons["slopes"], found)
    return found


def read_lessons(spec: ModelSpec, payload: memoryview) -> np.ndarray | None:
    """Lessons from the bytes of a redo record; ``None`` where there are none.

    Raises:
        DamagedRecord: If they are not lessons of this spec.
    """
    if not len(payload):
        return None
    dtype = lesson_dtype(len(spec.categories))
    if not spec.has_ngrams or len(payload) % dtype.itemsize:
        raise codec.DamagedRecord(codec.Kind.REDO, "its lessons are not of the model's layout")
    lessons = np.frombuffer(payload, dtype).copy()  # kernels take no read-only memory
    n_slots = np.array([field.n_slots for field in spec.categories])
    if (
        any((lessons[name] < -1).any() or (lessons[name] >= n_slots).any() for name in ("observed", "named"))
        or (lessons["named"][lessons["observed"] >= 0] < 0).any()
        or (lessons["kinds"] < 0).any()
        or (lessons["kinds"] >= KINDS).any()
        or not _within(lessons).all()
    ):
        raise codec.DamagedRecord(codec.Kind.REDO, "its lessons are out of bounds")
    return lessons


def fresh(records: np.ndarray) -> None:
    """Set records to those of a stream that has seen nothing; its weights are the model's from its first item on."""
    records["weights"] = 1 / len(EXPERTS)
    records["tokens"] = lookup.BEGIN


def judge(
    counts: Counts,
    records: np.ndarray,
    logits: NDArray[np.float32],
    n_known: NDArray[np.int32],
    observed: NDArray[np.int64],
    named: NDArray[np.int64],
) -> Judged:
    """Score what each expert said of the items; neither ``counts`` nor ``records`` change.

    What they said is computed again, under the counts of today.

    Args:
        counts: The model's.
        records: Of the streams, (B,), before the items.
        logits: That the network had for the items, (B, V).
        n_known: Values known when the items were predicted, (B, C).
        observed: Slots as they were known then, (B, C); -1 where missing or nothing was predicted.
        named: Slots as they are known now, (B, C).
    """
    lessons = np.zeros(len(observed), lesson_dtype(observed.shape[1]))
    lessons["tokens"], lessons["n_known"] = records["tokens"], n_known
    lessons["observed"], lessons["named"] = observed, named
    seen, likelihood = lessons["observed"], lessons["likelihood"]
    predicting.judge(
        *(*counts.used, lessons["tokens"], logits, lessons["n_known"], seen),
        *(likelihood, lessons["kinds"], lessons["slopes"]),
    )
    weights = np.empty(records["weights"].shape)
    _weigh(counts.weights, records["tokens"], records["weights"], likelihood, seen, weights)
    return Judged(weights, lessons)


def take_in(records: np.ndarray, weights: Floats, named: NDArray[np.int64]) -> None:
    """Take the weights over and let the items follow the tokens; ``records`` is changed.

    A missing value takes a place among the tokens: what came before it lies further back than without it.
    """
    _follow(records["weights"], records["tokens"], weights, named)


def probabilities(
    counts: Counts, records: np.ndarray, logits: NDArray[np.float32], n_known: NDArray[np.int64]
) -> Floats:
    """The experts' mix for the next items, (B, V), not floored.

    Args:
        counts: The model's.
        records: Of the streams, (B,).
        logits: The network's, (B, V).
        n_known: Values known by now, (C,).
    """
    mixed = np.zeros(logits.shape)
    predicting.predict(*counts.used, records["tokens"], logits, n_known, records["weights"], mixed)
    return mixed


def opinion(
    counts: Counts, records: np.ndarray, logits: NDArray[np.float32], n_known: NDArray[np.int64], i: int
) -> Opinion:
    """What each expert says of the next item of stream ``i``; the other arguments as for :func:`probabilities`."""
    own = np.repeat(records[i : i + 1], len(EXPERTS))
    own["weights"] = np.eye(len(EXPERTS))[:, None]
    said = probabilities(counts, own, np.tile(logits[i], (len(EXPERTS), 1)), n_known)
    return Opinion(said, records["weights"][i])


@kernel(WEIGHTS, WEIGHTS, FACTS)
def _are_within(likelihood: np.ndarray, slopes: np.ndarray, found: np.ndarray) -> None:
    for b in range(found.size):
        found[b] = True
        for c in range(slopes.shape[1]):
            for e in range(2):
                curvature = slopes[b, c, 2 + e]
                if not (abs(slopes[b, c, e]) <= _MOST_NATS and 0 <= curvature <= _MOST_NATS**2):
                    found[b] = False
            for share in likelihood[b, c]:
                if not 0 <= share <= 1 + _EXACT:
                    found[b] = False


@kernel(VALUES, KEPT_TOKENS, WEIGHTS, WEIGHTS, KEPT_SLOTS, WEIGHTS)
def _weigh(
    start: np.ndarray,
    tokens: np.ndarray,
    weights: np.ndarray,
    likelihood: np.ndarray,
    observed: np.ndarray,
    made: np.ndarray,
) -> None:
    """Fill in the experts' weights after the items, (B, C, 3): Bayes' rule, and a share goes back to the start."""
    for b in range(observed.shape[0]):
        for c in range(observed.shape[1]):
            before = start[c] if tokens[b, c, 0] == BEGIN else weights[b, c]
            total = 0.0
            for e in range(before.size):
                made[b, c, e] = before[e] * max(likelihood[b, c, e], LEAST) if observed[b, c] >= 0 else before[e]
                total += made[b, c, e]
            if observed[b, c] >= 0:
                for e in range(before.size):
                    made[b, c, e] /= total
                    made[b, c, e] += SHARE * (start[c, e] - made[b, c, e])


@kernel(WEIGHTS, KEPT_TOKENS, WEIGHTS, SLOTS)
def _follow(kept: np.ndarray, tokens: np.ndarray, weights: np.ndarray, named: np.ndarray) -> None:
    for b in range(named.shape[0]):
        for c in range(named.shape[1]):
            kept[b, c] = weights[b, c]
            for k in range(tokens.shape[2] - 1, 0, -1):
                tokens[b, c, k] = tokens[b, c, k - 1]
            tokens[b, c, 0] = named[b, c] if named[b, c] >= 0 else MISSING
