"""A real store whose calls can be made to fail, wait or lose their answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from service.errors import StoreUnavailable
from service.store import Partition, Store


class Faults:
    """What happens to the next call of a partition's method; each fault happens once, if nothing else is said."""

    def __init__(self) -> None:
        self._before: dict[str, list[Exception]] = {}
        self._after: dict[str, BaseException] = {}
        self._held: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    def refuse(self, call: str, error: Exception | None = None, *, times: int = 1) -> None:
        """The next ``times`` of ``call`` fail and do nothing."""
        self._before[call] = [error or StoreUnavailable("refused by the test")] * times

    def lose_answer(self, call: str, error: BaseException | None = None) -> None:
        """The next ``call`` is done, and fails."""
        self._after[call] = error or StoreUnavailable("the answer was lost by the test")

    def hold(self, call: str) -> tuple[asyncio.Event, asyncio.Event]:
        """The next ``call`` waits; returns the event that it arrived, and the one that lets it go on."""
        self._held[call] = asyncio.Event(), asyncio.Event()
        return self._held[call]

    def clear(self) -> None:
        """No more faults."""
        self._before.clear()
        self._after.clear()

    async def pass_through(self, call: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call as the faults say."""
        if call in self._held:
            arrived, go_on = self._held.pop(call)
            arrived.set()
            await go_on.wait()
        if self._before.get(call):
            raise self._before[call].pop()
        result = await method(*args, **kwargs)
        if call in self._after:
            raise self._after.pop(call)
        return result


class FaultyPartition(Partition):
    """A partition whose calls pass through :class:`Faults`."""

    faults: Faults

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name == "faults" or not callable(found):
            return found
        faults = self.faults

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await faults.pass_through(name, found, *args, **kwargs)

        return call


class FaultyStore(Store):
    """A store whose partitions are faulty."""

    faults: Faults

    def partition(self, model: str, shard: int = 0) -> Partition:
        """A partition whose calls pass through the store's faults."""
        partition = super().partition(model, shard)
        partition.__class__ = FaultyPartition
        partition.faults = self.faults  # type: ignore[attr-defined]
        return partition
