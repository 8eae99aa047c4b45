"""The models of the store and the engines that run them: created, changed and deleted here, opened when first used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakValueDictionary

from model.spec import ModelSpec
from service.compute import ComputeThread
from service.engine import Engine
from service.errors import Draining, ModelExists, UnknownModel, WeightsLost
from service.metrics import Metrics
from service.model_record import ModelRecord
from service.model_snapshots import restore_lost
from service.settings import Settings
from service.store import KeptSnapshot, Store

log = logging.getLogger("stepahead")


class Engines:
    """Every model that this process may be asked for.

    Args:
        store: Holds them.
        compute: The thread that all engines learn in.
        reading: The thread that streams are looked at in.
        settings: Handed to each engine.
        metrics: What they report to.
    """

    def __init__(
        self, store: Store, compute: ComputeThread, reading: ComputeThread, settings: Settings, metrics: Metrics
    ) -> None:
        self._store = store
        self._compute = compute
        self._reading = reading
        self._settings = settings
        self._metrics = metrics
        self._open: dict[str, Engine] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.draining = False
        self.aborted = False

    async def get(self, model: str) -> Engine:
        """The model's engine, opened if it is not yet.

        Raises:
            UnknownModel: If there is no such model.
            Draining: If the service shuts down.
            StoreUnavailable: If the store did not answer.
        """
        self._refuse_if_draining()
        engine = self._open.get(model)
        if engine is not None and engine.is_open:
            return engine
        async with self._lock(model):
            return await self._opened(model)

    async def create(self, model: str, spec: ModelSpec) -> tuple[ModelRecord, bool]:
        """Keep a new model, unless it is there already.

        Returns:
            Its record, and whether it was created now.

        Raises:
            ModelExists: If a model of that name has another spec.
            StoreUnavailable: If the store did not answer.
        """
        self._refuse_if_draining()
        async with self._lock(model):
            record = ModelRecord.new(spec)
            there = await self._store.create_model(model, record.encode())
        if there is None:
            return record, True
        record = ModelRecord.decode(there)
        if not record.is_of(spec):
            raise ModelExists(model)
        return record, False

    async def change(self, model: str, change: Callable[[ModelSpec], ModelSpec]) -> ModelRecord:
        """Give a running model another spec, from its next item on.

        Args:
            model: Its name.
            change: Of what may change while it runs; what it raises is passed on, and nothing is changed.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer.
        """
        async with self._lock(model):
            engine = await self._opened(model)
            record = await self.record(model)
            record = record.with_spec(change(record.spec))
            await engine.change_spec(record.spec, self._store.replace_model(model, record.encode()))
        return record

    async def delete(self, model: str) -> None:
        """Delete a model with all its streams; what waits for it is answered ``unknown_model``.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer; the model may then be partly deleted, and can be again.
        """
        async with self._lock(model):
            engine = self._open.pop(model, None)
            if engine is not None:
                await engine.close(UnknownModel(model))
                self._metrics.forget(model)
                self._metrics.models.set(len(self._open))
            if not await self._store.delete_model(model):
                raise UnknownModel(model)

    async def record(self, model: str) -> ModelRecord:
        """The model's record.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer.
        """
        data = await self._store.model(model)
        if data is None:
            raise UnknownModel(model)
        return ModelRecord.decode(data)

    async def records(self) -> dict[str, ModelRecord]:
        """All models, in the order of their names."""
        return {name: ModelRecord.decode(data) for name, data in sorted((await self._store.models()).items())}

    async def kept_weights(self, model: str) -> list[KeptSnapshot]:
        """The snapshots of a model's weights that are kept, the newest first; the model need not be open.

        Raises:
            UnknownModel: If there is no such model.
            StoreUnavailable: If the store did not answer.
        """
        await self.record(model)
        return await self._store.partition(model).list_snapshots()

    async def restore_weights(self, model: str, snapshot: str) -> None:
        """Go on with the weights of a snapshot from the next item, even where the model's own are lost.

        Raises:
            UnknownModel: If there is no such model.
            UnknownSnapshot: If no such snapshot is kept.
            ServiceError: If it cannot be read; nothing was changed.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        try:
            await (await self.get(model)).snapshots.restore(snapshot)
        except WeightsLost:
            async with self._lock(model):
                partition, spec = self._store.partition(model), await self._spec(model)
                await restore_lost(partition, self._compute, spec, snapshot)
                await self._opened(model)

    async def count_streams(self, model: str) -> int:
        """Streams of a model, those included that have just expired."""
        return await self._store.partition(model).count_streams()

    def weights_version(self, model: str) -> int | None:
        """Weight updates of a model so far; ``None`` while it is not open in this process."""
        engine = self._open.get(model)
        return engine.weights_version if engine is not None and engine.is_open else None

    async def drain(self) -> None:
        """Take no new items, answer those taken, snapshot all weights; give up after ``drain_timeout_s``.

        Only the first call does so; one that comes later has nothing left to do, and returns at once.
        """
        if self.draining:
            return
        self.draining = True
        engines = list(self._open.values())
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                outcomes = await asyncio.gather(*(engine.drain() for engine in engines), return_exceptions=True)
        except TimeoutError:
            log.warning("gave up draining after %g s", self._settings.drain_timeout_s)
            await self._abort_all()
            return
        for engine, outcome in zip(engines, outcomes, strict=True):
            if isinstance(outcome, BaseException):  # nothing is lost: the redo log holds what a snapshot would
                log.warning("model %s: no snapshot at the end: %s", engine.model, outcome)

    async def abort(self) -> None:
        """Stop at once: whoever waits is answered ``draining``, the call in progress in a thread is left to itself.

        Nothing that was acknowledged is lost by it: the redo log holds what a snapshot would.
        """
        self.draining = self.aborted = True
        await self._abort_all()

    async def _abort_all(self) -> None:
        for engine in list(self._open.values()):
            await engine.abort(Draining())

    async def _opened(self, model: str) -> Engine:
        """The model's engine; to be called under its lock."""
        self._refuse_if_draining()
        engine = self._open.get(model)
        if engine is None or not engine.is_open:
            partition = self._store.partition(model)
            engine = Engine(
                model,
                partition,
                lambda: self._spec(model),
                self._compute,
                self._reading,
                self._settings,
                self._metrics,
            )
            await engine.open()
            self._open[model] = engine
            self._metrics.models.set(len(self._open))
            if self.draining:  # it began while the engine opened, and did not see it
                await engine.drain()
                raise Draining
        return engine

    async def _spec(self, model: str) -> ModelSpec:
        return (await self.record(model)).spec

    def _lock(self, model: str) -> asyncio.Lock:
        return self._locks.setdefault(model, asyncio.Lock())

    def _refuse_if_draining(self) -> None:
        if self.draining:
            raise Draining
