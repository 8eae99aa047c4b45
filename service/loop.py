"""The loop of one partition: what waits is learned group by group, in turns with whoever reads or changes anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.batcher import Batcher, Entry
from service.errors import Draining, ServiceError, StoreUnavailable, UnknownModel
from service.groups import Group, Groups
from service.learning import Learning
from service.metrics import Metrics
from service.owner import Owner
from service.population import Population
from service.room import Room

log = logging.getLogger("stepahead")


class Loop:
    """Learns what a queue holds until no more can come; every entry that was queued is answered.

    Args:
        model: Whose loop it is.
        batcher: The queue.
        groups: Takes from it what is learned at once.
        bounds: Most streams of a round, and of a group, as they are now.
        learning: Learns a group; it is told how to take the following one.
        owner: Has what changes between groups.
        population: Likewise.
        metrics: What it reports to.
    """

    def __init__(
        self,
        model: str,
        batcher: Batcher,
        groups: Groups,
        bounds: Callable[[], tuple[int, int]],
        learning: Callable[[Callable[[], Group]], Learning],
        owner: Owner,
        population: Population,
        metrics: Metrics,
    ) -> None:
        self._model = model
        self._batcher = batcher
        self._groups = groups
        self._bounds = bounds
        self._learning = learning(self._take_following)
        self._owner = owner
        self._population = population
        self._metrics = metrics
        self._n_visitors = 0  # who have the turn, or wait for it, beside the groups
        self.turn = asyncio.Lock()  # groups, reads and changes go one at a time, in order of arrival
        self.room = Room(batcher, lambda: self.refusal is not None)
        self.refusal: ServiceError | None = None  # set once no new items are taken
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to learn."""
        self._task = asyncio.create_task(self._run(), name=f"engine {self._model}")

    @property
    def is_open(self) -> bool:
        """Whether items may come."""
        return self._task is not None and not self._task.done() and self.refusal is None

    def wake(self) -> None:
        """Say that there is work, or that none can come any more."""
        self._arrived.set()

    async def finish(self, refusal: ServiceError) -> None:
        """Take no new items, and return once all that were taken are answered."""
        self.refusal = refusal
        self.wake()
        if self._task is not None:
            await self._task

    async def stop(self, refusal: ServiceError) -> None:
        """Return after what is in progress; what waits is answered with ``refusal``."""
        self.refusal = refusal
        self._fail(self._batcher.take_all(), refusal)
        await self.finish(refusal)
        async with self.turn:  # a read or a change may still be in progress
            pass

    async def abort(self, refusal: ServiceError) -> None:
        """Stop at once, whatever is in progress; every caller is answered with ``refusal``."""
        self.refusal = refusal
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def end(self, error: UnknownModel) -> None:
        """Take no more items of a model that is gone, and end."""
        self.refusal = self.refusal or error
        self._fail(self._batcher.take_all(), error)
        self.wake()

    @asynccontextmanager
    async def visiting(self) -> AsyncIterator[None]:
        """Have the turn: nothing is learned until the end of the block, and no group is begun while waiting for it."""
        self._n_visitors += 1
        try:
            async with self.turn:
                yield
        finally:
            self._n_visitors -= 1

    async def _run(self) -> None:
        try:
            while await self._has_work():
                async with self.turn:
                    group = self._take()
                    while group:
                        await self._run_group(group)
                        await self._keep_house()
                        group = self._learning.ahead
        finally:
            self._learning.drop_ahead()  # there is some where it ends between two groups
            self._fail(self._batcher.take_all(), self.refusal or ServiceError("the engine stopped"))
            self._owner.beliefs.clear()

    async def _has_work(self) -> bool:
        """Wait for an item; false once no more can come."""
        while not len(self._batcher):
            if self.refusal is not None:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    def _take(self) -> Group:
        """Take the next group off the queue."""
        group = self._groups.take(*self._bounds())
        self.room.tell()
        return group

    def _take_following(self) -> Group:
        """Take a group that can be computed while another one is committed, unless somebody waits for the turn."""
        return [] if self._n_visitors or self.refusal is not None else self._take()

    async def _run_group(self, group: Group) -> None:
        """Learn one group; a failure answers every caller in its first round, and the others are taken again.

        Where it is not known whether the group was committed, it answers them all.
        """
        begun_s = time.perf_counter()
        try:
            await self._learning.run(group)
        except BaseException as error:  # the boundary: whatever broke, nobody is left waiting
            n_failed = len(group) if self._learning.is_in_doubt else 1  # what may have been learned is not taken again
            self._groups.give_back(group[n_failed:], 0)
            self._fail([entry for taken in group[:n_failed] for entry in taken], self._named(error))
            if not isinstance(error, Exception):
                raise
        else:
            n = len(group) or 1
            self._batcher.pace.count((time.perf_counter() - begun_s) / n, sum(map(len, group)) / n)

    def _fail(self, batch: list[Entry], error: ServiceError) -> None:
        """Answer a batch and all that must not be learned once it failed."""
        # While the store is away what waits would meet the same error, only later.
        behind = (
            self._batcher.take_all() if isinstance(error, StoreUnavailable) else self._batcher.take_followers(batch)
        )
        for entry in batch + behind:
            entry.resolve(error)

    def _named(self, error: BaseException) -> ServiceError:
        """The error that callers get for what broke a batch; it is logged here."""
        if isinstance(error, UnknownModel):
            self.end(error)
        if isinstance(error, ServiceError):
            log.warning("model %s: %s", self._model, error)
            return error
        if isinstance(error, asyncio.CancelledError):
            return self.refusal or Draining()
        log.error("model %s: an unforeseen error", self._model, exc_info=error)
        return ServiceError("the batch failed; the service's log says why")

    async def _keep_house(self) -> None:
        """What is due between two groups; a failure, whatever it is, only postpones it."""
        self._metrics.queue_depth.labels(self._model).set(len(self._batcher))
        if not self._owner.is_certain:
            return
        learner = self._owner.learner
        self._metrics.weights_version.labels(self._model).set(learner.version)
        try:
            await self._owner.snapshot_if_due()
            await self._population.sweep(learner.spec)
        except Exception as error:
            self._named(error)
