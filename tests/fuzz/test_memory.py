"""Nothing stays behind a request: the objects that live after many are those that lived before."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import httpx

from tests.fuzz.ground import SPEC
from tests.fuzz.hosted import Hosted
from tests.service.conftest import BASE

N_ROUNDS = 25
WARM_UP = 16  # rounds in which caches and pools fill; that of URLs takes the longest


async def a_round(client: httpx.AsyncClient, n: int) -> int:
    """A model with streams, all that can be asked of them, and all that can go wrong; in the end it is gone."""
    stream = f"/v1/models/r{n}/streams/s"
    item: dict[str, Any] = {"item": {"load": n, "state": "idle", "activity": f"a{n}"}}
    calls: list[tuple[str, str, Any]] = [
        ("PUT", f"/v1/models/r{n}", SPEC),
        *[("POST", f"{stream}/observations", item)] * 3,
        ("POST", f"{stream}/observations", {**item, "sequence": 2}),
        ("POST", f"{stream}/observations", {**item, "sequence": 9}),
        ("POST", f"{stream}/observations", {"item": {f"unknown{n}": 1}}),
        ("POST", f"/v1/models/r{n}/observations", {"observations": [{"stream": f"t{i}", **item} for i in range(3)]}),
        ("PATCH", f"/v1/models/r{n}", {"learning_rate": 0.001 + n / 1000}),
        ("PATCH", f"/v1/models/r{n}", {"learning_rate": n}),
        ("GET", stream, None),
        ("GET", f"{stream}/belief", None),
        ("GET", f"{stream}/prediction?horizon=3&experts=true", None),
        ("GET", f"{stream}/history", None),
        ("GET", f"/v1/models/e{n}/events", None),
        ("GET", f"/v1/models/r{n}/streams?limit=2", None),
        ("POST", f"{stream}/fork", {"to": "fork"}),
        ("POST", f"{stream}/fork", {"to": "fork"}),
        ("POST", f"{stream}/snapshots", {"name": f"at {n}"}),
        ("GET", f"{stream}/snapshots", None),
        ("POST", f"{stream}/snapshots/1/restore", None),
        ("POST", f"{stream}/snapshots/{n}9/restore", None),
        ("DELETE", f"{stream}/snapshots/1", None),
        ("POST", f"/v1/models/r{n}/snapshots", None),
        ("GET", f"/v1/models/r{n}/snapshots", None),
        ("POST", f"/v1/models/r{n}/snapshots/{n}/restore", None),
        ("POST", "/v1/size", {"spec": SPEC, "streams": n + 1}),
        ("DELETE", stream, None),
        ("GET", f"/none/{n}", None),
        ("DELETE", "/v1/models", None),
        ("PUT", f"/v1/models/.{n}", {"fields": []}),
    ]
    for method, path, body in calls:
        response = await client.request(method, path, json=body)
        assert response.status_code < 500, response.text
    files: list[tuple[str, str, bytes | None]] = []
    for of, copy in ((f"/v1/models/r{n}", f"/v1/models/c{n}"), (f"/v1/models/r{n}/streams/fork", stream)):
        data = (await client.get(f"{of}/archive", params={"streams": "all"})).content
        files += [("PUT", f"{copy}/archive", data), ("PUT", f"{copy}x/archive", data[:-1]), ("DELETE", copy, None)]
    files += [("DELETE", f"/v1/models/r{n}", None), ("GET", f"/v1/models/r{n}", None), ("GET", "/metrics", None)]
    answers = [await client.request(method, path, content=data) for method, path, data in files]
    assert [answer.status_code for answer in answers] == [201, 422, 204, 201, 422, 204, 204, 404, 200]
    return len(calls) + len(files)


def alive() -> Counter[str]:
    """Objects that the collector knows, by their types, but for ended timers, which the loop sweeps now and then."""
    while gc.collect():  # what a finaliser lets go is found by the next collection
        pass
    found = gc.get_objects()
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in found)
    ended = sum(type(one) is asyncio.TimerHandle and one.cancelled() for one in found)
    kinds.subtract({"asyncio.events.TimerHandle": ended, "_contextvars.Context": ended})  # each holds one
    return kinds


def test_no_object_stays_behind_a_request(app: Hosted) -> None:
    """Over hundreds of requests no kind of object grows by as much as one for every round of them."""

    async def rounds(first: int, n: int) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url=BASE) as client:
            return sum([await a_round(client, first + i) for i in range(n)])

    app.call(rounds(0, WARM_UP))
    alive()  # once, for what it makes itself
    before = alive()
    n_requests = app.call(rounds(WARM_UP, N_ROUNDS))
    grown = {name: n - before[name] for name, n in alive().items() if n - before[name] >= N_ROUNDS}
    assert n_requests > 500
    assert not grown
