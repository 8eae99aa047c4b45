"""Many streams: throughput against few, bytes in the store, and the service's memory while they are created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
import redis

from benchmarks.bench.watching import Watch
from model.belief import belief_dtype
from service.bench import wire
from service.bench.learner import SPEC
from service.bench.load import Load, generator
from service.bench.plan import Plan
from service.bench.requests import FRAME_ITEMS, IN_FLIGHT, MODEL, frame, frames, names
from service.bench.running import Server, running
from service.bench.turns import Comparison, Tell, in_turns
from service.settings import Settings, flag_name
from service.store.keys import PartitionKeys
from service.store.socket_path import noted_socket_path

_N_FRAMES = 1024
_WARM_STREAMS = 2048
_PATIENT_S = 3600.0
_CACHE = "belief_cache_bytes"
_CACHED = 4  # one in so many beliefs of the streams that are created


def many_against_few(plan: Plan, tell: Tell) -> list[Comparison]:
    """Items spread uniformly over many streams of one model and over few of another, on one server."""
    with running() as service, generator() as load:
        sides = []
        for n in (plan.many_streams, plan.few_streams):
            model = f"{MODEL}-{n}"
            service.create_model(model, SPEC.to_dict())
            tell(f"creating {n} streams")
            load.drive(_creating(service, model, n))
            streams = _spread(service, model, n)
            sides.append(replace(streams, warm_s=plan.warm_s, seconds=plan.turn_s))
        many, few = sides
        tell(f"{plan.many_streams} streams in turns with {plan.few_streams}")
        mine, others = in_turns(partial(load.drive, many), partial(load.drive, few), plan.rounds, tell)
    return [
        Comparison(
            "streams",
            f"{plan.many_streams:,} streams, frames of {FRAME_ITEMS} spread uniformly{_cache(cache_bytes())}",
            f"{plan.few_streams} streams",
            "items/s",
            tuple(FRAME_ITEMS * one.rate for one in mine),
            tuple(FRAME_ITEMS * one.rate for one in others),
            target=0.9,
            details={_CACHE: cache_bytes()},
        )
    ]


def stored(plan: Plan, tell: Tell) -> list[Comparison]:
    """Bytes that the store counts for a stream that has had more items than are kept of it."""
    n, kept = plan.stored_streams, Settings.model_fields["kept_replies"].default
    with running() as service, generator() as load:
        service.create_model(MODEL, SPEC.to_dict())
        streams = names(n)
        each = [streams[i : i + FRAME_ITEMS] for i in range(0, n, FRAME_ITEMS)]
        n_rounds = kept + kept // 4
        tell(f"{n_rounds} items of each of {n} streams")
        requests = [wire.message(frames(group, 1, seed=i)[0]) for i in range(n_rounds) for group in each]
        load.drive(_all_of(service, MODEL, requests))
        found = stream_bytes(service, MODEL) / n
    raw = belief_dtype(SPEC).itemsize
    return [
        Comparison(
            "stored",
            f"bytes in the store per stream, after {n_rounds} items",
            "the raw numbers of its belief",
            "bytes",
            (found,),
            (float(raw),),
            target=1.5,
            less_is_better=True,
        )
    ]


def created(plan: Plan, tell: Tell) -> list[Comparison]:
    """Memory of the service while streams are created, an item each; a small network, so that the store has room."""
    spec = replace(SPEC, hidden=8, experts="none")
    n = plan.created_streams
    budget = min(
        cache_bytes(), n * belief_dtype(spec).itemsize // _CACHED
    )  # less than all take: there is a bound to see
    with running(flag_name(_CACHE), str(budget)) as service, generator() as load:
        service.create_model(MODEL, spec.to_dict())
        load.drive(_creating(service, MODEL, min(n, _WARM_STREAMS)))  # what work itself takes is there before
        service.delete_model(MODEL)
        service.create_model(MODEL, spec.to_dict())
        tell(f"creating {n} streams")
        with Watch(service.pid) as watch:
            load.drive(_creating(service, MODEL, n))
    grown = watch.most_bytes - watch.first_bytes
    tell(f"  grown by {grown / 2**20:,.1f} MB, {grown / n:,.0f} bytes per stream")
    return [
        Comparison(
            "created",
            f"growth of the service's memory while {n:,} streams are created{_cache(budget)}",
            "the cache's bound",
            "MB",
            (grown / 2**20,),
            (budget / 2**20,),
            target=1.0,
            less_is_better=True,
            details={
                "streams": n,
                "belief_bytes": belief_dtype(spec).itemsize,
                _CACHE: budget,
                "seconds": watch.seconds,
                "memory_bytes": watch.sampled_bytes,
                "late_growth_bytes": _late_growth(watch.sampled_bytes),
            },
        )
    ]


def cache_bytes() -> int:
    """The default of the setting that bounds the beliefs kept in memory."""
    return int(Settings.model_fields[_CACHE].default)


def _cache(n_bytes: int) -> str:
    return f"; a cache of {n_bytes / 2**20:,.0f} MB"


def stream_bytes(service: Server, model: str) -> int:
    """What the store counts for the keys of a model's streams, all but those of the model as a whole."""
    path = noted_socket_path(service.data_dir / "store")
    keys = PartitionKeys(model)
    of_model = {
        getattr(keys, name).encode()
        for name in ("lease", "weights", "snapshot", "previous_snapshot", "redo", "kept", "kept_weights")
    }
    with redis.Redis(unix_socket_path=str(path)) as store:
        of_streams = [key for key in store.scan_iter(f"{{{model}:*", count=1000) if key not in of_model]
        pipe = store.pipeline(transaction=False)
        for key in of_streams:
            pipe.memory_usage(key, samples=0)
        return sum(pipe.execute())


def _creating(service: Server, model: str, n: int) -> Load:
    """A first item of each of ``n`` streams."""
    streams = names(n)
    values = np.random.default_rng(1).normal(size=n).round(4).tolist()
    parts = [slice(i, i + FRAME_ITEMS) for i in range(0, n, FRAME_ITEMS)]
    return _all_of(service, model, [wire.message(frame(streams[part], values[part])) for part in parts])


def _spread(service: Server, model: str, n: int) -> Load:
    """Frames of different streams, each drawn from all of them."""
    source, streams = np.random.default_rng(2), np.array(names(n))
    drawn = [streams[source.choice(n, FRAME_ITEMS, replace=False)].tolist() for _ in range(_N_FRAMES)]
    return _over(
        service, model, [wire.message(frame(some, source.normal(size=FRAME_ITEMS).tolist())) for some in drawn]
    )


def _all_of(service: Server, model: str, requests: Sequence[bytes]) -> Load:
    return replace(_over(service, model, requests), seconds=_PATIENT_S, n_requests=len(requests))


def _over(service: Server, model: str, requests: Sequence[bytes]) -> Load:
    return Load(service.address, "websocket", [requests], f"/v1/models/{model}/socket", IN_FLIGHT)


def _late_growth(sampled_bytes: Sequence[int]) -> int:
    """Growth over the last third of the time."""
    third = max(1, len(sampled_bytes) // 3)
    return int(median(sampled_bytes[-third // 2 :]) - sampled_bytes[-third])
