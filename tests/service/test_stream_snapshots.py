"""Forks and snapshots of streams over HTTP: what they carry, what they leave, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis

from model.spec import ModelSpec
from service import stream_copies
from service.batcher import Observation
from service.compute import ComputeThread
from service.engine import Engine
from service.engines import Engines
from service.errors import ServiceError, StoreUnavailable
from service.metrics import Metrics
from service.settings import Settings
from service.store import Store
from service.store.stream_copies import StreamCopies
from tests.service.conftest import FIELDS, SPEC, Serve
from tests.service.test_models_api import code
from tests.service.test_streams_api import STREAM, feed

HASH = "{m:0}:stream:s"
OPEN = {"fields": [{"name": "name", "kind": "category", "capacity": 4}], "hidden": 8}


async def observe(client: httpx.AsyncClient, load: float, stream: str = "s", **more: Any) -> httpx.Response:
    """Send one item."""
    body = {"item": {"load": load, "state": "idle"}, **more}
    return await client.post(f"/v1/models/m/streams/{stream}/observations", json=body)


async def fork(client: httpx.AsyncClient, to: str, stream: str = "s") -> httpx.Response:
    """Fork a stream."""
    return await client.post(f"/v1/models/m/streams/{stream}/fork", json={"to": to})


async def snapshot(client: httpx.AsyncClient, name: str | None = None) -> dict[str, Any]:
    """Take a snapshot of ``s``."""
    response = await client.post(f"{STREAM}/snapshots", json={"name": name} if name else None)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def restore(client: httpx.AsyncClient, identity: str) -> httpx.Response:
    """Take ``s`` back."""
    return await client.post(f"{STREAM}/snapshots/{identity}/restore")


async def kept(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The snapshots of ``s``."""
    found: list[dict[str, Any]] = (await client.get(f"{STREAM}/snapshots")).json()["snapshots"]
    return found


async def belief(client: httpx.AsyncClient, stream: str = "s") -> dict[str, Any]:
    """The belief of a stream, but for whose it is."""
    found: dict[str, Any] = (await client.get(f"/v1/models/m/streams/{stream}/belief")).json()
    del found["stream"]
    return found


async def freeze(client: httpx.AsyncClient) -> None:
    """Let the weights learn no more, so that what a stream does depends on its belief alone."""
    await client.patch("/v1/models/m", json={"learn": {"weights": False, "initial_state": False}})


async def test_a_fork_goes_on_like_its_origin(client: httpx.AsyncClient) -> None:
    """Both predict and score the next item alike, and then each goes its way."""
    await feed(client, "s", n=5)
    await freeze(client)
    response = await fork(client, "other")
    summary = response.json()
    assert (response.status_code, summary["stream"], summary["sequence"]) == (201, "other", 5)
    assert summary == (await client.get("/v1/models/m/streams/other")).json()
    assert await belief(client, "other") == await belief(client)
    ours, theirs = [await observe(client, 6.0, stream=s) for s in ("s", "other")]
    assert theirs.json() == {**ours.json(), "stream": "other"}
    await observe(client, 9.0)
    assert (await client.get("/v1/models/m/streams/other")).json()["sequence"] == 6


async def test_a_fork_is_a_stream_of_its_own(client: httpx.AsyncClient) -> None:
    """It has its own time of creation, and neither the replies nor the snapshots of the other one."""
    await feed(client, "s", n=3)
    await snapshot(client)
    forked = (await fork(client, "other")).json()
    assert forked["created_at"] > (await client.get(STREAM)).json()["created_at"]
    stale = await observe(client, 2.0, stream="other", sequence=3)
    assert (stale.status_code, code(stale)) == (409, "sequence_stale")
    assert (await client.get("/v1/models/m/streams/other/snapshots")).json() == {"snapshots": []}
    assert (await observe(client, 2.0, sequence=3)).json()["duplicate"] is True
    streams = (await client.get("/v1/models/m/streams")).json()["streams"]
    assert [stream["stream"] for stream in streams] == ["other", "s"]


