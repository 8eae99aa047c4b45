"""What of a batch is to be learned, and learning it; resends, gaps and stale items are answered here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.belief import Beliefs
from model.codec import DamagedRecord, checksum_of
from model.items import item_values
from model.learner import Learner
from model.step import Step
from service.batcher import Entry
from service.compute import ComputeThread
from service.errors import SequenceGap, SequenceStale, ServiceError, StoreUnavailable
from service.metrics import Metrics
from service.replies import encode_reply, encode_values, mark_duplicate
from service.store import BeliefChange, KeptItem, Partition, StoredStream


@dataclass(frozen=True, slots=True)
class Todo:
    """The entries that are next in their streams, and the beliefs they meet, in the same order.

    Args:
        entries: To be learned.
        beliefs: Decoded.
        awaited_by: The checksum of each belief as it is stored; empty where there is none yet.
    """

    entries: list[Entry]
    beliefs: Beliefs
    awaited_by: list[bytes]


async def settle(
    batch: Sequence[Entry],
    stored: Sequence[StoredStream | None],
    learner: Learner,
    partition: Partition,
    compute: ComputeThread,
    metrics: Metrics,
) -> Todo:
    """Compare each entry's sequence with its stream's belief; answer all that is not next.

    Args:
        batch: At most one entry per stream.
        stored: What the store holds of each entry's stream.
        learner: Decodes the beliefs.
        partition: Holds the replies kept for resends.
        compute: Where beliefs are decoded.
        metrics: Counts resends.
    """
    readable, beliefs = await compute.run(_decode, learner, batch, stored)
    todo: list[int] = []
    resent: list[tuple[Entry, int, int]] = []  # with what was expected and what was received
    for i, (entry, last) in enumerate(zip(readable, beliefs.sequence.tolist(), strict=True)):
        expected = last + 1
        received = entry.sequence or expected
        if received == expected:
            todo.append(i)
        elif received > expected:
            entry.resolve(SequenceGap(entry.stream, expected, received))
        else:
            resent.append((entry, expected, received))
    await _answer_resent(resent, partition, metrics)
    met = {entry.stream: b"" if s is None else checksum_of(s.belief) for entry, s in zip(batch, stored, strict=True)}
    entries = [readable[i] for i in todo]
    checksums = [met[entry.stream] for entry in entries]
    return Todo(entries, beliefs[todo] if len(todo) < len(readable) else beliefs, checksums)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An item and what a commit was to write for it."""

    entry: Entry
    change: BeliefChange


async def applied(attempts: Sequence[Attempt], partition: Partition) -> list[Attempt]:
    """Read which attempts of a commit were written, once no write of the past can still arrive.

    Where a stream is neither where the commit left it nor where it found it (another owner wrote to it, or it expired),
    that cannot be told. If its item's sender did not number it, it is answered so; else it may be tried again, as its
    number says whether it is new.
    """
    found = []
    kept = await partition.load_replies([(a.change.stream, a.change.sequence) for a in attempts])
    for attempt, there in zip(attempts, kept, strict=True):
        if there.reply == attempt.change.reply:
            found.append(attempt)
        elif there.applied != attempt.change.sequence - 1 and attempt.entry.sequence is None:
            attempt.entry.resolve(StoreUnavailable("whether the item was learned can no longer be told"))
    return found


def learn(learner: Learner, todo: Todo) -> tuple[Step, list[BeliefChange]]:
    """One step, and its results as they are stored and sent; changes nothing."""
    step = learner.step(todo.beliefs, [entry.item for entry in todo.entries])
    results = step.render([entry.frame.experts for entry in todo.entries])
    changes = []
    for entry, result, belief, awaited_by in zip(
        todo.entries, results, step.encoded_beliefs, todo.awaited_by, strict=True
    ):
        values = encode_values(item_values(learner.spec, entry.item))
        item = KeptItem(values, entry.item.timestamp_us, awaited_by)
        reply = encode_reply(entry.stream, result)
        changes.append(BeliefChange(entry.stream, result["sequence"], belief, reply, item))
    return step, changes


async def _answer_resent(resent: Sequence[tuple[Entry, int, int]], partition: Partition, metrics: Metrics) -> None:
    kept = await partition.load_replies([(entry.stream, received) for entry, _, received in resent])
    for (entry, expected, received), there in zip(resent, kept, strict=True):
        if there.damage is not None:
            entry.resolve(ServiceError(f"the kept reply is damaged: {there.damage}", stream=entry.stream))
        elif there.reply is None:
            entry.resolve(SequenceStale(entry.stream, expected, received))
        else:
            try:
                answer = mark_duplicate(there.reply, experts=entry.frame.experts)
            except ValueError as error:
                entry.resolve(ServiceError(f"the kept reply is damaged: {error}", stream=entry.stream))
                continue
            metrics.duplicates.inc()
            entry.resolve(answer)


def _decode(
    learner: Learner, batch: Sequence[Entry], stored: Sequence[StoredStream | None]
) -> tuple[list[Entry], Beliefs]:
    """Decode all beliefs; a damaged one costs its own stream an error, not the batch."""
    records = [None if s is None else s.belief for s in stored]
    try:
        return list(batch), learner.decode_beliefs(records)
    except DamagedRecord:
        good = []
        for i, (entry, record) in enumerate(zip(batch, records, strict=True)):
            try:
                learner.decode_beliefs([record])
            except DamagedRecord as error:
                entry.resolve(ServiceError(f"the stored belief is damaged: {error}", stream=entry.stream))
            else:
                good.append(i)
        return [batch[i] for i in good], learner.decode_beliefs([records[i] for i in good])
