"""REST, an item per request, against a route that does nothing."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import httpx

from service.bench import wire
from service.bench.learner import SPEC
from service.bench.load import Driven, Generator, Load, generator
from service.bench.plan import Plan
from service.bench.requests import MODEL, item_bodies, item_path
from service.bench.running import Server, empty_route, running
from service.bench.turns import PERCENTILES, Comparison, Tell, in_turns, percentiles

N_CONNECTIONS = 32
_EMPTY = "an empty FastAPI route"


def rest(plan: Plan, tell: Tell) -> list[Comparison]:
    """Throughput with 32 connections, latency at a quarter of it, and latency one by one."""
    with running() as service, generator() as load:
        service.create_model(MODEL, SPEC.to_dict())
        with empty_route(typical_reply(service)) as empty:
            tell(f"REST, {N_CONNECTIONS} connections, as fast as answers come")
            mine, others = _both(plan, tell, load, service, empty, N_CONNECTIONS)
            rates = tuple(one.rate for one in mine)
            peak = Comparison(
                "rest",
                f"REST, {N_CONNECTIONS} connections, one item per request",
                _EMPTY,
                "items/s",
                rates,
                tuple(one.rate for one in others),
                target=0.6,
                details={"generator_us_per_request": [1e6 * one.cpu_s / max(1, one.n) for one in mine + others]},
            )
            rate = median(rates) / 4
            tell(f"REST at a quarter of that, {rate:,.0f} requests/s")
            quarter = _latencies(
                "rest-quarter",
                "REST at a quarter of that rate",
                *_both(plan, tell, load, service, empty, N_CONNECTIONS, rate),
                targets={99.0: 3.0},
            )
            tell("REST, one request after the other")
            alone = _latencies(
                "rest-alone", "REST, one request after the other", *_both(plan, tell, load, service, empty, 1)
            )
    return [peak, *quarter, *alone]


def durability(plan: Plan, tell: Tell) -> list[Comparison]:
    """What it costs to have every reply wait for the disk."""
    with running("--appendfsync", "always") as always, running() as everysec, generator() as load:
        for server in (always, everysec):
            server.create_model(MODEL, SPEC.to_dict())
        tell("REST, one request after the other, each forced to disk before its reply")
        mine, others = _both(plan, tell, load, always, everysec, 1)
    title = "REST, one request after the other, each forced to disk before its reply (appendfsync always)"
    return _latencies("rest-always", title, mine, others, "all forced to disk once a second (everysec)")


def load_for(server: Server, n_connections: int, plan: Plan, rate: float | None = None) -> Load:
    """One item per request; each connection has its own stream."""
    address = server.address
    requests = [
        [wire.post(address, item_path(f"s{i}"), body) for body in item_bodies(seed=i)] for i in range(n_connections)
    ]
    return Load(address, "rest", requests, warm_s=plan.warm_s, seconds=plan.turn_s, rate=rate)


def typical_reply(server: Server) -> str:
    """A reply with all its parts, of a stream that is not measured."""
    url = f"{server.url}{item_path('first')}"
    for body in item_bodies(8):
        answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=60)
        answer.raise_for_status()
    return answer.text


def _both(
    plan: Plan, tell: Tell, load: Generator, ours: Server, theirs: Server, n: int, rate: float | None = None
) -> tuple[list[Driven], list[Driven]]:
    mine = load_for(ours, n, plan, rate)
    if rate is not None:
        mine = replace(mine, seconds=plan.latency_s(rate))
    # Nobody's first requests count: what is compiled or opened when it is first needed is then there.
    for one in (mine, replace(mine, address=theirs.address)):
        load.drive(replace(one, seconds=max(plan.warm_s, 0.1), warm_s=0.0))
    return in_turns(
        lambda: load.drive(mine), lambda: load.drive(replace(mine, address=theirs.address)), plan.rounds, tell
    )


def _latencies(
    name: str,
    title: str,
    mine: list[Driven],
    others: list[Driven],
    against: str = _EMPTY,
    targets: dict[float, float] | None = None,
) -> list[Comparison]:
    ours, theirs = ([percentiles(1e3 * one.latencies_s) for one in side] for side in (mine, others))
    return [
        Comparison(
            f"{name}-p{at:g}",
            f"{title}: p{at:g}",
            against,
            "ms",
            tuple(found[i] for found in ours),
            tuple(found[i] for found in theirs),
            target=(targets or {}).get(at),
            less_is_better=True,
            details={"requests": sum(one.n for one in mine)},
        )
        for i, at in enumerate(PERCENTILES)
    ]
