"""Cut the connection of ``observe_many`` again and again, and prove that every item was learned once and in order.

``make cuts``. A proxy between client and service resets all connections at random moments, wherever the bytes are then.
The same rows are fed over each way, by both clients, each to a model of its own whose weights are frozen; in the end
every belief must be, to the bit, the one of a run without cuts.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from benchmarks.chaos.proxy import Proxy
from service.bench.running import running
from stepahead import AsyncClient, Client, Model, Reply

Way = tuple[Literal["websocket", "ndjson"], Literal["Client", "AsyncClient"]]
Rows = list[tuple[str, dict[str, float]]]

WAYS: tuple[Way, ...] = (
    ("websocket", "Client"),
    ("websocket", "AsyncClient"),
    ("ndjson", "Client"),
    ("ndjson", "AsyncClient"),
)
SPEC: dict[str, Any] = {"hidden": 8, "learn": {"weights": False}}
MAX_DELAY_S = 0.03
"""Longest time between the reply that a cut waits for and the cut."""
RETRY_S = 0.005
"""How soon a cut that found no connection is tried again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one way went.

    Args:
        via: The way.
        client: Which client.
        items: Rows that were fed.
        cuts: How often its connection was cut.
        seconds: From the first row to the last reply.
        resent: Replies to items that had been learned when their connection broke.
        wrong_replies: Replies that were not the row's own, or not in its place.
        wrong_streams: Streams whose sequence is not the number of their items.
        wrong_beliefs: Streams whose belief is not that of the run without cuts.
    """

    via: str
    client: str
    items: int
    cuts: int
    seconds: float
    resent: int
    wrong_replies: int
    wrong_streams: int
    wrong_beliefs: int

    @property
    def is_exact(self) -> bool:
        """Whether nothing was lost, learned twice or answered wrongly."""
        return not (self.wrong_replies or self.wrong_streams or self.wrong_beliefs)


class Cutter:
    """Cuts all connections of a proxy, at random moments of a feed.

    Args:
        proxy: Whose connections.
        loop: Where it runs.
        n_items: Replies that the feed gets.
        n_cuts: How often.
        source: Of the moments.
    """

    def __init__(
        self, proxy: Proxy, loop: asyncio.AbstractEventLoop, n_items: int, n_cuts: int, source: random.Random
    ) -> None:
        self._proxy, self._loop, self._source = proxy, loop, source
        self._at = sorted(source.sample(range(n_items * 9 // 10), n_cuts), reverse=True)  # the last ones need time too
        self.n_cuts = 0

    def saw(self, n_replies: int) -> None:
        """So many replies have come; cut shortly after some."""
        while self._at and self._at[-1] < n_replies:
            self._at.pop()
            self._loop.call_soon_threadsafe(self._loop.call_later, self._source.random() * MAX_DELAY_S, self._cut)

    def _cut(self) -> None:
        if self._proxy.n_open:
            self.n_cuts += 1
            self._proxy.cut()
        else:  # between two connections: the next one is cut
            self._loop.call_later(RETRY_S, self._cut)


@contextmanager
def proxied(url: str, kind: type[Proxy] = Proxy) -> Iterator[tuple[str, Proxy, asyncio.AbstractEventLoop]]:
    """A proxy before a service, in a thread of its own: its URL, itself and its loop."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        proxy = kind(lambda: asyncio.open_connection(host, port), b"", random.Random(0))
        front = asyncio.run_coroutine_threadsafe(proxy.start(), loop).result()
        try:
            yield f"http://127.0.0.1:{front}", proxy, loop
        finally:
            asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def rows_of(n_items: int, n_streams: int, source: random.Random) -> Rows:
    """Items of streams in no order."""
    return [(f"s{source.randrange(n_streams)}", {"x": source.gauss(0, 1)}) for _ in range(n_items)]


