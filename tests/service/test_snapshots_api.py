"""Snapshots of a model's weights over HTTP."""

from __future__ import annotations

import httpx
import pytest
import redis

from tests.service.conftest import SPEC, Serve
from tests.service.test_models_api import code

SNAPSHOTS = "/v1/models/m/snapshots"
ITEMS = "/v1/models/m/streams/s/observations"


async def feed(client: httpx.AsyncClient, *loads: float) -> list[int]:
    """Send items of one stream; return the weights versions of the replies."""
    replies = [await client.post(ITEMS, json={"item": {"load": load, "state": "idle"}}) for load in loads]
    return [reply.json()["prediction"]["weights_version"] for reply in replies]


async def test_keep_list_restore_delete(client: httpx.AsyncClient) -> None:
    """A snapshot is described alike when kept and listed, newest first; restoring gives weights a new version."""
    (_, version) = await feed(client, 1.0, 2.0)
    first = await client.post(SNAPSHOTS, json={"name": "before-outage"})
    assert first.status_code == 201
    described = first.json()
    assert (described["name"], described["weights_version"]) == ("before-outage", version)
    assert described["bytes"] > 1000
    assert described["created_at"].endswith("Z")
    (later,) = await feed(client, 3.0)
    second = (await client.post(SNAPSHOTS)).json()
    assert (second["name"], second["weights_version"]) == (None, later)
    assert (await client.get(SNAPSHOTS)).json() == {"snapshots": [second, described]}
    restored = await client.post(f"{SNAPSHOTS}/{described['id']}/restore")
    assert (restored.status_code, restored.json()["weights_version"]) == (200, later + 1)
    assert restored.json() == (await client.get("/v1/models/m")).json()
    assert await feed(client, 4.0) == [later + 2]
    assert (await client.delete(f"{SNAPSHOTS}/{second['id']}")).status_code == 204
    assert (await client.get(SNAPSHOTS)).json() == {"snapshots": [described]}


async def test_what_is_not_there_is_named(client: httpx.AsyncClient) -> None:
    """An id that is not kept is ``unknown_snapshot``, and a model that is not there ``unknown_model``."""
    for response in (await client.post(f"{SNAPSHOTS}/0/restore"), await client.delete(f"{SNAPSHOTS}/0")):
        assert (response.status_code, code(response)) == (404, "unknown_snapshot")
    for response in (
        await client.post("/v1/models/x/snapshots"),
        await client.get("/v1/models/x/snapshots"),
        await client.post("/v1/models/x/snapshots/0/restore"),
        await client.delete("/v1/models/x/snapshots/0"),
    ):
        assert (response.status_code, code(response)) == (404, "unknown_model")


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "x" * 257}, {"name": 1}, {"other": "x"}, []])
async def test_a_bad_body_keeps_nothing(client: httpx.AsyncClient, body: object) -> None:
    """A name is a text of bounded length, and there is nothing beside it."""
    response = await client.post(SNAPSHOTS, json=body)
    assert (response.status_code, code(response)) == (422, "invalid_request")
    assert (await client.get(SNAPSHOTS)).json() == {"snapshots": []}


async def test_snapshots_are_bounded(serve: Serve) -> None:
    """One over ``max_snapshots`` is ``overloaded`` and names the bound."""
    async with serve(max_snapshots=2) as client:
        await client.put("/v1/models/m", json=SPEC)
        kept = [await client.post(SNAPSHOTS) for _ in range(3)]
        assert [response.status_code for response in kept] == [201, 201, 429]
        assert (code(kept[-1]), kept[-1].json()["error"]["max_snapshots"]) == ("overloaded", 2)


async def test_a_deleted_model_takes_its_snapshots_along(client: httpx.AsyncClient, url: str) -> None:
    """Nothing of them is left in the store, and the next model of that name has none."""
    await feed(client, 1.0)
    await client.post(SNAPSHOTS)
    await client.delete("/v1/models/m")
    with redis.Redis.from_url(url) as raw:
        assert raw.keys("{m:0}*") == []
    await client.put("/v1/models/m", json=SPEC)
    assert (await client.get(SNAPSHOTS)).json() == {"snapshots": []}
