"""What models and their streams take: in the store, and in the memory of the service. Pure: from the spec alone."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from model.belief import belief_dtype
from model.codec import Kind as RecordKind
from model.codec import pack
from model.examples import example_dtype
from model.features import n_dense
from model.items import Item
from model.learner import Learner
from model.ngrams.counts import MAX_ROWS
from model.ngrams.lookup import ROW
from model.ngrams.mix import lesson_dtype
from model.parameters import ParameterLayout
from model.spec import ModelSpec
from service.store.ring import PER_PART, Kept
from service.weights_log import REDO_TO_SNAPSHOT

MAX_VALUE_BYTES = 2**29
"""Most bytes of one value in the store; a snapshot of the weights is one."""

MAX_BELIEF_BYTES = 2**23
"""Most bytes of a belief, so that one read or commit of it is done well within the store's deadline."""

MODEL_BYTES = 100_000
"""What an open model takes beside weights and counts: engine, task, network, parts of metrics."""

STREAM_NAME_BYTES = 16
"""Length of a stream's name, where nothing else is said."""

STREAM_KEY_BYTES = 540
"""What the store adds for a stream: key, hash, its fields but the replies, the place among the names. Measured."""

PART_KEY_BYTES = 58
"""What the store adds for each part of a stream's ring of replies: a field, its place in the hash. Measured."""

_OPEN_VALUE = "value-{:02d}"  # as long as the values of open vocabularies are taken to be
_WARM_UP = 24  # items after which a reply has all its parts, and a category knows more values than a reply names
_STEP_US = 3_600_001_000  # between items: most are timed to the millisecond
_COPIES = 4  # of the parameters: themselves, two means of the optimiser, its step factors
_SAVED_COPIES = 3  # of these in a snapshot
_FLOAT = 4  # bytes, and as many of a count
_HEAD_BYTES = 160  # header and numbers of a snapshot or a redo record, and what the store's stream adds


@dataclass(frozen=True, slots=True)
class Size:
    """What streams of a model take, in bytes where the name says so.

    Args:
        streams: How many.
        belief_bytes: A belief as it is written.
        reply_bytes: A kept reply with its item, without what experts said.
        kept_replies: Replies kept per stream.
        key_bytes: What the store adds for a stream: its keys, its place among the names, what allocating rounds up.
        stream_bytes: A stream that has had ``kept_replies`` items or more, in the store.
        streams_bytes: All of them.
        snapshot_bytes: The two snapshots of the weights; with counts at their largest.
        redo_bytes: The redo records after the older one, at most, where each update is of one stream.
        store_bytes: All of it in the store's memory.
        memory_bytes: The open model in the service's memory, with counts at their largest.
    """

    streams: int
    belief_bytes: int
    reply_bytes: int
    kept_replies: int
    key_bytes: int
    stream_bytes: int
    streams_bytes: int
    snapshot_bytes: int
    redo_bytes: int
    store_bytes: int
    memory_bytes: int

    def to_dict(self) -> dict[str, int]:
        """As plain JSON values."""
        return asdict(self)


def memory_bytes(learner: Learner) -> int:
    """What an open model takes in memory, nearly."""
    counts = 0 if learner.counts is None else learner.counts.rows.nbytes
    return MODEL_BYTES + _COPIES * int(learner.weights.flat.nbytes) + counts


