"""Learns what was acknowledged once more, in this process, and compares every bit.

A reply names the weights version that made its prediction. Where weights learn, every micro-batch after the streams'
first items raises the version, so the items that name the same one were a batch, and the versions tell the order. Where
they do not, a stream's items alone decide its belief: some streams are replayed on their own, the rest side by side,
which is not how they shared batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.chaos.ledger import Acknowledged, differing_bits
from benchmarks.chaos.stored import Stored
from benchmarks.chaos.workload import Workload
from model.codec import DamagedRecord
from model.items import item_values
from model.learner import Learner
from model.reply_form import ReplyForm
from service.replies import encode_values

Place = tuple[str, int]
"""A stream and a sequence."""

Replies = Mapping[str, Mapping[int, Acknowledged]]
"""By stream and sequence."""

MAX_NOTES = 20
ALONE = 10
"""Of the streams of a model with frozen weights, one in so many is replayed on its own."""


@dataclass(slots=True)
class Verdict:
    """What comparing found; all numbers are to be 0.

    Args:
        lost: Acknowledged items that the store's beliefs do not hold.
        doubled: Items that the store's beliefs hold and nobody sent, and weight updates that no acknowledged item made.
        belief_bits: That differ between the store's beliefs and the replayed ones.
        reply_bits: Between acknowledged and replayed replies, between those and the ones kept in the store, and
            between the items that were sent and those kept there.
        weight_bits: Between weights recovered from the store and replayed ones.
        notes: What was found, in lines; the first of each kind.
    """

    lost: int = 0
    doubled: int = 0
    belief_bits: int = 0
    reply_bits: int = 0
    weight_bits: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def differing(self) -> int:
        """Bits that differ anywhere."""
        return self.belief_bits + self.reply_bits + self.weight_bits

    def note(self, line: str) -> None:
        """Add a line, if there are not too many."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(line)

    def add(self, other: Verdict) -> None:
        """Count another model's as well."""
        self.lost += other.lost
        self.doubled += other.doubled
        self.belief_bits += other.belief_bits
        self.reply_bits += other.reply_bits
        self.weight_bits += other.weight_bits
        self.notes += other.notes


def judge(workload: Workload, replies: Replies, sent: Mapping[str, int], stored: Stored) -> Verdict:
    """Compare what was acknowledged with what the store holds, and both with a replay.

    Args:
        workload: Knows every item.
        replies: What was acknowledged.
        sent: Highest sequence that was sent, by stream.
        stored: What the store holds.
    """
    verdict = Verdict()
    _count(workload, replies, sent, stored, verdict)
    replay = _Replay(workload, replies, verdict)
    for batch in batches(workload, replies):
        replay.learn(batch)
    for stream in replies:
        bits = differing_bits(stored.beliefs.get(stream, b""), replay.beliefs.get(stream, b""))
        if bits:
            verdict.belief_bits += bits
            verdict.note(f"{workload.model}, {stream!r}: {bits} bits of the belief differ")
    for (stream, sequence), kept in stored.replies.items():
        bits = differing_bits(kept or b"", replies[stream][sequence].reply)
        if bits:
            verdict.reply_bits += bits
            verdict.note(f"{workload.model}, {stream!r}, item {sequence}: {bits} bits of the kept reply differ")
    for (stream, sequence), observed in stored.items.items():
        item = workload.item(stream, sequence)
        values = encode_values(item_values(workload.spec, item))
        bits = differing_bits(observed.values, values) + (observed.timestamp_us != item.timestamp_us)
        if bits:
            verdict.reply_bits += bits
            verdict.note(f"{workload.model}, {stream!r}, item {sequence}: {bits} bits of the kept item differ")
    verdict.weight_bits += differing_bits(stored.weights, replay.learner.encode_weights())
    if verdict.weight_bits:
        versions = f"version {stored.version} in the store, {replay.learner.version} replayed"
        verdict.note(f"{workload.model}: {verdict.weight_bits} bits of the weights differ ({versions})")
    return verdict


def batches(workload: Workload, replies: Replies) -> Iterator[list[Place]]:
    """Micro-batches in an order that leads where the service's own did, each in the order of the streams' names."""
    if not workload.learns:
        alone, together = list(replies)[::ALONE], [stream for i, stream in enumerate(replies) if i % ALONE]
        for company in [*([stream] for stream in alone), together]:
            for sequence in range(1, max((max(replies[stream]) for stream in company), default=0) + 1):
                yield [(stream, sequence) for stream in sorted(company) if sequence in replies[stream]]
        return
    by_version: dict[int, list[Place]] = defaultdict(list)
    for stream, of_stream in replies.items():
        for sequence, acknowledged in of_stream.items():
            by_version[acknowledged.version].append((stream, sequence))
    for version in sorted(by_version):
        yield sorted(by_version[version])


def _count(workload: Workload, replies: Replies, sent: Mapping[str, int], stored: Stored, verdict: Verdict) -> None:
    """What is lost and doubled, by numbers alone."""
    learner = Learner(workload.spec)
    applied: dict[str, int] = {}
    for stream, belief in stored.beliefs.items():
        try:
            applied[stream] = int(learner.decode_beliefs([belief]).sequence[0])
        except DamagedRecord:  # nothing of it can be had any more
            applied[stream] = 0
    for stream in {*applied, *sent}:
        held, acknowledged, most = applied.get(stream, 0), max(replies.get(stream, {}), default=0), sent.get(stream, 0)
        if held < acknowledged:
            verdict.lost += acknowledged - held
            verdict.note(f"{workload.model}, {stream!r}: {acknowledged} items acknowledged, {held} held")
        if held > most:
            verdict.doubled += held - most
            verdict.note(f"{workload.model}, {stream!r}: {most} items sent, {held} held")
    if workload.learns:
        named = {acknowledged.version for of_stream in replies.values() for acknowledged in of_stream.values()}
        unnamed = set(range(1, stored.version + 1)) - named
        verdict.doubled += len(unnamed)
        if unnamed:
            verdict.note(f"{workload.model}: no acknowledged item made weights version {min(unnamed)}")


class _Replay:
    """A learner and the beliefs of its streams."""

    def __init__(self, workload: Workload, replies: Replies, verdict: Verdict) -> None:
        self._workload = workload
        self._replies = replies
        self._verdict = verdict
        self.learner = Learner(workload.spec)
        self.beliefs: dict[str, bytes] = {}

    def learn(self, batch: Sequence[Place]) -> None:
        """Learn one micro-batch, and compare its replies."""
        streams = [stream for stream, _ in batch]
        beliefs = self.learner.decode_beliefs([self.beliefs.get(stream) for stream in streams])
        items = [self._workload.item(stream, sequence) for stream, sequence in batch]
        step = self.learner.step(beliefs, items)
        form = ReplyForm(self._workload.spec)
        for (stream, sequence), reply in zip(batch, step.replies(), strict=True):
            acknowledged = self._replies[stream][sequence].reply
            bits = differing_bits(acknowledged, form.reply(stream, reply))
            if bits:
                self._verdict.reply_bits += bits
                self._verdict.note(f"{self._workload.model}, {stream!r}, item {sequence}: {bits} bits of the reply")
        self.beliefs.update(zip(streams, step.encoded_beliefs, strict=True))
        self.learner.adopt(step)