async def test_a_fork_is_refused_by_name(client: httpx.AsyncClient) -> None:
    """From no stream, onto one that exists (itself too), or to what can be no name; nothing is made then."""
    await feed(client, "s", "taken")
    for response, expected in (
        (await fork(client, "new", stream="none"), (404, "unknown_stream")),
        (await fork(client, "taken"), (409, "stream_exists")),
        (await fork(client, "s"), (409, "stream_exists")),
        (await fork(client, "a/b"), (422, "invalid_request")),
        (await client.post(f"{STREAM}/fork"), (422, "invalid_request")),
        (await client.post("/v1/models/none/streams/s/fork", json={"to": "t"}), (404, "unknown_model")),
    ):
        assert (response.status_code, code(response)) == expected
    assert (await client.get("/v1/models/m")).json()["streams"] == 2


async def test_a_full_model_takes_no_fork(client: httpx.AsyncClient) -> None:
    """Beyond ``max_streams`` a fork is ``overloaded``, and taken once there is room."""
    await feed(client, "s", "t")
    await client.patch("/v1/models/m", json={"max_streams": 2})
    response = await fork(client, "other")
    assert (response.status_code, code(response)) == (429, "overloaded")
    assert response.json()["error"]["max_streams"] == 2
    await client.delete("/v1/models/m/streams/t")
    assert (await fork(client, "other")).status_code == 201


async def test_a_fork_expires_like_any_stream(client: httpx.AsyncClient, url: str) -> None:
    """It lives as long as the model's streams do."""
    await feed(client, "s")
    await fork(client, "lasting")
    await client.patch("/v1/models/m", json={"ttl_s": 60})
    await fork(client, "brief")
    with redis.Redis.from_url(url) as raw:
        assert raw.pttl("{m:0}:stream:lasting") == -1
        assert 50_000 < raw.pttl("{m:0}:stream:brief") <= 60_000


async def test_a_restored_stream_does_again_what_it_did(client: httpx.AsyncClient) -> None:
    """Belief and sequence are the snapshot's; the same items after it get the same replies under frozen weights."""
    await feed(client, "s", n=5)
    await freeze(client)
    taken, before = await snapshot(client, "quiet"), await belief(client)
    assert (taken["name"], taken["sequence"]) == ("quiet", 5)
    first = [(await observe(client, load)).json() for load in (6.0, 60.0, 7.0)]
    response = await restore(client, taken["id"])
    assert response.status_code == 200
    assert response.json() == (await client.get(STREAM)).json()
    assert response.json()["sequence"] == 5
    assert await belief(client) == before
    assert [(await observe(client, load)).json() for load in (6.0, 60.0, 7.0)] == first


@pytest.mark.parametrize("rings", [(64,), (64, 3, 64)])
async def test_no_reply_outlives_its_item(serve: Serve, rings: tuple[int, ...]) -> None:
    """After a restore later replies are never given again, also where rings of other sizes had kept some."""
    async with serve(kept_replies=rings[0]) as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=4)
        taken = await snapshot(client)
        old = [(await observe(client, 100.0 + i)).json() for i in range(3)]
    for ring in rings[1:2]:
        async with serve(kept_replies=ring) as client:
            await restore(client, taken["id"])
            await observe(client, 1.0)
    async with serve(kept_replies=rings[-1]) as client:
        await restore(client, taken["id"])
        assert (await observe(client, 3.0, sequence=4)).json()["duplicate"] is True  # before the snapshot: still there
        gap = await observe(client, 101.0, sequence=6)
        assert (gap.status_code, code(gap), gap.json()["error"]["expected"]) == (409, "sequence_gap", 5)
        new = [(await observe(client, -5.0, sequence=5 + i)).json() for i in range(3)]
        again = [(await observe(client, -5.0, sequence=5 + i)).json() for i in range(3)]
        assert [{**reply, "duplicate": False} for reply in again] == new
        assert all(reply["score"] != before["score"] for reply, before in zip(new, old, strict=True))


