"""The rounds of a group, computed one on the other; nothing of it holds before the group is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model import codec
from model.belief import Beliefs, belief_dtype
from model.codec import DamagedRecord, checksum_of
from model.drift import n_begun
from model.learner import Learner
from model.step import Step
from service.batcher import Entry, items_of
from service.belief_cache import Met
from service.errors import ServiceError
from service.store import BeliefChange, Kept

GROUP_S = 0.025
"""A group begins no further round after so long: what it adds to the wait of other models, and of new items."""

GROUP_BYTES = 8 * 2**20
"""Nor after it has so many bytes to write, so that the commit is done well within the store's deadline."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An item, what a commit is to keep of it, and what is answered once it did.

    Args:
        entry: The item.
        kept: What is to be written.
        answer: The reply, as it is sent.
    """

    entry: Entry
    kept: Kept
    answer: bytes


@dataclass(slots=True)
class Draft:
    """What the rounds of a group lead to.

    Args:
        learner: A copy of the one before the group that has adopted its steps; or that one itself, where a single
            step may still be adopted in place, which spares a copy of what a model has counted.
        last: The step that is still to be adopted; ``None`` for none.
        attempts: The items that were learned, by round.
        redo: The records of the rounds that changed the weights.
        changes: What is written of each stream: its last belief, and what its ring has room for.
        damaged: Streams whose belief cannot be read, and why.
        n_done: Rounds that were computed; those after it are to be taken again.
        round_s: How long each took.
        n_drifts: Streams that began to drift.
    """

    learner: Learner
    last: Step | None = None
    attempts: list[list[Attempt]] = field(default_factory=list)
    redo: list[bytes] = field(default_factory=list)
    changes: list[BeliefChange] = field(default_factory=list)
    damaged: dict[str, ServiceError] = field(default_factory=dict)
    n_done: int = 0
    round_s: list[float] = field(default_factory=list)
    n_drifts: int = 0

    @property
    def version(self) -> int:
        """Of the weights after the group."""
        return self.learner.version if self.last is None else self.last.version

    @property
    def has_lessons(self) -> bool:
        """Whether there are counts that learn when it is adopted, which takes some time."""
        return self.last is not None and self.last.lessons is not None

    @property
    def can_be_built_upon(self) -> bool:
        """Whether ``learner`` is the one after the group already."""
        return self.last is None

    def adopt(self) -> Learner:
        """The learner that goes on from the group, once that is committed."""
        if self.last is not None:
            self.learner.adopt(self.last)
            self.last = None
        return self.learner

    def adopt_last(self, before: Learner) -> None:
        """Let a copy of the learner before the group adopt the last step."""
        if self.learner is before:
            self.learner = before.copy()
        self.adopt()


def learn(learner: Learner, rounds: Sequence[Sequence[Entry]], met: Mapping[str, Met], ring: int) -> Draft:
    """Compute rounds until they are done, or take long, or make much to write; ``learner`` stays as it is.

    Each round computes on what the rounds before it left of beliefs, weights, values and counts. Where one cannot be
    computed it is left to the next group, whose first round it is; a first round raises what is wrong.

    Args:
        learner: That everything is known of.
        rounds: At most one entry per stream in each, which is next in its stream.
        met: The belief of each stream that has one.
        ring: How many items a stream keeps.
    """
    begun_s = time.perf_counter()
    draft = Draft(learner)
    running, n_bytes = _Running(learner, met, draft.damaged), 0
    for taken in rounds:
        round_s = time.perf_counter()
        if draft.n_done and (round_s - begun_s > GROUP_S or n_bytes > GROUP_BYTES):
            break
        entries = running.readable(taken)
        if entries:
            if draft.last is not None:
                draft.adopt_last(learner)
            try:
                step, attempts = running.advance(draft.learner, entries)
            except Exception:
                if not draft.n_done:
                    raise
                break
            draft.last = step
            draft.attempts.append(attempts)
            draft.n_drifts += n_begun(step.beliefs.records)
            if step.redo is not None:
                draft.redo.append(step.redo)
                n_bytes += len(step.redo)
            n_bytes += sum(len(attempt.kept.reply) for attempt in attempts)
        draft.n_done += 1
        draft.round_s.append(time.perf_counter() - round_s)
    if draft.last is not None and (draft.learner is not learner or learner.counts is None):
        draft.adopt_last(learner)
    draft.changes = _changes(draft.attempts, running.encoded, met, ring)
    return draft


def _changes(
    rounds: Sequence[Sequence[Attempt]], beliefs: Mapping[str, bytes], met: Mapping[str, Met], ring: int
) -> list[BeliefChange]:
    kept: dict[str, list[Kept]] = {}
    for attempts in rounds:
        for attempt in attempts:
            kept.setdefault(attempt.entry.stream, []).append(attempt.kept)
    changes = []
    for stream, items in kept.items():
        last, there = items[-1], met.get(stream)
        changes.append(
            BeliefChange(
                stream,
                last.sequence,
                beliefs[stream],
                last.reply,
                last.awaited_by,
                earlier=items[-ring:-1],
                n_items=len(items),
                updated_us=None if there is None else there.updated_us,
            )
        )
    return changes


class _Running:
    """The beliefs of a group's streams as its rounds go on.

    Args:
        learner: Of the model.
        met: Those that the group begins with.
        damaged: Takes what cannot be read.
    """

    def __init__(self, learner: Learner, met: Mapping[str, Met], damaged: dict[str, ServiceError]) -> None:
        self._dtype = belief_dtype(learner.spec)
        self._met = met
        self._damaged = damaged
        self._fresh = memoryview(learner.fresh_beliefs(1).records.tobytes())
        self._payloads: dict[str, memoryview] = {}
        self.encoded: dict[str, bytes] = {}
        self._streams: list[str] = []  # of the last round
        self._beliefs: Beliefs | None = None

    def readable(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those whose streams have a belief that can be read, or none yet."""
        for entry in entries:
            if entry.stream not in self._payloads and entry.stream not in self._damaged:
                self._open(entry.stream)
        return [entry for entry in entries if entry.stream not in self._damaged]

    def advance(self, learner: Learner, entries: Sequence[Entry]) -> tuple[Step, list[Attempt]]:
        """One step of these streams, and its results as they are stored and sent; changes the beliefs only."""
        streams = [entry.stream for entry in entries]
        beliefs = self._beliefs if streams == self._streams else None
        if beliefs is None:
            joined = bytearray().join([self._payloads[stream] for stream in streams])
            beliefs = Beliefs(np.frombuffer(joined, self._dtype))
        step = learner.step(beliefs, items_of(entries))
        replies = step.replies([entry.frame.experts for entry in entries])
        form, encoded, attempts = learner.form, step.encoded_beliefs, []
        for entry, reply, belief in zip(entries, replies, encoded, strict=True):
            stream = entry.stream
            kept = Kept(reply.sequence, reply.encode(), self._checksum(stream), checksum_of(belief))
            attempts.append(Attempt(entry, kept, form.reply(stream, reply)))
        self.encoded.update(zip(streams, encoded, strict=True))
        self._payloads.update(zip(streams, map(codec.payload_of, encoded), strict=True))
        self._streams, self._beliefs = streams, step.beliefs
        return step, attempts

    def _checksum(self, stream: str) -> bytes:
        """Of the belief that awaits the stream's next item; empty where there is none."""
        if stream in self.encoded:
            return checksum_of(self.encoded[stream])
        return checksum_of(self._met[stream].belief) if stream in self._met else b""

    def _open(self, stream: str) -> None:
        """Take in the belief that a stream begins with; one that was committed here needs no check."""
        there = self._met.get(stream)
        if there is None:
            self._payloads[stream] = self._fresh
        elif there.updated_us is not None:
            self._payloads[stream] = codec.payload_of(there.belief)
        else:
            try:
                payload = codec.unpack(codec.Kind.BELIEF, there.belief, self._dtype.itemsize)
                if np.frombuffer(payload, self._dtype)["sequence"][0] != there.sequence:
                    raise DamagedRecord(codec.Kind.BELIEF, f"it is not of sequence {there.sequence}")
            except DamagedRecord as error:
                self._damaged[stream] = ServiceError(f"the stored belief is damaged: {error}", stream=stream)
            else:
                self._payloads[stream] = payload
