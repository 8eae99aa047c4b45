"""What of a group is to be learned: resends, gaps and stale items are told from what is next in its stream.

A group is several micro-batches, *rounds*, that one commit makes durable. What it says of each item is what it would
say if every round had a commit of its own: each is compared with where the rounds before it leave its stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from model.codec import DamagedRecord
from model.learner import Learner
from model.reply import Reply
from service.batcher import Entry
from service.errors import SequenceGap, SequenceStale, ServiceError, StoreUnavailable
from service.metrics import Metrics
from service.population import full
from service.rounds import Attempt
from service.store import KeptReply, Partition


@dataclass(frozen=True, slots=True)
class Aside:
    """An item that is not learned.

    Args:
        entry: The item.
        expected: The sequence that its stream awaits in its round.
        n_ahead: Items of the group that its stream learns before: that many must be durable before it is answered.
        refusal: What it is answered if that is known; ``None`` for a resend.
    """

    entry: Entry
    expected: int
    n_ahead: int
    refusal: ServiceError | None = None

    @property
    def sequence(self) -> int:
        """Of the item."""
        return self.entry.sequence or self.expected

    @property
    def is_of_group(self) -> bool:
        """Whether it is sent again after an item of the same group."""
        return self.refusal is None and self.expected - self.n_ahead <= self.sequence


@dataclass(slots=True)
class Round:
    """One micro-batch: at most one item of each stream.

    Args:
        taken: As it was taken off the queue.
        todo: Those that are next in their streams.
        asides: All others.
    """

    taken: list[Entry]
    todo: list[Entry] = field(default_factory=list)
    asides: list[Aside] = field(default_factory=list)


def settle(
    group: Sequence[Sequence[Entry]], stored: Mapping[str, int | None], room: float, max_streams: int | None
) -> list[Round]:
    """Compare each entry's sequence with where its stream will be; answers nothing.

    Args:
        group: Rounds of at most one entry per stream.
        stored: The sequence of each stream; ``None`` where there is none yet.
        room: Streams that may be created.
        max_streams: What bounds them.
    """
    begun = {stream: sequence or 0 for stream, sequence in stored.items()}
    last, rounds = dict(begun), []
    for taken in group:
        found = Round(list(taken))
        for entry in taken:
            expected = last[entry.stream] + 1
            n_ahead = last[entry.stream] - begun[entry.stream]
            received = entry.sequence or expected
            if received == expected:
                if expected == 1 and stored[entry.stream] is None:
                    if room < 1:
                        found.asides.append(Aside(entry, expected, n_ahead, full(max_streams)))
                        continue
                    room -= 1
                found.todo.append(entry)
                last[entry.stream] = expected
            elif received > expected:
                gap = SequenceGap(entry.stream, expected, received)
                found.asides.append(Aside(entry, expected, n_ahead, gap))
            else:
                found.asides.append(Aside(entry, expected, n_ahead))
        rounds.append(found)
    return rounds


ItemId = tuple[str, int]
"""A stream and a sequence."""


async def load_resent(asides: Iterable[Aside], partition: Partition) -> dict[ItemId, KeptReply]:
    """Read what is kept of the items that were sent again, but for those of the group itself.

    Raises:
        StoreUnavailable: If the store did not answer.
    """
    items = [(a.entry.stream, a.sequence) for a in asides if a.refusal is None and not a.is_of_group]
    return dict(zip(items, await partition.load_replies(items), strict=True))


def answer(
    asides: Iterable[Aside], kept: Mapping[ItemId, KeptReply], learner: Learner, ring: int, metrics: Metrics
) -> None:
    """Answer items that are not learned.

    Args:
        asides: They.
        kept: Of those that were sent again.
        learner: Of the model.
        ring: How many replies a stream keeps: what is kept now may have given way before an item's own round.
        metrics: Counts resends.
    """
    for aside in asides:
        entry, sequence = aside.entry, aside.sequence
        if aside.refusal is not None:
            entry.resolve(aside.refusal)
            continue
        there = kept[entry.stream, sequence]
        if there.damage is not None:
            entry.resolve(ServiceError(f"the kept reply is damaged: {there.damage}", stream=entry.stream))
        elif there.kept is None or sequence < aside.expected - ring:
            entry.resolve(SequenceStale(entry.stream, aside.expected, sequence))
        else:
            try:
                reply = Reply.decode(learner.spec, sequence, there.kept.reply)
            except DamagedRecord as error:
                entry.resolve(ServiceError(f"the kept reply is damaged: {error}", stream=entry.stream))
                continue
            metrics.duplicates.inc()
            entry.resolve(learner.form.reply(entry.stream, reply, duplicate=True, with_experts=entry.frame.experts))


async def applied(rounds: Sequence[Sequence[Attempt]], partition: Partition) -> list[list[Attempt]]:
    """Read which attempts of a commit were written, once no write of the past can still arrive.

    Of each stream all were, or none: the last one tells. Where a stream is neither where the commit left it nor where
    it found it (another owner wrote to it, or it expired), that cannot be told. An item that its sender did not number
    is answered so; others may be tried again, as their number says whether they are new.
    """
    attempts: dict[str, list[Attempt]] = {}
    for attempt in (attempt for taken in rounds for attempt in taken):
        attempts.setdefault(attempt.entry.stream, []).append(attempt)
    last = [(stream, own[-1].kept.sequence) for stream, own in attempts.items()]
    written = set()
    for own, there in zip(attempts.values(), await partition.load_replies(last), strict=True):
        if there.reply == own[-1].kept.reply:
            written.add(own[0].entry.stream)
        elif there.applied != own[0].kept.sequence - 1:
            for attempt in own:
                if attempt.entry.sequence is None:
                    attempt.entry.resolve(StoreUnavailable("whether the item was learned can no longer be told"))
    found = ([attempt for attempt in taken if attempt.entry.stream in written] for taken in rounds)
    return [taken for taken in found if taken]