async def test_snapshots_are_listed_and_deleted(client: httpx.AsyncClient) -> None:
    """The newest comes first; an id is not given twice; a deleted one is unknown."""
    await feed(client, "s")
    made = [await snapshot(client, f"n{i}") for i in range(3)]
    assert await kept(client) == made[::-1]
    assert all(entry["bytes"] > 1000 and entry["created_at"] for entry in made)
    assert (await client.delete(f"{STREAM}/snapshots/{made[2]['id']}")).status_code == 204
    for response in (
        await client.delete(f"{STREAM}/snapshots/{made[2]['id']}"),
        await restore(client, made[2]["id"]),
        await restore(client, "../s"),
        await restore(client, "0"),
    ):
        assert (response.status_code, code(response)) in {(404, "unknown_snapshot"), (404, "not_found")}
    newest = await snapshot(client)
    assert newest["id"] not in [entry["id"] for entry in made]
    assert newest["name"] is None
    assert await kept(client) == [newest, made[1], made[0]]


async def test_snapshots_are_of_a_stream(client: httpx.AsyncClient) -> None:
    """Without the stream all calls are ``unknown_stream``; its snapshots go with it."""
    await feed(client, "s")
    await snapshot(client)
    await client.delete(STREAM)
    for response in (
        await client.post(f"{STREAM}/snapshots"),
        await client.get(f"{STREAM}/snapshots"),
        await restore(client, "1"),
        await client.delete(f"{STREAM}/snapshots/1"),
    ):
        assert (response.status_code, code(response)) == (404, "unknown_stream")
    await feed(client, "s")
    assert await kept(client) == []


async def test_snapshots_are_bounded(serve: Serve) -> None:
    """One more than ``max_snapshots`` is ``overloaded``, until one is deleted."""
    async with serve(max_snapshots=2) as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s")
        made = [await snapshot(client) for _ in range(2)]
        response = await client.post(f"{STREAM}/snapshots")
        assert (response.status_code, code(response)) == (429, "overloaded")
        assert response.json()["error"]["max_snapshots"] == 2
        assert await kept(client) == made[::-1]
        await client.delete(f"{STREAM}/snapshots/{made[0]['id']}")
        await snapshot(client)


async def test_a_damaged_snapshot_changes_nothing(client: httpx.AsyncClient, url: str) -> None:
    """It is refused by name, the stream stays as it is, and the snapshot can still be seen and deleted."""
    await feed(client, "s", n=3)
    taken = await snapshot(client)
    field = f"snapshot:{taken['id']}"
    with redis.Redis.from_url(url) as raw:
        value = bytearray(raw.hget(HASH, field) or b"")
        value[-1] ^= 1
        raw.hset(HASH, field, bytes(value))
        await feed(client, "s")
        before = raw.dump(HASH)
        response = await restore(client, taken["id"])
        assert (response.status_code, code(response)) == (500, "internal")
        assert response.json()["error"]["snapshot"] == taken["id"]
        assert "damaged" in response.json()["error"]["message"]
        assert raw.dump(HASH) == before
    (entry,) = await kept(client)
    assert entry == {**taken, "sequence": None, "created_at": None}
    assert (await client.delete(f"{STREAM}/snapshots/{taken['id']}")).status_code == 204


async def test_a_snapshot_mends_a_damaged_stream(client: httpx.AsyncClient, url: str) -> None:
    """A stream whose belief cannot be read is neither forked nor kept, and is well again once it is restored."""
    await feed(client, "s", n=3)
    taken, before = await snapshot(client), await belief(client)
    with redis.Redis.from_url(url) as raw:
        raw.hset(HASH, "belief", b"damaged")
    for response in (await fork(client, "other"), await client.post(f"{STREAM}/snapshots")):
        assert (response.status_code, code(response)) == (500, "internal")
    assert (await restore(client, taken["id"])).status_code == 200
    assert await belief(client) == before


