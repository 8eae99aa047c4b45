"""The writers: each feeds some streams of one model, and sends again whatever was not acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.wire import Recording
from benchmarks.chaos.workload import Workload
from stepahead import AsyncClient, Reply, SequenceGap, StepaheadError

RETRIES = 2
"""Of the client. After them the writer sends again itself, at once after a restart instead of after a long delay."""
TIMEOUT_S = 4.0
PAUSE_S = 0.1
MAX_FRAME = 120
"""Most items in a frame."""
MAX_TOGETHER = 8
"""Most items sent at once, each in a request of its own."""
MAX_RESENT = 3
"""Of a stream's acknowledged items, how many are sent once more now and then."""

Place = tuple[str, int]
"""A stream and a sequence."""


class Writer:
    """Feeds some streams of one model, the only one to do so.

    Args:
        workload: What is sent.
        streams: Its own ones.
        url: Of the service.
        ledger: Learns of every answer.
        seed: Of how items are packed.
        begun: Where the writers of a model wait for each other once every stream has its first item. Until then no
            item changes the weights, and after it every batch does: so a batch can be told by its weights version.
        is_up: Set while the service is meant to answer.
        end: Set when no more is to be sent.
    """

    def __init__(
        self,
        workload: Workload,
        streams: Sequence[str],
        url: str,
        ledger: Ledger,
        seed: str,
        begun: asyncio.Barrier,
        is_up: asyncio.Event,
        end: asyncio.Event,
    ) -> None:
        self._workload = workload
        self._next = dict.fromkeys(streams, 1)
        self._ledger = ledger
        self._source = random.Random(seed)
        self._begun, self._is_up, self._end = begun, is_up, end
        self._client = AsyncClient(url, timeout=TIMEOUT_S, retries=RETRIES, transport=Recording(ledger))
        self._model = self._client.model(workload.model)

    async def run(self) -> None:
        """Send until the end; every item that was sent is then acknowledged, or its stream is among the troubles."""
        async with self._client:
            await self._deliver([self._take(stream) for stream in self._next])
            await self._begun.wait()
            while not self._end.is_set() and self._next:
                if self._source.random() < 0.2:
                    chosen = self._choose(MAX_TOGETHER)
                    await asyncio.gather(*(self._deliver_alone(self._take(stream)) for stream in chosen))
                else:
                    await self._deliver(self._frame())
                if self._source.random() < 0.1:
                    await self._send_once_more()

    def _choose(self, most: int) -> list[str]:
        return self._source.sample(list(self._next), self._source.randint(1, min(most, len(self._next))))

    def _take(self, stream: str) -> Place:
        sequence = self._next[stream]
        self._next[stream] += 1
        return stream, sequence

    def _frame(self) -> list[Place]:
        """Some streams' next items, now and then several of each."""
        n = self._source.choice((1, 1, 1, 2, 5))
        return [self._take(stream) for stream in self._choose(MAX_FRAME // n) for _ in range(n)]

    async def _deliver(self, places: list[Place]) -> None:
        """Send a frame until each of its items is acknowledged."""
        while places := [place for place in places if self._is_open(place)]:
            await self._is_up.wait()
            try:
                outcomes = [outcome async for outcome in self._send(places)]
            except StepaheadError:  # counted where it came in
                outcomes = []
            for place, outcome in zip(places, outcomes, strict=False):
                self._look_at(place, outcome)
            if any(self._is_open(place) for place in places):
                await asyncio.sleep(PAUSE_S)

    async def _deliver_alone(self, place: Place) -> None:
        """Send one item in a request of its own until it is acknowledged."""
        stream, sequence = place
        observed = self._workload.observed(stream, sequence)
        self._ledger.send(self._workload.model, stream, sequence)
        while self._is_open(place):
            await self._is_up.wait()
            try:
                await self._model.stream(stream).observe(
                    observed.values, timestamp=observed.timestamp, sequence=sequence
                )
            except StepaheadError as error:
                self._look_at(place, error)
                await asyncio.sleep(PAUSE_S)

    async def _send_once_more(self) -> None:
        """Send acknowledged items again: the ledger compares the answers."""
        places = [
            (stream, sequence)
            for stream in self._choose(MAX_TOGETHER)
            for sequence in range(max(1, self._next[stream] - MAX_RESENT), self._next[stream])
        ]
        await self._is_up.wait()
        try:
            async for _ in self._send(places):
                pass
        except StepaheadError:  # counted where it came in; nothing depends on it
            pass

    def _send(self, places: Sequence[Place]) -> AsyncIterator[Reply | StepaheadError]:
        rows: list[dict[str, Any]] = []
        for stream, sequence in places:
            self._ledger.send(self._workload.model, stream, sequence)
            observed = self._workload.observed(stream, sequence)
            rows.append(
                {
                    "stream": stream,
                    "sequence": sequence,
                    "item": observed.values,
                    "timestamp": observed.timestamp,
                }
            )
        return self._model.observe_many(rows, errors="yield", chunk=len(rows))

    def _is_open(self, place: Place) -> bool:
        """Whether an item is still to be acknowledged."""
        stream, sequence = place
        return stream in self._next and sequence not in self._ledger.replies[self._workload.model][stream]

    def _look_at(self, place: Place, outcome: Reply | StepaheadError) -> None:
        """Give a stream up whose item can never be applied any more: something that was acknowledged is gone."""
        if isinstance(outcome, Reply) or outcome.retried:
            return
        stream, sequence = place
        last = self._ledger.last(self._workload.model, stream)
        if isinstance(outcome, SequenceGap) and (outcome.expected or 0) > last:
            return  # an item before it was not applied, and will be sent again
        self._ledger.troubles.append(f"{self._workload.model}, {stream!r}, item {sequence}, after {last}: {outcome}")
        self._next.pop(stream, None)
