"""A stream's last items: each with the prediction that awaited it, and none with another's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import redis

from model.spec import ModelSpec
from service.batcher import Observation
from service.compute import ComputeThread
from service.engines import Engines
from service.errors import Overloaded, ServiceError, UnknownStream
from service.metrics import Metrics
from service.settings import Settings
from service.store.keys import PartitionKeys
from tests.service.conftest import SPEC, Serve
from tests.service.faults import FaultyStore
from tests.service.test_models_api import code

STREAM = "/v1/models/m/streams/s"
KEY = PartitionKeys("m").stream("s")
LOADS = [0.1, -2.5e-7, 1e21, 3.0, 123456789.12345679, 5e-324, 0.30000000000000004, -0.0]


async def observe(client: httpx.AsyncClient, stream: str = STREAM, query: str = "", **item: Any) -> dict[str, Any]:
    """Send one item; its reply."""
    timestamp = item.pop("timestamp", None)
    answer = await client.post(f"{stream}/observations{query}", json={"item": item, "timestamp": timestamp})
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def history(client: httpx.AsyncClient, stream: str = STREAM, **params: int) -> dict[str, Any]:
    """What is told of a stream."""
    answer = await client.get(f"{stream}/history", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def sequences(found: dict[str, Any], *, awaited: bool = False) -> list[int]:
    """Of a history's items; perhaps of those only whose prediction is there."""
    return [item["sequence"] for item in found["items"] if not awaited or item["prediction"] is not None]


async def test_items_come_back_as_they_were_sent(client: httpx.AsyncClient) -> None:
    """Every bit of a number, missing values as null, times in UTC, with what had been predicted and how good it was."""
    replies = []
    for n, load in enumerate(LOADS):
        item = {"load": load, "timestamp": f"2026-01-01T10:00:{n:02}.5+02:00"} if n % 3 else {"state": "busy"}
        replies.append(await observe(client, query="?experts=true" if n % 2 else "", **item))
    found = await history(client)
    assert (found["stream"], found["sequence"]) == ("s", len(LOADS))
    awaiting = None
    for n, (entry, load, reply) in enumerate(zip(found["items"], LOADS, replies, strict=True)):
        assert list(entry) == ["sequence", "item", "timestamp", "prediction", "score"]
        assert entry["sequence"] == n + 1
        expected = {"load": load, "state": None} if n % 3 else {"load": None, "state": "busy"}
        assert repr(entry["item"]) == repr(expected)
        assert entry["timestamp"] == (f"2026-01-01T08:00:{n:02}.500000Z" if n % 3 else None)
        assert (entry["prediction"], entry["score"]) == (awaiting, reply["score"])
        for field in reply["prediction"]["fields"].values():
            if field is not None:
                field.pop("experts", None)
        awaiting = reply["prediction"]
    assert await history(client, limit=3) == {**found, "items": found["items"][-3:]}


async def test_as_many_are_told_as_are_kept(serve: Serve) -> None:
    """Up to ``kept_replies``, the oldest without its prediction; no more can be asked for, and no fewer than one."""
    async with serve(kept_replies=4) as client:
        await client.put("/v1/models/m", json=SPEC)
        for load in range(7):
            await observe(client, load=load)
        for found in (await history(client), await history(client, limit=4)):
            assert sequences(found) == [4, 5, 6, 7]
            assert sequences(found, awaited=True) == [5, 6, 7]
        assert sequences(await history(client, limit=3), awaited=True) == [5, 6, 7]
        for limit in ("0", "5", "x", "-1"):
            answer = await client.get(f"{STREAM}/history", params={"limit": limit})
            assert (answer.status_code, code(answer)) == (422, "invalid_request")
        (limit,) = [
            parameter["schema"]
            for parameter in (await client.get("/openapi.json")).json()["paths"][
                "/v1/models/{model}/streams/{stream}/history"
            ]["get"]["parameters"]
            if parameter["name"] == "limit"
        ]
        assert limit == {"type": "integer", "minimum": 1, "maximum": 4, "default": 4}
    async with serve(kept_replies=6) as client:  # of the last four each is where it is kept now, or is not told
        await observe(client, load=8)
        found = await history(client)
        assert found["sequence"] == 8
        assert sequences(found)[-1] == 8
        assert sequences(found) == sorted(set(sequences(found)) & {4, 5, 6, 7, 8})


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    """A model, or a stream, that there is not has no history; a deleted stream's is gone."""
    for path, expected in (("/v1/models/none/streams/s", "unknown_model"), (STREAM, "unknown_stream")):
        answer = await client.get(f"{path}/history")
        assert (answer.status_code, code(answer)) == (404, expected)
    for load in range(3):
        await observe(client, load=load)
    await client.delete(STREAM)
    assert code(await client.get(f"{STREAM}/history")) == "unknown_stream"
    await observe(client, load=9)
    found = await history(client)
    assert [(entry["item"]["load"], entry["prediction"]) for entry in found["items"]] == [(9.0, None)]


