"""Looking at streams over HTTP."""

from __future__ import annotations

import httpx
import pytest

from tests.service.conftest import SPEC, Serve
from tests.service.test_models_api import code

STREAM = "/v1/models/m/streams/s"


async def feed(client: httpx.AsyncClient, *streams: str, n: int = 1) -> None:
    """Send ``n`` items to each stream."""
    rows = [{"stream": s, "item": {"load": i, "state": "idle"}} for i in range(n) for s in streams]
    response = await client.post("/v1/models/m/observations", json={"observations": rows})
    assert all("error" not in result for result in response.json()["results"])


async def test_pages_hold_every_stream_once(client: httpx.AsyncClient) -> None:
    """Following the cursor gives all streams by name."""
    names = sorted(f"s{i}" for i in range(7))
    await feed(client, *names)
    found, params = [], {"limit": "3"}
    while True:
        page = (await client.get("/v1/models/m/streams", params=params)).json()
        found += [stream["stream"] for stream in page["streams"]]
        if page["cursor"] is None:
            break
        params["cursor"] = page["cursor"]
    assert found == names


async def test_a_summary_says_where_a_stream_stands(client: httpx.AsyncClient) -> None:
    """It holds what the contract names."""
    await feed(client, "s", n=4)
    summary = (await client.get(STREAM)).json()
    assert (summary["stream"], summary["sequence"], summary["items"]) == ("s", 4, 4)
    assert {"weights_version", "rmse", "persistence_rmse", "coverage", "created_at", "updated_at"} <= set(summary)
    assert summary["created_at"] <= summary["updated_at"]
    assert (await client.get("/v1/models/m/streams")).json()["streams"] == [summary]


async def test_looking_changes_nothing(client: httpx.AsyncClient) -> None:
    """Prediction, belief and summary give the same again, and the first step is the prediction that was sent."""
    await feed(client, "s", n=4)
    reply = (await client.post(f"{STREAM}/observations", json={"item": {"load": 4}})).json()
    paths = [f"{STREAM}/prediction?horizon=3", f"{STREAM}/belief", STREAM]
    first = [(await client.get(path)).content for path in paths]
    assert [(await client.get(path)).content for path in paths] == first
    forecast = (await client.get(paths[0])).json()
    assert (forecast["stream"], forecast["sequence"]) == ("s", 6)
    assert [step["sequence"] for step in forecast["steps"]] == [6, 7, 8]
    assert forecast["steps"][0]["fields"] == reply["prediction"]["fields"]
    assert len((await client.get(f"{STREAM}/prediction")).json()["steps"]) == 1


async def test_a_belief_is_laid_open(client: httpx.AsyncClient) -> None:
    """It holds state, gates, correction and the item before and after it."""
    await feed(client, "s", n=4)
    belief = (await client.get(f"{STREAM}/belief")).json()
    assert belief["stream"] == "s"
    assert set(belief["gates"]) == {"input", "forget", "output"}
    assert [len(belief[name][0]) for name in ("hidden", "cell", "correction", "correction_rates")] == [8] * 4
    assert 0 <= belief["correction_trust"] <= 1
    assert belief["before"]["load"] != belief["after"]["load"]


async def test_a_deleted_stream_begins_anew(client: httpx.AsyncClient) -> None:
    """It is unknown until its next item, which is its first."""
    await feed(client, "s", n=3)
    assert (await client.delete(STREAM)).status_code == 204
    for response in (
        await client.delete(STREAM),
        await client.get(STREAM),
        await client.get(f"{STREAM}/belief"),
        await client.get(f"{STREAM}/prediction"),
    ):
        assert (response.status_code, code(response)) == (404, "unknown_stream")
    assert (await client.post(f"{STREAM}/observations", json={"item": {"load": 1}})).json()["sequence"] == 1


@pytest.mark.parametrize(
    "query",
    ["/s/prediction?horizon=0", "/s/prediction?horizon=x", "/s/prediction?horizon=1001", "?limit=0", "?limit=1001"],
)
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    """A bound that is passed is ``invalid_request``."""
    await feed(client, "s")
    response = await client.get(f"/v1/models/m/streams{query}")
    assert (response.status_code, code(response)) == (422, "invalid_request")


async def test_a_restart_changes_no_answer(serve: Serve) -> None:
    """Beliefs, predictions and resends are the same after an orderly restart."""
    paths = [f"{STREAM}/prediction?horizon=3", f"{STREAM}/belief", STREAM]
    async with serve() as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=5)
        before = [(await client.get(path)).content for path in paths]
    async with serve() as client:
        assert [(await client.get(path)).content for path in paths] == before
