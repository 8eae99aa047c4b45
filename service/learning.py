"""One group from belief to reply: meet the beliefs, settle, compute the rounds, commit, adopt, reply.

While a group is committed the next one is computed on what it leads to. That one is committed only after it, and thrown
away where the commit fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from model.items import item_values
from model.spec import ModelSpec
from service.compute import ComputeThread
from service.errors import StoreUnavailable, UnknownModel
from service.events import Events, Told
from service.groups import Group, Groups, without_answered
from service.metrics import Metrics
from service.owner import Owner
from service.population import Population
from service.preparing import Outcome, Prepared, Preparing
from service.replies import encode_values, with_item
from service.rounds import Attempt
from service.settle import applied
from service.store import KeptReply, Partition
from service.views import iso_time

log = logging.getLogger("stepahead")


class Learning:
    """Learns the groups of one partition, one at a time.

    Args:
        model: Whose partition it is.
        owner: Knows the weights and the last beliefs, and commits.
        partition: All its state.
        population: Bounds how many streams there may be.
        groups: Takes back what there was no time for.
        following: Takes the next group; empty if there is none, or something else is to come first.
        compute: The thread that learns.
        metrics: What it reports to.
        events: Tells readers what was learned.
    """

    def __init__(
        self,
        model: str,
        owner: Owner,
        partition: Partition,
        population: Population,
        groups: Groups,
        following: Callable[[], Group],
        compute: ComputeThread,
        metrics: Metrics,
        events: Events,
    ) -> None:
        self._model = model
        self._owner = owner
        self._partition = partition
        self._groups = groups
        self._following = following
        self._preparing = Preparing(owner, partition, population, groups, compute, metrics)
        self._metrics = metrics
        self._events = events
        self._attempted = Outcome()  # of the last commit, until it is known
        self._ahead: Prepared | None = None  # the next group, computed while the last one was committed

    @property
    def ahead(self) -> Group:
        """The group that is to be learned next, before anything else is done; empty for any."""
        return [] if self._ahead is None else self._ahead.group

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last group may have been committed, and was not answered."""
        return bool(self._attempted.attempts)

    def drop_ahead(self) -> None:
        """Put back what was computed ahead: what it was computed on did not come true, or nothing more is learned."""
        if self._ahead is not None:
            self._groups.give_back(self._ahead.group, 0)
        self._ahead = None

    async def run(self, group: Group) -> None:
        """Answer a group; raises whatever breaks.

        Rounds that there is no time for are put back, and taken out of ``group``; all others are answered. Where it is
        not known what became of a commit, that is read, and what was not learned is learned now.
        """
        try:
            await self._run(group)
        except BaseException as error:
            self.drop_ahead()
            if isinstance(error, UnknownModel):
                self._events.end(self._model, error)
            raise
        finally:
            if self.is_in_doubt:  # it was committed, or not: nobody knows
                self._events.lose(self._model)

    async def _run(self, group: Group) -> None:
        self._attempted = Outcome()
        await self._owner.ensure()
        try:
            async with self._owner.owning():
                await self._learn(group)
        except StoreUnavailable as error:
            self.drop_ahead()
            if error.is_final:
                self._attempted = Outcome()
            if not self._attempted.attempts:
                raise
            log.warning("model %s: %s; reading what became of the commit", self._model, error)
            await self._owner.ensure()
            await self._reply_applied(self._attempted)
            group[:] = without_answered(group)
            async with self._owner.owning():
                await self._learn(group)

    async def _learn(self, group: Group) -> None:
        """Learn a group; where a belief in memory turns out not to be the store's, all of them are read."""
        prepared = self._take_ahead(group) or await self._preparing.prepare(group)
        while prepared is not None and not await self._finish(prepared):
            self.drop_ahead()
            group[:] = without_answered(group)
            prepared = await self._preparing.prepare(group, from_memory=False)

    async def _finish(self, prepared: Prepared) -> bool:
        """Commit a group and answer it, and compute the next one meanwhile; false if it must be computed anew."""
        committing = asyncio.create_task(self._commit(prepared))
        try:
            await self._prepare_ahead(prepared)
        except BaseException:
            committing.cancel()
            await asyncio.wait([committing])
            raise
        done_us = await committing
        if done_us is not None and self._ahead is not None:
            self._ahead.follow(done_us)
        return done_us is not None

    async def _commit(self, prepared: Prepared) -> int | None:
        self._attempted = prepared.outcome
        with self._metrics.commit.time():
            done_us = await self._owner.commit(prepared.draft)
        if done_us is None:
            self._attempted = Outcome()
            return None
        self._metrics.drifts.labels(self._model).inc(prepared.draft.n_drifts)
        self._metrics.rounds.observe(len(prepared.outcome.attempts))
        self._reply(prepared.outcome)
        return done_us

    async def _prepare_ahead(self, before: Prepared) -> None:
        """Compute the group after one that is being committed, if that is a plain matter."""
        group = self._following() if before.draft.can_be_built_upon else []
        if not group:
            return
        try:
            prepared = await self._preparing.build_upon(before, group)
        except Exception as error:  # the same happens to it on its own, and is told then
            log.debug("model %s: not computed ahead: %s", self._model, error)
            prepared = None
        except BaseException:
            self._groups.give_back(group, 0)
            raise
        if prepared is None:
            self._groups.give_back(group, 0)
        self._ahead = prepared

    def _take_ahead(self, group: Group) -> Prepared | None:
        """This group as it was computed ahead, if what it was computed on has come true."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.group is not group or ahead.base is not self._owner.learner:
            return None
        return ahead

    async def _reply_applied(self, attempted: Outcome) -> None:
        """Answer what the last commit wrote, which is read."""
        found = await applied(attempted.attempts, self._partition)
        is_whole = found == attempted.attempts
        self._reply(Outcome(found, attempted.late if is_whole else [], attempted.kept))

    def _reply(self, outcome: Outcome) -> None:
        """Answer what is durable."""
        metrics, now_s = self._metrics, time.perf_counter()
        for attempts in outcome.attempts:
            for attempt in attempts:
                attempt.entry.resolve(attempt.answer)
                metrics.queued.observe(now_s - attempt.entry.queued_s)
            metrics.items.inc(len(attempts))
            metrics.batch_size.observe(len(attempts))
        learned = [attempt for attempts in outcome.attempts for attempt in attempts]
        if outcome.late:
            own = {(a.entry.stream, a.kept.sequence): KeptReply(a.kept.sequence, a.kept) for a in learned}
            self._preparing.answer(outcome.late, {**outcome.kept, **own})
        self._events.publish(self._model, (_told(self._owner.learner.spec, attempt) for attempt in learned))
        self._attempted = Outcome()


def _told(spec: ModelSpec, attempt: Attempt) -> Told:
    """What readers of events are told of an item."""
    item = attempt.entry.item
    timestamp = None if item.timestamp_us is None else iso_time(item.timestamp_us)
    return Told(attempt.entry.stream, with_item(attempt.answer, encode_values(item_values(spec, item)), timestamp))
