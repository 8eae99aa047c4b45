"""What callers see of damaged weights, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis

from model.codec import Kind
from service.store.keys import PartitionKeys
from tests.service.conftest import SPEC, Serve
from tests.service.damage import flipped, newer, put_redo, put_snapshot
from tests.service.test_models_api import code
from tests.service.test_snapshots_api import ITEMS, SNAPSHOTS, feed

LOADS = [1.0, 3.0, 2.0, 5.0, 4.0, 1.0, 7.0, 2.0, 6.0]


async def replies(client: httpx.AsyncClient, model: str, loads: list[float]) -> list[dict[str, Any]]:
    """Send items of a stream, one after the other."""
    path = f"/v1/models/{model}/streams/s/observations"
    return [(await client.post(path, json={"item": {"load": load}})).json() for load in loads]


@pytest.mark.parametrize("every", [2, 3, 100])
async def test_a_damaged_snapshot_changes_no_answer(serve: Serve, url: str, every: int) -> None:
    """Before and after, a model gives the answers of one whose snapshots are whole."""
    async with serve(snapshot_every_updates=every) as client:
        for model in ("m", "whole"):
            await client.put(f"/v1/models/{model}", json=SPEC)
            await replies(client, model, LOADS[:6])
    with redis.Redis.from_url(url) as raw:
        snapshot: bytes = raw.get(PartitionKeys("m").snapshot)  # type: ignore[assignment]
        put_snapshot(raw, flipped(snapshot))
    async with serve(snapshot_every_updates=every) as client:
        assert await replies(client, "m", LOADS[6:]) == await replies(client, "whole", LOADS[6:])
        assert 'stepahead_damaged_records_total{kind="snapshot"} 1.0' in (await client.get("/metrics")).text


async def test_lost_weights_are_a_named_error(serve: Serve, url: str) -> None:
    """Whoever uses such a model hears what can be done; the others are served, and restoring mends it."""
    async with serve() as client:
        for model in ("m", "other"):
            await client.put(f"/v1/models/{model}", json=SPEC)
        await feed(client, 1.0, 2.0)
        kept = (await client.post(SNAPSHOTS)).json()
    with redis.Redis.from_url(url) as raw:
        put_snapshot(raw, b"rubbish")
        put_redo(raw, {1: None})
    async with serve() as client:
        for response in (
            await client.post(ITEMS, json={"item": {"load": 1.0}}),
            await client.get("/v1/models/m/streams/s"),
            await client.post(SNAPSHOTS),
        ):
            assert (response.status_code, code(response)) == (500, "weights_lost")
            assert response.json()["error"]["partition"] == "m:0"
        assert (await client.post("/v1/models/other/streams/s/observations", json={"item": {"load": 1}})).is_success
        assert (await client.get(SNAPSHOTS)).json() == {"snapshots": [kept]}
        restored = await client.post(f"{SNAPSHOTS}/{kept['id']}/restore")
        assert (restored.status_code, restored.json()["weights_version"]) == (200, kept["weights_version"] + 1)
        assert len(await feed(client, 3.0)) == 1


async def test_newer_weights_are_a_named_error(serve: Serve, url: str) -> None:
    """An older service on newer data says so."""
    async with serve() as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, 1.0, 2.0)
    with redis.Redis.from_url(url) as raw:
        snapshot: bytes = raw.get(PartitionKeys("m").snapshot)  # type: ignore[assignment]
        put_snapshot(raw, newer(Kind.WEIGHTS, snapshot))
    async with serve() as client:
        response = await client.post(ITEMS, json={"item": {"load": 1.0}})
        assert (response.status_code, code(response)) == (500, "unreadable_format")
        assert "Run the version" in response.json()["error"]["message"]
