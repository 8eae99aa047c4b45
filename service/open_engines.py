"""The engines in memory: opened when first used, closed when idle, within bounds of number and bytes."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from weakref import WeakValueDictionary

from service.engine import Engine
from service.errors import Draining, Overloaded
from service.metrics import Metrics
from service.residents import Residents
from service.settings import Settings

log = logging.getLogger("stepahead")

ROOM_WAIT_S = 1.0
"""Longest wait for another model to leave memory, where all that are in it are in use."""

LOOK_AGAIN_S = 0.05
"""Between two looks for a model that may leave; one that is released is seen at once."""

SWEEPS = 4
"""Looks for idle models within ``model_idle_s``."""


class OpenEngines:
    """Opens engines and closes them again; what meets one that closes waits, and gets a new one.

    Args:
        make: Makes the engine of a model, not yet opened.
        check: Raises ``UnknownModel`` for a model that there is not: none gives way to it.
        settings: How many may be in memory, and how long without use.
        metrics: What is told of them.
    """

    def __init__(
        self,
        make: Callable[[str], Engine],
        check: Callable[[str], Awaitable[object]],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._make = make
        self._check = check
        self._idle_s = settings.model_idle_s
        self._metrics = metrics
        self._residents = Residents(settings.max_open_models, settings.max_models_bytes)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Lock()  # who waits for room, in order of arrival
        self._released = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._refused = False

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._residents)

    def lock(self, model: str) -> asyncio.Lock:
        """Keeps a model from being opened, closed, changed or deleted by others; served in order of arrival."""
        return self._locks.setdefault(model, asyncio.Lock())

    def peek(self, model: str) -> Engine | None:
        """The model's engine, if it is in memory and takes items; that does not count as a use."""
        return self._residents.peek(model)

    def ready(self, model: str) -> Engine | None:
        """The model's engine, if it is open and nobody waits to change that: who came first is served first."""
        return None if self._refused or (self._locks and model in self._locks) else self._residents.find(model)

    async def get(self, model: str) -> Engine:
        """The model's engine, opened if it is not yet.

        Raises:
            ServiceError: As :meth:`open`.
        """
        engine = self.ready(model)
        if engine is not None:
            return engine
        async with self.lock(model):
            return await self.open(model)

    @asynccontextmanager
    async def use(self, model: str) -> AsyncIterator[Engine]:
        """The model's engine, opened if it is not yet, and kept open until the end of the block.

        Raises:
            ServiceError: As :meth:`open`.
        """
        engine = await self.get(model)
        try:
            with self._residents.held(engine):
                yield engine
        finally:
            self._released.set()

    async def open(self, model: str) -> Engine:
        """The model's engine, opened if it is not yet; to be called under its lock.

        Raises:
            UnknownModel: If there is no such model.
            Overloaded: If it is not in memory, and all that are in it are in use.
            Draining: If no more are opened.
            StoreUnavailable: If the store did not answer.
        """
        self._refuse_if_told()
        engine = self._residents.find(model)
        if engine is not None:
            return engine
        if self._residents.remove(model) is not None:  # one that ended
            self.forget(model)
        self._residents.weigh()
        if not self._residents.has_room:
            await self._check(model)
        await self._make_room()
        with self._residents.opening():
            engine = self._make(model)
            await engine.open()
        self._residents.add(engine)
        self._tell()
        if self._refused:  # it began while the engine opened, and did not see it
            await engine.drain()
            raise Draining
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="idle models")
        return engine

    def take_out(self, model: str) -> Engine | None:
        """Leave a model's engine to the caller, who closes it and then says :meth:`forget`; under its lock."""
        return self._residents.remove(model)

    def forget(self, model: str) -> None:
        """Drop what is told of a model that was closed."""
        self._metrics.forget(model)
        self._tell()

    async def close_idle(self) -> None:
        """Close the engines that nobody used for ``model_idle_s``, and more where they take too much memory."""
        while (model := self._longest_idle(monotonic() - self._idle_s)) is not None:
            await self._close(model)
        self._residents.weigh()
        while self._residents.is_over and (model := self._longest_idle()) is not None:
            await self._close(model)

    def refuse(self) -> None:
        """Open no more, and close none for its idleness."""
        self._refused = True
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _make_room(self) -> None:
        """Wait until one more engine may be in memory; those idle longest give way."""
        try:
            async with asyncio.timeout(ROOM_WAIT_S), self._room:
                while not self._residents.has_room:
                    self._refuse_if_told()
                    self._released.clear()
                    model = self._longest_idle()
                    if model is not None:
                        await asyncio.shield(self._close(model))  # a caller that goes away does not break it off
                    else:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self._released.wait(), LOOK_AGAIN_S)
        except TimeoutError as error:
            raise Overloaded(
                f"the {len(self._residents)} models in memory are all in use", **self._residents.bounds
            ) from error

    async def _close(self, model: str) -> None:
        """Close an engine that has nothing to do."""
        async with self.lock(model):
            if not self._residents.may_leave(model):
                return
            engine = self._residents.remove(model)
            try:
                if engine is not None:
                    await engine.drain(snapshot=False)
            except Exception as error:  # nothing is lost: the redo log holds what a snapshot would
                log.warning("model %s: closed without a snapshot: %s", model, error)
            self.forget(model)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s / SWEEPS)
            await self.close_idle()

    def _longest_idle(self, before_s: float = math.inf) -> str | None:
        return self._residents.longest_idle(before_s=before_s, unless=self._locks.__contains__)

    def _refuse_if_told(self) -> None:
        if self._refused:
            raise Draining

    def _tell(self) -> None:
        self._metrics.models.set(len(self._residents))
