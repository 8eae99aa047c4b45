"""One micro-batch from belief to reply: load, settle, step, commit, adopt, reply."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from model.drift import n_begun
from service.batcher import Entry
from service.compute import ComputeThread
from service.errors import StoreUnavailable, UnknownModel
from service.events import Events
from service.metrics import Metrics
from service.owner import Owner
from service.population import Population
from service.settle import Attempt, applied, learn, settle
from service.store import Partition

log = logging.getLogger("stepahead")


class Learning:
    """Learns the micro-batches of one partition, one at a time.

    Args:
        model: Whose partition it is.
        owner: Knows the weights, and commits.
        partition: All its state.
        population: Bounds how many streams there may be.
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
        compute: ComputeThread,
        metrics: Metrics,
        events: Events,
    ) -> None:
        self._model = model
        self._owner = owner
        self._partition = partition
        self._population = population
        self._compute = compute
        self._metrics = metrics
        self._events = events
        self._attempted: list[Attempt] = []  # the last commit, until its outcome is known

    async def run(self, batch: list[Entry]) -> None:
        """Answer every entry, as far as nothing breaks; raises whatever does.

        Where it is not known what became of a commit, that is read, and what was not learned is learned now.
        """
        try:
            await self._run(batch)
        except UnknownModel as error:
            self._events.end(self._model, error)
            raise
        finally:
            if self._attempted:  # it was committed, or not: nobody knows
                self._events.lose(self._model)

    async def _run(self, batch: list[Entry]) -> None:
        self._attempted = []
        await self._owner.ensure()
        try:
            async with self._owner.owning():
                await self._learn(batch)
        except StoreUnavailable as error:
            if error.is_final:
                self._attempted = []
            if not self._attempted:
                raise
            log.warning("model %s: %s; reading what became of the commit", self._model, error)
            await self._owner.ensure()
            self._reply(await applied(self._attempted, self._partition))
            async with self._owner.owning():
                await self._learn([entry for entry in batch if not entry.is_answered])

    async def _learn(self, batch: list[Entry]) -> None:
        metrics, learner = self._metrics, self._owner.learner
        with metrics.load.time():
            stored = await self._partition.load([entry.stream for entry in batch])
        admitted = await self._population.admit(batch, stored, learner.spec)
        todo = await settle(*admitted, learner, self._partition, self._compute, metrics)
        if not todo.entries:
            return
        with metrics.step.time():
            step, changes = await self._compute.run(learn, learner, todo)
        self._attempted = [Attempt(entry, change) for entry, change in zip(todo.entries, changes, strict=True)]
        with metrics.commit.time():
            await self._owner.commit(step, changes)
        metrics.drifts.labels(self._model).inc(n_begun(step.beliefs.records))
        self._reply(self._attempted)

    def _reply(self, learned: Sequence[Attempt]) -> None:
        now_s = time.perf_counter()
        for attempt in learned:
            attempt.entry.resolve(attempt.change.reply)
            self._metrics.queued.observe(now_s - attempt.entry.queued_s)
        self._events.publish(self._model, (attempt.change for attempt in learned))
        self._metrics.items.inc(len(learned))
        self._metrics.batch_size.observe(len(learned))
        self._attempted = []
