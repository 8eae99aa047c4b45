"""The application on a cluster: models on all its servers, a slot that moves, a server that is killed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from service.store.keys import MODELS, PartitionKeys
from tests.local_cluster import LocalCluster
from tests.service.conftest import SPEC, Serve

MODEL_NAMES = [f"m{i}" for i in range(12)]
PATIENCE_S = 30.0

pytestmark = pytest.mark.parametrize("shared_cluster", ["redis"], indirect=True)


@pytest.fixture
def url(cluster: LocalCluster) -> str:
    """The emptied cluster, in the place of the one Valkey."""
    return cluster.url


def key(model: str) -> str:
    """A key of the model's partition."""
    return PartitionKeys(model).lease


async def create(client: httpx.AsyncClient, *models: str) -> None:
    """Create models."""
    created = await asyncio.gather(*(client.put(f"/v1/models/{model}", json=SPEC) for model in models))
    assert {reply.status_code for reply in created} == {201}


async def observe(client: httpx.AsyncClient, model: str, sequence: int, stream: str = "s") -> httpx.Response:
    """Observe an item that tells its sequence."""
    body = {"item": {"load": sequence, "state": "busy"}, "sequence": sequence}
    return await client.post(f"/v1/models/{model}/streams/{stream}/observations", json=body)


async def test_models_on_all_servers_work_together(cluster: LocalCluster, serve: Serve) -> None:
    """Models are created, fed, listed, found by the next service and deleted, whichever server they are on."""
    assert {cluster.owner(key(model)) for model in MODEL_NAMES} == set(cluster.servers)
    async with serve() as client:
        await create(client, *MODEL_NAMES)
        for sequence in (1, 2, 3):
            replies = await asyncio.gather(*(observe(client, model, sequence) for model in MODEL_NAMES))
            assert {reply.status_code for reply in replies} == {200}
    async with serve() as client:
        assert {model["name"] for model in (await client.get("/v1/models")).json()["models"]} == set(MODEL_NAMES)
        replies = await asyncio.gather(*(observe(client, model, 4) for model in MODEL_NAMES))
        assert {reply.json()["prediction"]["weights_version"] for reply in replies} == {3}
        gone = await asyncio.gather(*(client.delete(f"/v1/models/{model}") for model in MODEL_NAMES))
        assert {reply.status_code for reply in gone} == {204}
        assert (await client.get("/v1/models")).json()["models"] == []
    assert [server.admin.dbsize() for server in cluster.servers] == [0, 0, 0]


async def test_a_move_costs_no_item(cluster: LocalCluster, serve: Serve) -> None:
    """Before, while and after its slot moves, every item of a model is learned once, and none fails."""
    async with serve() as client:
        await create(client, "m0")
        source = cluster.owner(key("m0"))
        target = next(server for server in cluster.servers if server is not source)
        replies = [await observe(client, "m0", sequence) for sequence in (1, 2)]
        cluster.begin_to_move(key("m0"), target)
        replies += [await observe(client, "m0", sequence) for sequence in (3, 4)]
        cluster.end_move(key("m0"), target)
        replies += [await observe(client, "m0", sequence) for sequence in (5, 6)]
        assert [reply.status_code for reply in replies] == [200] * 6
        assert not any(reply.json()["duplicate"] for reply in replies)
        summary = (await client.get("/v1/models/m0/streams/s")).json()
        assert (summary["sequence"], summary["weights_version"]) == (6, 5)


async def test_a_killed_server_takes_only_its_models_along(cluster: LocalCluster, serve: Serve) -> None:
    """Its models answer ``store_unavailable`` and the others go on; when it is back, so are they, with every item."""
    victim = next(server for server in cluster.servers[1:] if server is not cluster.owner(MODELS))
    lost = next(model for model in MODEL_NAMES if cluster.owner(key(model)) is victim)
    kept = next(model for model in MODEL_NAMES if cluster.owner(key(model)) is not victim)
    async with serve(store_timeout_s=1.0) as client:
        await create(client, lost, kept)
        for model in (lost, kept):
            assert (await observe(client, model, 1)).status_code == 200
        victim.kill()
        try:
            for sequence in (2, 3):
                refused = await observe(client, lost, 2)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
                assert str(victim.port) not in refused.text
                assert (await observe(client, kept, sequence)).status_code == 200
            assert (await client.get("/readyz")).status_code == 200
        finally:
            victim.start()
        async with asyncio.timeout(PATIENCE_S):
            while (reply := await observe(client, lost, 2)).status_code == 503:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)
        assert (reply.status_code, reply.json()["prediction"]["weights_version"]) == (200, 1)
        again = await observe(client, lost, 1)
        assert again.json()["duplicate"]
    await asyncio.to_thread(cluster.await_peace)
