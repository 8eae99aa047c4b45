"""The models of the store and the engines that run them: created, changed and deleted here, opened when first used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial

from model.spec import ModelSpec
from service.belief_cache import BeliefCache
from service.bounds import Bound, SharedBounds
from service.catalogue import Catalogue
from service.compute import ComputeThread
from service.engine import Engine
from service.errors import Draining, InvalidSpec, ModelExists, UnknownModel, WeightsLost
from service.events import Events
from service.history import History
from service.metrics import Metrics
from service.model_record import ModelRecord
from service.model_snapshots import restore_lost
from service.open_engines import OpenEngines
from service.settings import Settings
from service.sizing import Size, check_size, size_of
from service.store import Partition, Store

log = logging.getLogger("stepahead")


class Engines:
    """Every model that this process may be asked for.

    Args:
        store: Holds them.
        compute: The thread that all engines learn in.
        reading: The thread that streams are looked at in.
        settings: Handed to each engine; they say how many may be in memory.
        metrics: What they report to.
    """

    def __init__(
        self, store: Store, compute: ComputeThread, reading: ComputeThread, settings: Settings, metrics: Metrics
    ) -> None:
        self._store = store
        self.catalogue = Catalogue(store)
        self._compute = compute
        self.reading = reading
        self._settings = settings
        self._metrics = metrics
        self._bounds = SharedBounds(Bound(settings.max_queue_total), Bound(settings.max_reads))
        self.history = History(store, self.catalogue, reading, self._bounds)
        self.events = Events()
        self._cache = BeliefCache(settings.belief_cache_bytes, metrics.cache_bytes)
        self._open = OpenEngines(self._engine, self.catalogue.record, settings, metrics)
        self.leaving = False
        self.draining = False
        self.aborted = False
        self._to_tell: dict[object, Callable[[], None]] = {}

    def use(self, model: str) -> AbstractAsyncContextManager[Engine]:
        """The model's engine, opened if it is not yet, and kept open until the end of the block.

        Raises:
            UnknownModel: If there is no such model.
            Overloaded: If it is not in memory, and all that are in it are in use.
            Draining: If the service shuts down.
            StoreUnavailable: If the store did not answer.
        """
        return self._open.use(model)

    def ready(self, model: str) -> Engine | None:
        """The model's engine for one call that is made at once, if it is open; ``None`` if :meth:`get` has to wait."""
        return self._open.ready(model)

    async def get(self, model: str) -> Engine:
        """The model's engine, for one call that is made at once: an engine without work may be closed.

        Raises:
            ServiceError: As :meth:`use`.
        """
        return await self._open.get(model)

    def refuse_if_crowded(self, model: str) -> None:
        """Return if a model may take items, as far as that can be told before they are read.

        To read items and then refuse them takes as long as to take them: under overload nothing else would be done.

        Raises:
            Overloaded: If what waits already leaves no room for any.
        """
        engine = self._open.peek(model)
        if engine is not None:
            engine.refuse_if_crowded()

    async def create(self, model: str, spec: ModelSpec) -> tuple[ModelRecord, bool]:
        """Keep a new model, unless it is there already.

        Returns:
            Its record, and whether it was created now.

        Raises:
            InvalidSpec: If a model of it would be too large.
            ModelExists: If a model of that name has another spec.
            StoreUnavailable: If the store did not answer.
        """
        self._refuse_if_draining()
        try:
            check_size(spec)
        except ValueError as error:
            raise InvalidSpec(str(error)) from error
        async with self._open.lock(model):
            record = ModelRecord.new(spec)
            there = await self.catalogue.claim(model, record)
            if there is None:
                await self._close(model)  # of one that another service deleted, or that the store lost
                self.events.end(model, UnknownModel(model))
        if there is None:
            return record, True
        if not there.is_of(spec):
            raise ModelExists(model)
        return there, False

    async def create_filled(
        self, model: str, spec: ModelSpec, write: Callable[[Partition], Awaitable[None]]
    ) -> ModelRecord:
        """Keep a new model that has learned already; until all of it is kept there is no such model.

        A failure at any point leaves no model. What it may leave in the store is marked as unfinished: it is nobody's
        to use, and goes once a model of that name is deleted or created.

        Args:
            model: Its name.
            spec: Its spec.
            write: Writes weights and streams to the model's partition, which is owned and empty.

        Raises:
            ModelExists: If there is a model of that name.
            StoreUnavailable: If the store did not answer.
        """
        self._refuse_if_draining()
        async with self._open.lock(model):
            record = ModelRecord.new(spec)
            if await self.catalogue.claim(model, record.unfinished()) is not None:
                raise ModelExists(model, "already")
            await self._close(model)  # one that another service deleted
            self.events.end(model, UnknownModel(model))
            await self.catalogue.fill(model, record, write)
        return record

    async def change(self, model: str, change: Callable[[ModelSpec], ModelSpec]) -> ModelRecord:
        """Give a running model another spec, from its next item on.

        Args:
            model: Its name.
            change: Of what may change while it runs; what it raises is passed on, and nothing is changed.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer.
        """
        async with self._open.lock(model):
            engine = await self._open.open(model)
            known, record = await self.catalogue.stored(model)
            record = record.with_spec(change(record.spec))
            await engine.change_spec(record.spec, self._store.replace_model(model, known, record.encode()))
        return record

    async def delete(self, model: str) -> None:
        """Delete a model with all its streams; what waits for it is answered ``unknown_model``.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer; the model may then be partly deleted, and can be again.
        """
        async with self._open.lock(model):
            await self._close(model)
            there = await self._store.delete_model(model)
            self.events.end(model, UnknownModel(model))
            if not there:
                raise UnknownModel(model)

    async def restore_weights(self, model: str, snapshot: str) -> None:
        """Go on with the weights of a snapshot from the next item, even where the model's own are lost.

        Raises:
            UnknownModel: If there is no such model.
            UnknownSnapshot: If no such snapshot is kept.
            ServiceError: If it cannot be read; nothing was changed.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        try:
            async with self.use(model) as engine:
                await engine.snapshots.restore(snapshot)
        except WeightsLost:
            async with self._open.lock(model):
                partition, spec = self._store.partition(model), await self._spec(model)
                await restore_lost(partition, self._compute, spec, snapshot)
                await self._open.open(model)

    async def size(self, spec: ModelSpec, streams: int) -> Size:
        """What streams of a spec take.

        Raises:
            InvalidSpec: If a model of it would be too large.
            Overloaded: If too many read already.
        """
        settings = self._settings
        measure = partial(
            size_of, kept_replies=settings.kept_replies, snapshot_every_updates=settings.snapshot_every_updates
        )
        with self._bounds.reading():
            try:
                return await self.reading.run(measure, spec, streams)
            except ValueError as error:
                raise InvalidSpec(str(error)) from error

    @contextmanager
    def telling_of_end(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have ``tell`` called once no new items are taken: at once if that is so, not after the block."""
        if self.draining:
            tell()
        place = object()
        self._to_tell[place] = tell
        try:
            yield
        finally:
            del self._to_tell[place]

    def weights_version(self, model: str) -> int | None:
        """Weight updates of a model so far; ``None`` while it is not open in this process."""
        engine = self._open.peek(model)
        return None if engine is None else engine.weights_version

    async def close_idle(self) -> None:
        """Close the engines that nobody used for ``model_idle_s``; it is done now and then by itself."""
        await self._open.close_idle()

    async def leave(self) -> None:
        """Be ready no longer, and drain after ``drain_delay_s``: until then who sends items may learn of it."""
        self.leaving = True
        await asyncio.sleep(self._settings.drain_delay_s)
        await self.drain()

    async def drain(self) -> None:
        """Take no new items, answer those taken, snapshot all weights; give up after ``drain_timeout_s``.

        Only the first call does so; one that comes later has nothing left to do, and returns at once.
        """
        if self.draining:
            return
        self._refuse()
        engines = list(self._open)
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                outcomes = await asyncio.gather(*(engine.drain() for engine in engines), return_exceptions=True)
        except TimeoutError:
            log.warning("gave up draining after %g s", self._settings.drain_timeout_s)
            await self._abort_all()
            return
        finally:
            self.events.close(Draining())  # readers have had what was learned until now
        for engine, outcome in zip(engines, outcomes, strict=True):
            if isinstance(outcome, BaseException):  # nothing is lost: the redo log holds what a snapshot would
                log.warning("model %s: no snapshot at the end: %s", engine.model, outcome)

    async def abort(self) -> None:
        """Stop at once: whoever waits is answered ``draining``, the call in progress in a thread is left to itself.

        Nothing that was acknowledged is lost by it: the redo log holds what a snapshot would.
        """
        self.aborted = True
        self._refuse()
        self.events.close(Draining())
        await self._abort_all()

    def _refuse(self) -> None:
        """Take no new items, and tell so whoever wants to know."""
        self.leaving = self.draining = True
        self._open.refuse()
        for tell in list(self._to_tell.values()):
            tell()

    async def _abort_all(self) -> None:
        for engine in self._open:
            await engine.abort(Draining())

    def _engine(self, model: str) -> Engine:
        return Engine(
            model,
            self._store.partition(model),
            lambda: self._spec(model),
            self._compute,
            self.reading,
            self._settings,
            self._bounds,
            self._metrics,
            self.events,
            self._cache,
        )

    async def _close(self, model: str) -> None:
        """Close the model's engine, if it is open; what waits is answered ``unknown_model``."""
        engine = self._open.take_out(model)
        if engine is not None:
            await engine.close(UnknownModel(model))
            self._open.forget(model)

    async def _spec(self, model: str) -> ModelSpec:
        return (await self.catalogue.record(model)).spec

    def _refuse_if_draining(self) -> None:
        if self.draining:
            raise Draining