async def test_a_fork_has_items_of_its_own_only(client: httpx.AsyncClient) -> None:
    """None at first; its own first item was awaited by a prediction that is not kept there."""
    for load in range(3):
        await observe(client, load=load)
    await client.post(f"{STREAM}/fork", json={"to": "fork"})
    fork = "/v1/models/m/streams/fork"
    assert await history(client, fork) == {"stream": "fork", "sequence": 3, "items": []}
    for load in (3, 4):
        reply = await observe(client, fork, load=load)
    found = await history(client, fork)
    assert (sequences(found), sequences(found, awaited=True)) == ([4, 5], [5])
    assert found["items"][0]["score"] is not None
    assert found["items"][1]["score"] == reply["score"]


async def test_a_stream_that_went_back_tells_nothing_of_what_was(client: httpx.AsyncClient) -> None:
    """Each prediction is the one that awaited the item, also where the stream went back twice and on again."""
    for load in range(1, 5):
        await observe(client, load=load)
    early = (await client.post(f"{STREAM}/snapshots")).json()["id"]  # at 4
    replies = [await observe(client, load=load) for load in (5, 6)]
    later = (await client.post(f"{STREAM}/snapshots")).json()["id"]  # at 6
    await client.post(f"{STREAM}/snapshots/{early}/restore")
    assert sequences(await history(client)) == [1, 2, 3, 4]
    replies = [await observe(client, load=load) for load in (50, 60)]
    found = await history(client)
    assert sequences(found, awaited=True) == [2, 3, 4, 5, 6]
    assert [entry["item"]["load"] for entry in found["items"]] == [1, 2, 3, 4, 50, 60]
    assert found["items"][-1]["prediction"] == replies[0]["prediction"]
    await client.post(f"{STREAM}/snapshots/{later}/restore")  # the belief of 5 and 6, the replies to 50 and 60
    assert sequences(await history(client)) == []
    for load in (7, 8):
        await observe(client, load=load)
    found = await history(client)
    assert (sequences(found), sequences(found, awaited=True)) == ([7, 8], [8])


@pytest.mark.parametrize("whole", [True, False])
async def test_damage_is_named(client: httpx.AsyncClient, url: str, whole: bool) -> None:
    """What cannot be read is an error of the stream, for its history and for a resend; others go on."""
    for load in (1.0, 2.0):
        await observe(client, load=load)
    with redis.Redis.from_url(url) as raw:
        part = raw.hget(KEY, "k0")
        raw.hset(KEY, "k0", part[:-1] + bytes([part[-1] ^ 1]) if whole else part[:-1])
    answer = await client.get(f"{STREAM}/history")
    assert (answer.status_code, code(answer), answer.json()["error"]["stream"]) == (500, "internal", "s")
    rows = [{"stream": "s", "item": {"load": 2.0}, "sequence": 2}, {"stream": "t", "item": {"load": 2.0}}]
    damaged, fine = (await client.post("/v1/models/m/observations", json={"observations": rows})).json()["results"]
    assert "damaged" in damaged["error"]["message"]
    assert fine["sequence"] == 1
    await observe(client, load=3.0)


async def test_a_read_that_others_write_into_is_right(store: FaultyStore, compute: ComputeThread) -> None:
    """What is read belongs together though the stream goes on, goes back or begins anew between two reads."""
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    async with engines.use("m") as engine:
        partition, read = engine._partition, engine._partition._client.read

        async def send(*loads: float) -> None:
            for answer in await engine.submit([Observation("s", {"load": load}) for load in loads]):
                assert not isinstance(answer, ServiceError)

        async def replaced() -> None:
            await engine.delete_stream("s")
            await send(70.0, 80.0)

        await send(*map(float, range(1, 12)))
        for meanwhile, expected in (
            (lambda: send(*map(float, range(12, 16))), (11, [8, 9, 10, 11])),
            (replaced, (2, [1, 2])),
            (lambda: engine.delete_stream("s"), None),
        ):
            todo = [None, meanwhile]  # before the first read, before the second

            async def interrupted(*command: Any, todo: list[Any] = todo, **how: Any) -> Any:
                if todo and (between := todo.pop(0)) is not None:
                    await between()
                return await read(*command, **how)

            partition._client.read = interrupted  # type: ignore[method-assign]
            found = await partition.load_items("s", 8)
            partition._client.read = read  # type: ignore[method-assign]
            assert (found and (found.applied, [kept.sequence for kept in found.items])) == expected
    await engines.drain()


async def test_reads_are_bounded_and_need_no_engine(store: FaultyStore, compute: ComputeThread) -> None:
    """One more than ``max_reads`` is ``overloaded``; the model stays out of memory."""
    engines = Engines(store, compute, compute, Settings(max_reads=1), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    arrived, go_on = store.faults.hold("load_items")
    first = asyncio.create_task(engines.history.read("m", "s", 5))
    await arrived.wait()
    with pytest.raises(Overloaded):
        await engines.history.read("m", "s", 5)
    go_on.set()
    for read in (first, engines.history.read("m", "s", 5)):
        with pytest.raises(UnknownStream):
            await read
    assert engines.weights_version("m") is None
