"""Which connection carries a feed, and when it may take anything."""

from __future__ import annotations

import asyncio

from service.api.feeds import Feeds


class Carrier:
    """A connection whose items are learned when the test says so."""

    def __init__(self) -> None:
        self.told, self.learned = asyncio.Event(), asyncio.Event()

    async def supersede(self) -> None:
        """Wait for what was taken."""
        self.told.set()
        await self.learned.wait()


async def test_a_third_connection_waits_for_the_first_too() -> None:
    """One that comes while the second still waits takes nothing before what the first took is learned."""
    feeds, begun = Feeds(), list[int]()
    first, second, third = carriers = [Carrier() for _ in range(3)]
    for later in (second, third):
        later.learned.set()  # they take nothing

    async def carry(i: int) -> None:
        async with feeds.carrying("m", "f", carriers[i]):
            begun.append(i)
            if i < 2:
                await carriers[i].told.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(carry(0))
        await asyncio.sleep(0)
        tasks.create_task(carry(1))
        await first.told.wait()
        tasks.create_task(carry(2))
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == [0]
        first.learned.set()
    assert begun == [0, 1, 2]
