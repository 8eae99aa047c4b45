"""One engine per partition: what callers may ask of it; its loop learns what it queues."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from model.belief import belief_dtype
from model.items import Item, Items, parse_item
from model.spec import ModelSpec
from service.batcher import Answer, Batcher, Entry, Frame, Observation
from service.belief_cache import BeliefCache
from service.bounds import SharedBounds
from service.columns import ColumnReader, Columns
from service.compute import ComputeThread
from service.errors import (
    Draining,
    InvalidItem,
    ServiceError,
    StoreUnavailable,
    UnknownModel,
    UnknownStream,
)
from service.events import Events
from service.groups import Group, Groups
from service.learning import Learning
from service.loop import Loop
from service.metrics import Metrics
from service.model_snapshots import ModelSnapshots
from service.owner import Owner
from service.population import Population
from service.reading import Reader
from service.settings import Settings
from service.sizing import memory_bytes
from service.store import Partition
from service.turn import Turn
from service.weights_log import WeightsLog

log = logging.getLogger("stepahead")

MAX_BATCH_BYTES = 8 * 2**20
"""Most bytes of beliefs that one read or commit moves, so that it is done well within the store's deadline."""


Observed = Columns | Sequence[Observation | ServiceError]
"""Observations read together, or one by one; an error stands for one that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Taking:
    """A frame and those of its observations that are items of the model."""

    frame: Frame
    entries: list[Entry]


class Engine:
    """The owner of a partition: learns its streams' items, one group of micro-batches at a time.

    Args:
        model: Whose partition it is.
        partition: All its state.
        load_spec: Reads the model's spec as it is now; raises ``UnknownModel`` if it was deleted.
        compute: The thread that learns.
        reading: The thread that streams are looked at in.
        settings: Bounds of queue and batch, how often to snapshot, and where to compute.
        bounds: Those that all models share.
        metrics: What it reports to.
        events: Tells readers what was learned.
        cache: Keeps the beliefs that were used last.
    """

    def __init__(
        self,
        model: str,
        partition: Partition,
        load_spec: Callable[[], Awaitable[ModelSpec]],
        compute: ComputeThread,
        reading: ComputeThread,
        settings: Settings,
        bounds: SharedBounds,
        metrics: Metrics,
        events: Events,
        cache: BeliefCache,
    ) -> None:
        self.model = model
        self._partition = partition
        self._metrics = metrics
        self._max_batch = settings.max_batch
        self._batcher = Batcher(settings.max_queue, settings.max_queue_per_stream, settings.max_wait_s, bounds.waiting)
        every, damaged = settings.snapshot_every_updates, metrics.damaged_records
        weights = WeightsLog(partition, compute, every, damaged, settings.device)
        self._owner = owner = Owner(model, partition, load_spec, compute, weights, cache.partition())
        self._population = population = Population(partition)
        groups = Groups(self._batcher, every)

        def learning(following: Callable[[], Group]) -> Learning:
            return Learning(model, owner, partition, population, groups, following, compute, metrics, events)

        self._loop = Loop(
            model,
            self._batcher,
            groups,
            lambda: (self._batch_bound, self._streams_bound),
            learning,
            owner,
            population,
            metrics,
        )
        self.reader = Reader(model, partition, self.between_batches, reading, bounds)
        self.snapshots = ModelSnapshots(
            partition, self.between_batches, self._owner.begin_anew, compute, settings.max_snapshots
        )
        self.columns: ColumnReader  # set by open

    async def open(self) -> None:
        """Take the lease, recover the weights and begin to learn.

        Raises:
            StoreUnavailable: If the store did not answer.
            UnknownModel: If there is no such model.
            ServiceError: If the weights cannot be recovered; who can may then take the lease.
        """
        try:
            await self._owner.recover()
        except StoreUnavailable:
            raise
        except Exception:
            with suppress(StoreUnavailable):
                await self._partition.release()
            raise
        self.columns = ColumnReader(self.spec)  # an engine's fields are always the same
        self._metrics.drifts.labels(self.model)  # there from the start, at 0
        self._loop.start()

    @property
    def is_open(self) -> bool:
        """Whether it takes items."""
        return self._loop.is_open

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in progress and nothing waits."""
        return not len(self._batcher) and not self._loop.turn.locked()

    @property
    def n_bytes(self) -> int:
        """What its weights and counts take in memory, nearly."""
        return memory_bytes(self._owner.learner)

    @property
    def spec(self) -> ModelSpec:
        """The model's spec as it is now."""
        return self._owner.learner.spec

    @property
    def weights_version(self) -> int:
        """Weight updates so far."""
        return self._owner.learner.version

    @property
    def _batch_bound(self) -> int:
        """Most streams in a batch: the setting, less where beliefs are large."""
        return max(1, min(self._max_batch, self._streams_bound))

    @property
    def _streams_bound(self) -> int:
        """Most streams in a group."""
        return MAX_BATCH_BYTES // belief_dtype(self.spec).itemsize

    async def submit(self, observations: Observed, *, experts: bool = False) -> list[Answer]:
        """Learn a frame of observations; return an answer for each, in order.

        Args:
            observations: Several of one stream are learned in their order. An error takes its place unchanged.
                Columns are as :attr:`columns` reads them.
            experts: Whether the predictions are to say what each expert said.

        Raises:
            Overloaded: If the queue has no room for them; none was taken.
            Draining: If the service shuts down.
            UnknownModel: If the model was deleted.
        """
        self._refuse_if_told()
        return await self._queue(self._frame(observations, experts=experts))

    async def accept(
        self, observations: Observed, *, experts: bool = False, wait_s: float
    ) -> asyncio.Future[list[Answer]]:
        """Take a frame of observations once there is room; return what resolves to an answer for each, in order.

        Frames that wait for room are taken in the order of their arrival. Nothing is awaited between the taking and
        the return, so who is cancelled meanwhile knows that nothing was taken.

        Args:
            observations: As for :meth:`submit`.
            experts: As for :meth:`submit`.
            wait_s: Longest wait for room.

        Raises:
            ServiceError: As :meth:`submit`, once ``wait_s`` are over; none was taken.
        """
        self._refuse_if_told()
        taking = self._frame(observations, experts=experts)
        await self._loop.room.wait(taking.entries, wait_s)
        self._refuse_if_told()
        return self._queue(taking)

    def _refuse_if_told(self) -> None:
        if self._loop.refusal is not None:
            raise self._loop.refusal.with_traceback(None)

    def _frame(self, observations: Observed, *, experts: bool) -> _Taking:
        """A frame of observations, those answered in their place that cannot be items of the model."""
        answers, now_s = asyncio.get_running_loop().create_future(), time.perf_counter()
        if isinstance(observations, Columns):
            frame = Frame(observations.items, answers, experts=experts)
            rows = enumerate(zip(observations.streams, observations.sequences, strict=True))
            return _Taking(frame, [Entry(stream, sequence, frame, i, now_s) for i, (stream, sequence) in rows])
        read: list[Item | ServiceError] = [self._read(observation) for observation in observations]
        nothing = Item((math.nan,) * len(self.spec.reals), (None,) * len(self.spec.categories))
        items = Items.of(self.spec, [nothing if isinstance(item, ServiceError) else item for item in read])
        frame, entries = Frame(items, answers, experts=experts), []
        for place, (observation, item) in enumerate(zip(observations, read, strict=True)):
            if isinstance(item, ServiceError):
                frame.resolve(place, item)
            elif isinstance(observation, Observation):
                entries.append(Entry(observation.stream, observation.sequence, frame, place, now_s))
        return _Taking(frame, entries)

    def _read(self, observation: Observation | ServiceError) -> Item | ServiceError:
        """The item that was observed, or what is wrong with it."""
        if isinstance(observation, ServiceError):
            return observation
        try:
            return parse_item(self.spec, observation.item, observation.timestamp_us)
        except ValueError as error:
            return InvalidItem(str(error), stream=observation.stream)

    def _queue(self, taking: _Taking) -> asyncio.Future[list[Answer]]:
        """Queue a frame's entries."""
        self._batcher.add(taking.entries)
        self._loop.wake()
        return taking.frame.future

    def refuse_if_crowded(self) -> None:
        """Return if items may be taken, as far as that can be told before they are read.

        Raises:
            Overloaded: If what waits already leaves no room for any.
        """
        self._batcher.refuse_if_crowded()

    async def sequences(self, streams: Sequence[str]) -> list[int]:
        """The last applied sequence of each stream, 0 where there is none: after all that was answered before.

        Raises:
            StoreUnavailable: If the store did not answer.
        """
        async with self.between_batches():  # after a commit of unknown outcome that is known first
            return await self._partition.load_sequences(streams)

    async def delete_stream(self, stream: str) -> None:
        """Forget a stream with all it carries.

        Raises:
            UnknownStream: If the model has no such stream.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        async with self.between_batches():
            if not await self._partition.delete_stream(stream):
                raise UnknownStream(self.model, stream)

    async def change_spec(self, spec: ModelSpec, keep: Coroutine[Any, Any, None]) -> None:
        """Go on with another spec of the same weights from the next item.

        Args:
            spec: Differs only in what may change while a model runs.
            keep: Makes it durable; awaited between two batches.

        Raises:
            LeaseLost: If another owner took the partition; it would not hear of the change, so nothing is kept.
            StoreUnavailable: If the store did not answer; the spec is then read again before the next item.
        """
        try:
            async with self.between_batches():
                await self._partition.confirm()
                await keep
                self._owner.learner = self._owner.learner.with_spec(spec)
        finally:
            keep.close()  # where it was not reached

    async def drain(self, refusal: ServiceError | None = None, *, snapshot: bool = True) -> None:
        """Take no new items, answer those taken, snapshot the weights, stop and let go of them.

        Args:
            refusal: What new items are answered with; ``None`` for ``draining``.
            snapshot: Whether to snapshot in any case, or only where much would have to be redone.
        """
        await self._loop.finish(refusal or Draining())
        async with self._loop.turn:
            await self._owner.leave(snapshot=snapshot)

    async def close(self, refusal: ServiceError) -> None:
        """Stop after what is in progress; what waits is answered with ``refusal``."""
        await self._loop.stop(refusal)

    async def abort(self, refusal: ServiceError) -> None:
        """Stop at once, whatever is in progress; every caller is answered with ``refusal``."""
        await self._loop.abort(refusal)

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[Turn]:
        """Hold off the next batch, and be the owner with weights that are known.

        What is written inside and fails with ``StoreUnavailable`` has an unknown outcome: the engine then takes
        everything from the store again before the next item.

        Raises:
            ServiceError: What new items are refused with, if they are.
            StoreUnavailable: If the store did not answer.
        """
        async with self._loop.visiting():
            self._refuse_if_told()
            try:
                await self._owner.ensure()
            except UnknownModel as error:
                self._loop.end(error)
                raise
            async with self._owner.owning():
                yield Turn(self._owner.learner, self._partition, self._batch_bound, self._population)
