"""Whatever fails, and whoever takes over, a run ends where one without faults ends, reply for reply and bit for bit."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from model.spec import ModelSpec
from service import stream_copies
from service.batcher import Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import SequenceGap, ServiceError, StoreUnavailable, StreamExists, UnknownStream
from service.metrics import Metrics
from service.settings import Settings
from service.views import summary
from tests.service.conftest import SPEC
from tests.service.faults import Faults, FaultyStore

FAULTY = [
    "load",
    "commit",
    "load_replies",
    "acquire",
    "release",
    "confirm",
    "delete_stream",
    "save_weights",
    "load_versions",
    "load_snapshot",
    "load_redo",
    "keep_snapshot",
]
OPERATIONS = ["item"] * 6 + ["frame"] * 3 + ["leave", "delete", "fork", "keep", "restore", "change", "weights", "read"]
N_OPERATIONS = 60
TRIES = 40

T = TypeVar("T")


class Caller:
    """Does what it is told and tries again where the store is unavailable, as callers should.

    Args:
        processes: That serve the model, one as good as the other.
        model: The model.
        faults: Happen to the store's calls.
        chance: Decides which, and who is asked.
    """

    def __init__(self, processes: list[Engines], model: str, faults: Faults | None, chance: random.Random) -> None:
        self._processes = processes
        self._model = model
        self._faults = faults
        self._chance = chance
        self._snapshot: tuple[str, int] | None = None
        self.applied: dict[str, int] = {}  # the last sequence of each stream
        self.replies: list[bytes] = []

    async def do(self, operation: str, load: float) -> None:
        """One operation."""
        self._break_something()
        if operation in ("item", "frame"):
            await self._observe("a" if operation == "item" else "abc", load)
        elif operation == "leave":  # the model, for another one to have its place in memory
            await self._try(lambda engine: engine.submit([Observation("s", {"load": load})]), other=True)
        elif operation == "change":
            await self._with_retries(
                lambda: self._serving.change(self._model, lambda s: replace(s, learning_rate=load))
            )
        elif operation == "weights":
            await self._try(lambda engine: engine.snapshots.keep(None))
        elif operation == "delete" and "c" in self.applied:
            await self._try(lambda engine: engine.delete_stream("c"), done=UnknownStream)
            del self.applied["c"]
        elif "a" in self.applied:
            await self._do_to_a(operation)

    async def _do_to_a(self, operation: str) -> None:
        at = self.applied["a"]
        if operation == "fork":
            to = f"fork-{len(self.applied)}-{len(self.replies)}"
            await self._try(lambda engine: stream_copies.fork(engine, "a", to), done=StreamExists)
            self.applied[to] = at
        elif operation == "keep":
            kept = await self._try(lambda engine: stream_copies.keep_snapshot(engine, "a", None, most=1000))
            self._snapshot = kept["id"], at
        elif operation == "restore" and self._snapshot is not None:
            snapshot, self.applied["a"] = self._snapshot
            await self._try(lambda engine: stream_copies.restore_snapshot(engine, "a", snapshot))
        elif operation == "read":
            assert (await self._try(lambda engine: engine.reader.read("a", summary)))["sequence"] == at

    async def _observe(self, streams: str, load: float) -> None:
        """Two items of each stream; those that are refused are sent again."""
        left = [(s, self.applied.get(s, 0) + n, load * n) for n in (1, 2) for s in streams]
        for stream, sequence, _ in left:
            self.applied[stream] = sequence
        found: dict[tuple[str, int], bytes] = {}

        async def send(engine: Engine) -> None:
            rows = [row for row in left if row[:2] not in found]
            answers = await engine.submit([Observation(s, {"load": x}, n) for s, n, x in rows])
            for row, answer in zip(rows, answers, strict=True):
                if isinstance(answer, bytes):
                    found[row[:2]] = answer.replace(b'"duplicate":true', b'"duplicate":false')
                elif not isinstance(answer, StoreUnavailable | SequenceGap):
                    raise answer
            if len(found) < len(left):
                raise StoreUnavailable("not all were taken")

        await self._try(send)
        self.replies += [found[row[:2]] for row in left]

    async def _try(
        self, call: Callable[[Engine], Awaitable[T]], *, done: type[ServiceError] | None = None, other: bool = False
    ) -> Any:
        async def once() -> T | None:
            async with self._serving.use(f"{self._model}-other" if other else self._model) as engine:
                try:
                    return await call(engine)
                except ServiceError as error:
                    if done is None or not isinstance(error, done):
                        raise
                    return None  # a try that seemed to fail did it

        return await self._with_retries(once)

    async def _with_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        for _ in range(TRIES):
            try:
                return await call()
            except StoreUnavailable:
                continue
        pytest.fail("the store stayed away")

    @property
    def _serving(self) -> Engines:
        return self._chance.choice(self._processes)

    def _break_something(self) -> None:
        if self._faults is None:
            return
        for _ in range(self._chance.randrange(3)):
            call = self._chance.choice(FAULTY)
            if self._chance.random() < 0.5:
                self._faults.refuse(call, times=self._chance.randrange(1, 3))
            else:
                self._faults.lose_answer(call)


async def recovered(store: FaultyStore, compute: ComputeThread, model: str) -> bytes | None:
    """The model's weights as a process that starts now finds them."""
    engines = Engines(store, compute, compute, Settings(max_snapshots=1000), Metrics())
    async with engines.use(model) as engine:
        kept = await engine.snapshots.keep(None)
    await engines.drain()
    return await store.partition(model).load_kept(kept.id)


@pytest.mark.parametrize("seed", range(6))
async def test_faults_leave_no_trace(
    store: FaultyStore, compute: ComputeThread, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two processes with room for one model each, and faults at every call: the same replies, sequences and weights."""
    monkeypatch.setattr("service.lease.FIRST_WAIT_S", 0.0)
    chance = random.Random(seed)
    operations = [(chance.choice(OPERATIONS), chance.random()) for _ in range(N_OPERATIONS)]
    settings = Settings(max_open_models=1, snapshot_every_updates=5, max_snapshots=1000)
    outcomes = []
    for model, n_processes, faults in (("calm", 1, None), ("wild", 2, store.faults)):
        processes = [Engines(store, compute, compute, settings, Metrics()) for _ in range(n_processes)]
        for name in (model, f"{model}-other"):
            await processes[0].create(name, ModelSpec.from_dict(SPEC))
        caller = Caller(processes, model, faults, random.Random(seed))
        for operation, load in operations:
            await caller.do(operation, load)
        store.faults.clear()
        for engines in processes:
            await engines.drain()
        outcomes.append((caller.replies, caller.applied, await recovered(store, compute, model)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0]