async def test_a_model_that_moved_on_takes_old_snapshots(client: httpx.AsyncClient) -> None:
    """Weights that learned since, other switches and another shape of tails do not stand against a snapshot."""
    await feed(client, "s", "other", n=10)
    taken = await snapshot(client)
    await feed(client, "s", "other", n=10)
    changes = {"learn": {"weights": False, "state": False}, "quantiles": [0.25, 0.75], "tails": "normal"}
    await client.patch("/v1/models/m", json=changes)
    assert (await restore(client, taken["id"])).json()["sequence"] == 10
    reply = await observe(client, 3.0, sequence=11)
    assert reply.status_code == 200
    assert list(reply.json()["prediction"]["fields"]["load"]["quantiles"]) == ["0.25", "0.75"]


async def test_a_vocabulary_that_grew_takes_old_snapshots(serve: Serve) -> None:
    """Values met since keep their names after a restore, and are predicted again."""
    async with serve() as client:
        await client.put("/v1/models/m", json=OPEN)
        path = f"{STREAM}/observations"
        for name in ("a", "b", "a"):
            await client.post(path, json={"item": {"name": name}})
        taken = await snapshot(client)
        for name in ("c", "d", "e", "c"):
            await client.post(path, json={"item": {"name": name}})
        await restore(client, taken["id"])
        reply = (await client.post(path, json={"item": {"name": "c"}, "sequence": 4})).json()
        assert set(reply["prediction"]["fields"]["name"]["probabilities"]) >= {"a", "b", "c", "d"}


async def test_snapshots_outlive_a_restart(serve: Serve) -> None:
    """They are in the store, with the weights of whoever runs next."""
    async with serve() as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=5)
        taken, before = await snapshot(client), await belief(client)
        await freeze(client)
        await feed(client, "s", n=2)
    async with serve() as client:
        assert await kept(client) == [taken]
        await restore(client, taken["id"])
        assert await belief(client) == before


@pytest.fixture
async def engine(url: str, compute: ComputeThread) -> AsyncIterator[Engine]:
    """An engine of a model ``m``; its stream ``s`` has three items."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=8)
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict({"fields": FIELDS, "hidden": 8}))
    engine = await engines.get("m")
    await engine.submit([Observation("s", {"load": load}) for load in (1.0, 2.0, 4.0)])
    yield engine
    await engines.drain()
    await store.close()


@pytest.mark.parametrize("call", ["create", "keep", "restore", "drop"])
@pytest.mark.parametrize("done", [True, False])
async def test_an_unknown_outcome_is_told_and_looked_up(
    engine: Engine, call: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write whose answer was lost is ``StoreUnavailable``; then the engine goes on from what the store has."""
    taken = await stream_copies.keep_snapshot(engine, "s", None, most=5)
    method, n_lost = getattr(StreamCopies, call), 0

    async def lossy(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_lost
        n_lost += 1
        if done:
            await method(*args, **kwargs)
        raise StoreUnavailable("the answer was lost by the test")

    ask = {
        "create": lambda: stream_copies.fork(engine, "s", "other"),
        "keep": lambda: stream_copies.keep_snapshot(engine, "s", None, most=5),
        "restore": lambda: stream_copies.restore_snapshot(engine, "s", taken["id"]),
        "drop": lambda: stream_copies.drop_snapshot(engine, "s", taken["id"]),
    }
    with monkeypatch.context() as patch:
        patch.setattr(StreamCopies, call, lossy)
        with pytest.raises(StoreUnavailable):
            await ask[call]()
    assert n_lost == 1
    (answer,) = await engine.submit([Observation("s", {"load": 5.0}, 4)])
    assert isinstance(answer, bytes)
    listed = await stream_copies.list_snapshots(engine, "s")
    assert len(listed) == {("keep", True): 2, ("drop", True): 0}.get((call, done), 1)
    (forked,) = await engine.submit([Observation("other", {"load": 5.0}, 4)])
    assert isinstance(forked, ServiceError) is not (call == "create" and done)
