"""A group before its commit: meet the beliefs, settle the sequences, compute the rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model.learner import Learner
from model.spec import ModelSpec
from service.belief_cache import Met
from service.compute import ComputeThread
from service.groups import Group, Groups
from service.metrics import Metrics
from service.owner import Owner
from service.population import Population
from service.rounds import Attempt, Draft, learn
from service.settle import Aside, ItemId, Round, answer, load_resent, settle
from service.store import KeptReply, Partition

INLINE_S = 0.002
"""A group that takes no longer is computed in the event loop: each of its many compiled calls lets go of the
interpreter, and where the loop takes it each time, both are slower than one after the other."""

_UNDER_WAY = 0
"""When a belief was committed whose commit is still under way."""


@dataclass(slots=True)
class Outcome:
    """What becomes of a group once it is durable.

    Args:
        attempts: What was learned, by round.
        late: What is answered then.
        kept: Of those among them that were sent again.
    """

    attempts: list[list[Attempt]] = field(default_factory=list)
    late: list[Aside] = field(default_factory=list)
    kept: dict[ItemId, KeptReply] = field(default_factory=dict)


@dataclass(slots=True)
class Prepared:
    """A group that is computed and not yet committed.

    Args:
        group: The rounds that were computed.
        base: The learner that they were computed on.
        draft: What they lead to.
        outcome: What becomes of them.
    """

    group: Group
    base: Learner
    draft: Draft
    outcome: Outcome

    def follow(self, done_us: int) -> None:
        """Take note when the group before this one was committed."""
        changes = self.draft.changes
        self.draft.changes = [replace(c, updated_us=done_us) if c.updated_us == _UNDER_WAY else c for c in changes]


class Preparing:
    """Computes the groups of one partition.

    Args:
        owner: Knows the weights and the last beliefs.
        partition: All its state.
        population: Bounds how many streams there may be.
        groups: Takes back what there was no time for.
        compute: The thread that learns.
        metrics: What it reports to.
    """

    def __init__(
        self,
        owner: Owner,
        partition: Partition,
        population: Population,
        groups: Groups,
        compute: ComputeThread,
        metrics: Metrics,
    ) -> None:
        self._owner = owner
        self._partition = partition
        self._population = population
        self._groups = groups
        self._compute = compute
        self._metrics = metrics
        self._round_s = math.inf  # least mean time of a group's rounds
        self._entry_s = 0.0  # what an entry of the last group took beyond it

    async def prepare(self, group: Group, *, from_memory: bool = True) -> Prepared | None:
        """Compute a group, and answer what it does not learn.

        Args:
            group: Rounds that there was no time for are put back, and taken out of it.
            from_memory: Whether beliefs may be from memory.

        Returns:
            None if it learns nothing.
        """
        if not group:
            return None
        learner = self._owner.learner
        met = await self._meet(group, from_memory=from_memory)
        rounds = await self._settle(group, met, learner.spec)
        asides = [aside for found in rounds for aside in found.asides]
        kept = await load_resent(asides, self._partition)
        self.answer((aside for aside in asides if not aside.n_ahead), kept)
        if not any(found.todo for found in rounds):
            return None
        draft = await self._learn(learner, rounds, met)
        for entry in (entry for taken in group for entry in taken if entry.stream in draft.damaged):
            entry.resolve(draft.damaged[entry.stream])
        self._groups.give_back(group, draft.n_done)
        if not draft.attempts:
            return None
        asides = [aside for found in rounds[: draft.n_done] for aside in found.asides]
        late = [aside for aside in asides if aside.n_ahead and aside.entry.stream not in draft.damaged]
        return Prepared(group, learner, draft, Outcome(draft.attempts, late, kept))

    async def build_upon(self, before: Prepared, group: Group) -> Prepared | None:
        """Compute a group on one that is not durable yet; answers nothing.

        Args:
            before: Can be built upon.
            group: As for :meth:`prepare`.

        Returns:
            None where anything of it has another answer than a reply: that waits until what is before it is durable.
        """
        learner = before.draft.learner
        own = {c.stream: Met(c.belief, c.sequence, _UNDER_WAY) for c in before.draft.changes}
        met = await self._meet(group, own)
        stored = _sequences(group, met)
        if learner.spec.max_streams is not None and None in stored.values():
            return None
        rounds = settle(group, stored, len(stored), None)
        if any(found.asides for found in rounds):
            return None
        draft = await self._learn(learner, rounds, met)
        if draft.damaged:
            return None
        self._groups.give_back(group, draft.n_done)
        return Prepared(group, learner, draft, Outcome(draft.attempts))

    def answer(self, asides: Iterable[Aside], kept: Mapping[ItemId, KeptReply]) -> None:
        """Answer items that are not learned; ``kept`` has what is known of those that were sent again."""
        answer(asides, kept, self._owner.learner, self._partition.kept_replies, self._metrics)

    async def _learn(self, learner: Learner, rounds: Sequence[Round], met: Mapping[str, Met]) -> Draft:
        todo = [found.todo for found in rounds]
        if len(todo) * self._round_s + sum(map(len, todo)) * self._entry_s <= INLINE_S:
            draft = learn(learner, todo, met, self._partition.kept_replies)
        else:
            draft = await self._compute.run(learn, learner, todo, met, self._partition.kept_replies)
        for seconds in draft.round_s:
            self._metrics.step.observe(seconds)
        if draft.attempts:
            total_s, n_entries = sum(draft.round_s), sum(map(len, draft.attempts))
            self._round_s = min(self._round_s, total_s / draft.n_done)
            self._entry_s = (total_s - draft.n_done * self._round_s) / n_entries
        return draft

    async def _meet(
        self, group: Group, own: Mapping[str, Met] | None = None, *, from_memory: bool = True
    ) -> dict[str, Met]:
        """The beliefs of a group's streams, as far as there are any: ``own``, from memory, or read."""
        streams = dict.fromkeys(entry.stream for taken in group for entry in taken)
        met = {stream: own[stream] for stream in streams if stream in own} if own else {}
        if from_memory:
            met |= self._owner.beliefs.find(stream for stream in streams if stream not in met)
        self._metrics.cache_hits.inc(len(met))
        await self._load([stream for stream in streams if stream not in met], met)
        return met

    async def _settle(self, group: Group, met: dict[str, Met], spec: ModelSpec) -> list[Round]:
        """What of a group is to be learned.

        An answer that nothing is committed for is given by what the store says: where memory leads to one, it is read.
        """
        rounds = await self._compare(group, met, spec)
        refused = {aside.entry.stream for found in rounds for aside in found.asides if not aside.n_ahead}
        doubtful = [stream for stream in refused if stream in met and met[stream].updated_us is not None]
        if doubtful:
            await self._load(doubtful, met)
            rounds = await self._compare(group, met, spec)
        return rounds

    async def _load(self, streams: Sequence[str], met: dict[str, Met]) -> None:
        """Read beliefs; what was known of these streams is forgotten."""
        self._metrics.cache_misses.inc(len(streams))
        if not streams:
            return
        self._owner.beliefs.forget(streams)
        with self._metrics.load.time():
            stored = await self._partition.load(streams)
        for stream, found in zip(streams, stored, strict=True):
            met.pop(stream, None)
            if found is not None:
                met[stream] = Met(found.belief, found.sequence)

    async def _compare(self, group: Group, met: Mapping[str, Met], spec: ModelSpec) -> list[Round]:
        stored = _sequences(group, met)
        new = {e.stream for taken in group for e in taken if stored[e.stream] is None and e.sequence in (None, 1)}
        return settle(group, stored, await self._population.room(len(new), spec), spec.max_streams)


def _sequences(group: Group, met: Mapping[str, Met]) -> dict[str, int | None]:
    """Where each stream of a group is; None where there is none yet."""
    return {e.stream: met[e.stream].sequence if e.stream in met else None for taken in group for e in taken}
