"""Long-lived connections, frames of 64 items, against the learner alone."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from service.bench import wire
from service.bench.learner import SPEC, Alone
from service.bench.load import Generator, Load, Way, generator
from service.bench.plan import Plan
from service.bench.requests import FRAME_ITEMS, IN_FLIGHT, LINES_PATH, MODEL, SOCKET_PATH, frames, names
from service.bench.running import Server, running
from service.bench.turns import PERCENTILES, Comparison, Tell, in_turns, percentiles

_ALONE = f"the learner alone, {FRAME_ITEMS} streams a step"


def many(plan: Plan, tell: Tell) -> list[Comparison]:
    """64 streams over a WebSocket and over NDJSON, and the latency at a quarter of what gets through."""
    alone = Alone(FRAME_ITEMS)
    with running() as service, generator() as load:
        service.create_model(MODEL, SPEC.to_dict())
        found = [
            _throughput(plan, tell, load, service, alone, "websocket", "WebSocket"),
            _throughput(plan, tell, load, service, alone, "ndjson", "NDJSON"),
        ]
        rate = median(found[0].ours) / FRAME_ITEMS / 4
        return [*found, *_latency(plan, tell, load, service, alone, rate)]


def backfill(plan: Plan, tell: Tell) -> list[Comparison]:
    """One stream, all its items in frames."""
    alone, n_frames = Alone(1), max(1, plan.backfill_items // FRAME_ITEMS // plan.rounds)
    with running() as service, generator() as load:
        service.create_model(MODEL, SPEC.to_dict())
        sent = replace(load_for(service, "websocket", ["s0"] * FRAME_ITEMS), seconds=3600.0, n_requests=n_frames)
        load.drive(replace(sent, n_requests=1))
        tell(f"one stream, {n_frames * FRAME_ITEMS} items a round in frames of {FRAME_ITEMS}")
        mine, others = in_turns(lambda: load.drive(sent), lambda: alone.rate(plan.turn_s), plan.rounds, tell)
    return [
        Comparison(
            "backfill",
            f"one stream, {n_frames * FRAME_ITEMS * plan.rounds:,} items in frames of {FRAME_ITEMS} over a WebSocket",
            "the learner alone, one stream",
            "items/s",
            tuple(FRAME_ITEMS * one.rate for one in mine),
            tuple(others),
            target=0.7,
        )
    ]


def load_for(server: Server, way: Way, streams: list[str]) -> Load:
    """Frames of these streams over one connection, as many under way as the service takes in."""
    bodies = frames(streams)
    make, path = (wire.message, SOCKET_PATH) if way == "websocket" else (wire.line, LINES_PATH)
    return Load(server.address, way, [[make(body) for body in bodies]], path, IN_FLIGHT)


def _throughput(
    plan: Plan, tell: Tell, load: Generator, service: Server, alone: Alone, way: Way, title: str
) -> Comparison:
    sent = replace(load_for(service, way, names(FRAME_ITEMS)), warm_s=plan.warm_s, seconds=plan.turn_s)
    load.drive(replace(sent, seconds=max(plan.warm_s, 0.1), warm_s=0.0))
    tell(f"{title}, {FRAME_ITEMS} streams, {IN_FLIGHT} frames of {FRAME_ITEMS} under way")
    mine, others = in_turns(lambda: load.drive(sent), lambda: alone.rate(plan.turn_s), plan.rounds, tell)
    return Comparison(
        way,
        f"{title}, {FRAME_ITEMS} streams, frames of {FRAME_ITEMS}",
        _ALONE,
        "items/s",
        tuple(FRAME_ITEMS * one.rate for one in mine),
        tuple(others),
        target=0.5,
        details={"generator_us_per_frame": [1e6 * one.cpu_s / max(1, one.n) for one in mine]},
    )


def _latency(plan: Plan, tell: Tell, load: Generator, service: Server, alone: Alone, rate: float) -> list[Comparison]:
    sent = load_for(service, "websocket", names(FRAME_ITEMS))
    sent = replace(sent, warm_s=plan.warm_s, seconds=plan.latency_s(rate), rate=rate)
    tell(f"WebSocket at a quarter of that, {rate:,.1f} frames/s")
    mine, others = in_turns(lambda: load.drive(sent), lambda: alone.rate(plan.turn_s), plan.rounds, tell)
    found = [percentiles(1e3 * one.latencies_s) for one in mine]
    return [
        Comparison(
            f"frames-quarter-p{at:g}",
            f"a frame of {FRAME_ITEMS} over a WebSocket at a quarter of that rate: p{at:g}",
            "the mean step of the learner alone",
            "ms",
            tuple(one[i] for one in found),
            tuple(1e3 * FRAME_ITEMS / other for other in others),
            less_is_better=True,
            details={"frames": sum(one.n for one in mine)},
        )
        for i, at in enumerate(PERCENTILES)
    ]