def cut(url: str, way: Way, rows: Rows, reference: Model, n_cuts: int, seed: str) -> Outcome:
    """Feed rows over one way while its connections are cut, and compare what came of it.

    Args:
        url: Of the service.
        way: How the rows are fed.
        rows: What is fed.
        reference: A model that got the same rows without cuts.
        n_cuts: How often.
        seed: Of the moments.
    """
    via, client_name = way
    with Client(url) as plain, proxied(url) as (front, proxy, loop):
        model = plain.create_model(f"{reference.name}-{via}-{client_name}", {"x": "real"}, **SPEC)
        cutter = Cutter(proxy, loop, len(rows), n_cuts, random.Random(seed))
        begin_s = time.monotonic()
        if client_name == "Client":
            replies = _feed(front, model.name, via, rows, cutter)
        else:
            replies = asyncio.run(_feed_async(front, model.name, via, rows, cutter))
        seconds = time.monotonic() - begin_s
        places = dict.fromkeys((stream for stream, _ in rows), 0)
        wrong_replies = abs(len(rows) - len(replies))
        for (stream, _), reply in zip(rows, replies, strict=False):
            places[stream] += 1
            wrong_replies += (reply.stream, reply.sequence) != (stream, places[stream])
        sequences = {summary.stream: summary.sequence for summary in model.streams()}
        outcome = Outcome(
            via,
            client_name,
            len(rows),
            cutter.n_cuts,
            round(seconds, 2),
            sum(reply.duplicate for reply in replies),
            wrong_replies,
            sum(sequences.get(stream) != place for stream, place in places.items()),
            sum(model.stream(s).belief().data != reference.stream(s).belief().data for s in places),
        )
        plain.delete_model(model.name)
        return outcome


def refer(client: Client, name: str, rows: Rows) -> Model:
    """A model that got rows without any cut, one request after the other."""
    model = client.create_model(name, {"x": "real"}, **SPEC)
    for _ in model.observe_many(rows, via="requests"):
        pass
    return model


def _feed(url: str, name: str, via: Any, rows: Rows, cutter: Cutter) -> list[Reply]:
    replies: list[Reply] = []
    with Client(url, retries=10) as client:
        for reply in client.model(name).observe_many(iter(rows), via=via):
            replies.append(reply)
            cutter.saw(len(replies))
    return replies


async def _feed_async(url: str, name: str, via: Any, rows: Rows, cutter: Cutter) -> list[Reply]:
    async def arriving() -> AsyncIterator[tuple[str, dict[str, float]]]:
        for row in rows:
            yield row

    replies: list[Reply] = []
    async with AsyncClient(url, retries=10) as client:
        async for reply in client.model(name).observe_many(arriving(), via=via):
            replies.append(reply)
            cutter.saw(len(replies))
    return replies


@click.command()
@click.option("--items", type=click.IntRange(1), default=50_000, show_default=True, help="Of each way.")
@click.option("--streams", type=click.IntRange(1), default=100, show_default=True)
@click.option("--cuts", type=click.IntRange(0), default=100, show_default=True, help="Of each way.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of items and moments.")
@click.option("--json", "is_json", is_flag=True, help="The figures as JSON.")
def main(items: int, streams: int, cuts: int, seed: int, is_json: bool) -> None:
    """Feed rows over each way while its connections are cut. The status is 1 if anything was not exact."""
    rows = rows_of(items, streams, random.Random(seed))
    with running() as server, Client(server.url) as client:
        reference = refer(client, "reference", rows)
        outcomes = []
        for way in WAYS:
            outcomes.append(cut(server.url, way, rows, reference, cuts, f"{seed}/{way}"))
            if not is_json:
                click.echo(line(outcomes[-1]))
    if is_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes]))
    raise SystemExit(not all(outcome.is_exact for outcome in outcomes))


def line(outcome: Outcome) -> str:
    """An outcome for a person."""
    verdict = (
        "every item once, in order, every belief to the bit"
        if outcome.is_exact
        else f"WRONG: {outcome.wrong_replies} replies, {outcome.wrong_streams} streams, {outcome.wrong_beliefs} beliefs"
    )
    return (
        f"{outcome.via:9}  {outcome.client:11}  {outcome.items:,} items  {outcome.cuts} cuts  {outcome.seconds:.1f} s  "
        f"{outcome.resent:,} replies to items sent again  {verdict}"
    )


if __name__ == "__main__":
    main()
