"""How many items the SDK gets through in a second: over each way, and one call after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from service.bench.running import running
from stepahead import Client, Model

SPEC: dict[str, Any] = {"hidden": 32}
N_WARM = 2_000
"""Items before the clock starts: kernels are compiled, and the client takes itself for the only writer."""

Rows = list[tuple[str, dict[str, float]]]


def one_by_one(model: Model, rows: Rows) -> None:
    """A call for each row."""
    streams = {name: model.stream(name) for name, _ in rows}
    for name, item in rows:
        streams[name].observe(item)


def many(via: Any) -> Callable[[Model, Rows], None]:
    """All rows in one call."""

    def feed(model: Model, rows: Rows) -> None:
        for _ in model.observe_many(rows, via=via):
            pass

    return feed


WAYS: dict[str, Callable[[Model, Rows], None]] = {
    "observe_many, WebSocket": many("websocket"),
    "observe_many, NDJSON": many("ndjson"),
    "observe_many, requests": many("requests"),
    "stream.observe": one_by_one,
}


def rows_of(n_items: int, n_streams: int) -> Rows:
    """Items of streams in turn."""
    return [(f"s{i % n_streams}", {"x": float(i % 17)}) for i in range(n_items)]


def measure(client: Client, name: str, feed: Callable[[Model, Rows], None], rows: Rows) -> float:
    """Items a second over one way."""
    model = client.create_model(name, {"x": "real"}, **SPEC)
    many("websocket")(model, rows_of(N_WARM, len({stream for stream, _ in rows})))
    begin_s = time.perf_counter()
    feed(model, rows)
    seconds = time.perf_counter() - begin_s
    client.delete_model(name)
    return len(rows) / seconds


def table(rates: Iterable[tuple[int, str, float, float]]) -> Iterable[str]:
    """Rates as a table."""
    yield "| streams | way | items/s | against stream.observe |"
    yield "|---:|---|---:|---:|"
    for n_streams, way, rate, base in rates:
        yield f"| {n_streams} | {way} | {rate:,.0f} | {rate / base:.1f} |"


@click.command()
@click.option("--items", type=click.IntRange(1), default=5_000, show_default=True, help="Of each way.")
@click.option("--streams", "streams", type=click.IntRange(1), multiple=True, default=(100, 1), show_default=True)
@click.option("--json", "is_json", is_flag=True, help="The figures as JSON.")
def main(items: int, streams: tuple[int, ...], is_json: bool) -> None:
    """Feed the same rows over each way to one service, and tell how fast it went."""
    rates = []
    with running() as server, Client(server.url) as client:
        for n_streams in streams:
            rows = rows_of(items, n_streams)
            found = {
                way: measure(client, f"m{n_streams}-{i}", feed, rows) for i, (way, feed) in enumerate(WAYS.items())
            }
            rates += [(n_streams, way, rate, found["stream.observe"]) for way, rate in found.items()]
    if is_json:
        click.echo(json.dumps([{"streams": n, "way": way, "items_per_s": rate} for n, way, rate, _ in rates]))
    else:
        click.echo("\n".join(table(rates)))


if __name__ == "__main__":
    main()
