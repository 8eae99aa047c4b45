"""One loop per partition: queue, micro-batch, load, settle, step, commit, adopt, reply."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from model.belief import belief_dtype
from model.items import parse_item
from model.spec import ModelSpec
from service.batcher import Answer, Batcher, Entry, Frame, Observation
from service.bounds import SharedBounds
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
from service.learning import Learning
from service.metrics import Metrics
from service.model_snapshots import ModelSnapshots
from service.owner import Owner
from service.population import Population
from service.reading import Reader
from service.room import Room
from service.settings import Settings
from service.sizing import memory_bytes
from service.store import Partition
from service.turn import Turn
from service.weights_log import WeightsLog

log = logging.getLogger("stepahead")

MAX_BATCH_BYTES = 8 * 2**20
"""Most bytes of beliefs that one read or commit moves, so that it is done well within the store's deadline."""


@dataclass(frozen=True, slots=True)
class _Taking:
    """A frame and those of its observations that are items of the model."""

    frame: Frame
    entries: list[Entry]


class Engine:
    """The owner of a partition: learns its streams' items, one micro-batch at a time.

    Args:
        model: Whose partition it is.
        partition: All its state.
        load_spec: Reads the model's spec as it is now; raises ``UnknownModel`` if it was deleted.
        compute: The thread that learns.
        reading: The thread that streams are looked at in.
        settings: Bounds of queue and batch, and how often to snapshot.
        bounds: Those that all models share.
        metrics: What it reports to.
        events: Tells readers what was learned.
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
    ) -> None:
        self.model = model
        self._partition = partition
        self._metrics = metrics
        self._max_batch = settings.max_batch
        self._batcher = Batcher(settings.max_queue, settings.max_queue_per_stream, settings.max_wait_s, bounds.waiting)
        weights = WeightsLog(partition, compute, settings.snapshot_every_updates, metrics.damaged_records)
        self._owner = Owner(model, partition, load_spec, compute, weights)
        self._population = Population(partition)
        self._learning = Learning(model, self._owner, partition, self._population, compute, metrics, events)
        self.reader = Reader(model, partition, self.between_batches, reading, bounds)
        self.snapshots = ModelSnapshots(
            partition, self.between_batches, self._owner.begin_anew, compute, settings.max_snapshots
        )
        self._turn = asyncio.Lock()  # batches, reads and changes go one at a time, in order of arrival
        self._arrived = asyncio.Event()
        self._room = Room(self._batcher, lambda: self._refusal is not None)
        self._refusal: ServiceError | None = None  # set once it takes no new items
        self._loop: asyncio.Task[None] | None = None

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
        self._metrics.drifts.labels(self.model)  # there from the start, at 0
        self._loop = asyncio.create_task(self._run(), name=f"engine {self.model}")

    @property
    def is_open(self) -> bool:
        """Whether it takes items."""
        return self._loop is not None and not self._loop.done() and self._refusal is None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in progress and nothing waits."""
        return not len(self._batcher) and not self._turn.locked()

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
        return max(1, min(self._max_batch, MAX_BATCH_BYTES // belief_dtype(self.spec).itemsize))

    async def submit(
        self, observations: Sequence[Observation | ServiceError], *, experts: bool = False
    ) -> list[Answer]:
        """Learn a frame of observations; return an answer for each, in order.

        Args:
            observations: Several of one stream are learned in their order. An error takes its place unchanged.
            experts: Whether the predictions are to say what each expert said.

        Raises:
            Overloaded: If the queue has no room for them; none was taken.
            Draining: If the service shuts down.
            UnknownModel: If the model was deleted.
        """
        self._refuse_if_told()
        return await self._queue(self._frame(observations, experts=experts))

    async def accept(
        self, observations: Sequence[Observation | ServiceError], *, experts: bool = False, wait_s: float
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
        await self._room.wait(taking.entries, wait_s)
        self._refuse_if_told()
        return self._queue(taking)

    def _refuse_if_told(self) -> None:
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)

    def _frame(self, observations: Sequence[Observation | ServiceError], *, experts: bool) -> _Taking:
        """A frame of observations, those answered in their place that cannot be items of the model."""
        frame = Frame(len(observations), asyncio.get_running_loop().create_future(), experts=experts)
        entries, now_s = [], time.perf_counter()
        for place, observation in enumerate(observations):
            if isinstance(observation, ServiceError):
                frame.resolve(place, observation)
                continue
            try:
                item = parse_item(self.spec, observation.item, observation.timestamp_us)
            except ValueError as error:
                frame.resolve(place, InvalidItem(str(error), stream=observation.stream))
            else:
                entries.append(Entry(observation.stream, item, observation.sequence, frame, place, now_s))
        return _Taking(frame, entries)

    def _queue(self, taking: _Taking) -> asyncio.Future[list[Answer]]:
        """Queue a frame's entries."""
        self._batcher.add(taking.entries)
        self._arrived.set()
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
        self._refusal = refusal or Draining()
        self._arrived.set()
        if self._loop is not None:
            await self._loop
        async with self._turn:
            await self._owner.leave(snapshot=snapshot)

    async def close(self, refusal: ServiceError) -> None:
        """Stop after the batch in progress; what waits is answered with ``refusal``."""
        self._refusal = refusal
        self._fail(self._batcher.take_all(), refusal)
        self._arrived.set()
        if self._loop is not None:
            await self._loop
        async with self._turn:  # a read or a change may still be in progress
            pass

    async def abort(self, refusal: ServiceError) -> None:
        """Stop at once, whatever is in progress; every caller is answered with ``refusal``."""
        self._refusal = refusal
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])

    async def _run(self) -> None:
        try:
            while await self._has_work():
                async with self._turn:
                    # By name: what a batch leads to is then a matter of what is in it, not of who came first.
                    batch = sorted(self._batcher.take(self._batch_bound), key=attrgetter("stream"))
                    self._room.tell()
                    await self._run_batch(batch)
                    await self._keep_house()
        finally:
            self._fail(self._batcher.take_all(), self._refusal or ServiceError("the engine stopped"))

    async def _has_work(self) -> bool:
        """Wait for an item; false once no more can come."""
        while not len(self._batcher):
            if self._refusal is not None:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    async def _run_batch(self, batch: list[Entry]) -> None:
        """Learn one batch; a failure answers every caller in it."""
        begun_s = time.perf_counter()
        try:
            await self._learning.run(batch)
        except BaseException as error:  # the boundary: whatever broke, nobody is left waiting
            self._fail(batch, self._named(error))
            if not isinstance(error, Exception):
                raise
        else:
            self._batcher.pace.count(time.perf_counter() - begun_s, len(batch))

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
            self._end(error)
        if isinstance(error, ServiceError):
            log.warning("model %s: %s", self.model, error)
            return error
        if isinstance(error, asyncio.CancelledError):
            return self._refusal or Draining()
        log.error("model %s: an unforeseen error", self.model, exc_info=error)
        return ServiceError("the batch failed; the service's log says why")

    def _end(self, error: UnknownModel) -> None:
        """Take no more items of a model that is gone, and end."""
        self._refusal = self._refusal or error
        self._fail(self._batcher.take_all(), error)
        self._arrived.set()

    async def _keep_house(self) -> None:
        """What is due between two batches; a failure, whatever it is, only postpones it."""
        self._metrics.queue_depth.labels(self.model).set(len(self._batcher))
        if not self._owner.is_certain:
            return
        self._metrics.weights_version.labels(self.model).set(self.weights_version)
        try:
            await self._owner.snapshot_if_due()
            await self._population.sweep(self.spec)
        except Exception as error:
            self._named(error)

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[Turn]:
        """Hold off the next batch, and be the owner with weights that are known.

        What is written inside and fails with ``StoreUnavailable`` has an unknown outcome: the engine then takes
        everything from the store again before the next item.

        Raises:
            ServiceError: What new items are refused with, if they are.
            StoreUnavailable: If the store did not answer.
        """
        async with self._turn:
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)
            try:
                await self._owner.ensure()
            except UnknownModel as error:
                self._end(error)
                raise
            async with self._owner.owning():
                yield Turn(self._owner.learner, self._partition, self._batch_bound, self._population)