def size_of(
    spec: ModelSpec,
    streams: int,
    *,
    kept_replies: int,
    snapshot_every_updates: int,
    name_bytes: int = STREAM_NAME_BYTES,
) -> Size:
    """Compute what ``streams`` streams of a model take.

    Args:
        spec: The model's.
        streams: At least 0.
        kept_replies: As set.
        snapshot_every_updates: As set.
        name_bytes: Length of a stream's name.

    Raises:
        ValueError: If the model is too large for the service.
    """
    check_size(spec)
    belief, reply = _belief_bytes(spec), _reply_bytes(spec)
    key = STREAM_KEY_BYTES + 2 * (name_bytes - STREAM_NAME_BYTES) + PART_KEY_BYTES * math.ceil(kept_replies / PER_PART)
    stream = belief + reply * kept_replies + key
    snapshot = _snapshot_bytes(spec)
    redo = 2 * min(snapshot_every_updates * _redo_bytes(spec), REDO_TO_SNAPSHOT * snapshot + _redo_bytes(spec))
    return Size(
        streams=streams,
        belief_bytes=belief,
        reply_bytes=reply,
        kept_replies=kept_replies,
        key_bytes=key,
        stream_bytes=stream,
        streams_bytes=streams * stream,
        snapshot_bytes=2 * snapshot,
        redo_bytes=redo,
        store_bytes=streams * stream + 2 * snapshot + redo,
        memory_bytes=MODEL_BYTES + _COPIES * _FLOAT * _n_parameters(spec) + _counts_bytes(spec),
    )


def check_size(spec: ModelSpec) -> None:
    """Return if the service can run a model.

    Raises:
        ValueError: If its weights would be too large to save, or a belief too large to commit.
    """
    snapshot, belief = _snapshot_bytes(spec), _belief_bytes(spec)
    if snapshot > MAX_VALUE_BYTES:
        raise ValueError(
            f"the weights take up to {snapshot} bytes to save, at most {MAX_VALUE_BYTES} can be: fewer hidden units, "
            "layers or values of categories"
        )
    if belief > MAX_BELIEF_BYTES:
        raise ValueError(
            f"a stream takes {belief} bytes, at most {MAX_BELIEF_BYTES} may be: fewer values of categories, hidden "
            "units or items in the window"
        )


def _n_parameters(spec: ModelSpec) -> int:
    return ParameterLayout.of(spec, n_dense(spec)).size


def _belief_bytes(spec: ModelSpec) -> int:
    return len(pack(RecordKind.BELIEF, b"")) + belief_dtype(spec).itemsize


def _counts_bytes(spec: ModelSpec) -> int:
    """Of the counts of categories, at their largest."""
    return MAX_ROWS * ROW * _FLOAT if spec.has_ngrams else 0


def _snapshot_bytes(spec: ModelSpec) -> int:
    # Of the rows of the counts at most half are in use, each with its place.
    counts = _counts_bytes(spec) * (ROW + 1) // (2 * ROW)
    values = sum(f.n_slots * 16 for f in spec.categories)
    return _HEAD_BYTES + _SAVED_COPIES * _FLOAT * _n_parameters(spec) + counts + values


def _redo_bytes(spec: ModelSpec) -> int:
    """Of the record of one update that learned from one stream."""
    lesson = lesson_dtype(len(spec.categories)).itemsize if spec.has_ngrams else 0
    return _HEAD_BYTES + example_dtype(spec).itemsize + lesson


def _reply_bytes(spec: ModelSpec) -> int:
    """Of what a stream that has run for a while keeps of an item.

    It is found by the smallest network, which answers in the same form.
    """
    learner = Learner(replace(spec, hidden=1, layers=1, window=1))
    beliefs, source, replies = learner.fresh_beliefs(1), np.random.default_rng(0), []
    vocabularies = [f.values or _open_values(f.capacity or 0) for f in spec.categories]
    for n in range(_WARM_UP):
        item = Item(
            tuple(source.standard_normal(len(spec.reals)).tolist()),
            tuple(values[n % len(values)] for values in vocabularies),
            n * _STEP_US,
        )
        step = learner.step(beliefs, [item])
        learner.adopt(step)
        beliefs = step.beliefs
        replies.append(len(Kept(1, step.replies()[0].encode()).encode()))
    return max(replies)


def _open_values(capacity: int) -> tuple[str, ...]:
    return tuple(_OPEN_VALUE.format(i) for i in range(min(capacity, _WARM_UP)))
