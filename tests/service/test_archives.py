"""Export and import over HTTP: an imported model goes on as the exported one, and nothing is created by halves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from safetensors.numpy import load, save

from model.learner import Learner
from model.spec import ModelSpec
from service import archives
from service.batcher import Observation
from service.compute import ComputeThread
from service.engines import Engines
from service.errors import InvalidArchive, LeaseLost, StoreUnavailable, TakenOver
from service.metrics import Metrics
from service.settings import Settings
from service.store import Partition, Store
from service.store.stream_copies import StreamCopies
from tests.service.conftest import SPEC, Serve
from tests.service.test_models_api import code
from tests.service.test_streams_api import STREAM, feed

NAMED = {
    "fields": [{"name": "load", "kind": "real"}, {"name": "who", "kind": "category", "capacity": 4}],
    "hidden": 8,
}


async def export(client: httpx.AsyncClient, path: str = "m", **params: str) -> bytes:
    """The archive of a model, or of ``model/streams/stream``."""
    response = await client.get(f"/v1/models/{path}/archive", params=params)
    assert response.status_code == 200, response.text
    return response.content


async def bring(client: httpx.AsyncClient, path: str, data: bytes) -> httpx.Response:
    """Import an archive."""
    return await client.put(f"/v1/models/{path}/archive", content=data)


async def observe(client: httpx.AsyncClient, model: str, stream: str, who: str, load: float) -> dict[str, Any]:
    """Send one item of a model of :data:`NAMED`."""
    item = {"load": load, "who": who}
    response = await client.post(f"/v1/models/{model}/streams/{stream}/observations", json={"item": item})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def live(client: httpx.AsyncClient, model: str, *streams: str, first: int = 0, n: int = 12) -> list[Any]:
    """Send items of a model of :data:`NAMED`; return the replies."""
    return [
        await observe(client, model, stream, "abcdef"[(i * i) % 6], (i % 5) * 1.5)
        for i in range(first, first + n)
        for stream in streams
    ]


@pytest.mark.parametrize("spec", [NAMED, {**NAMED, "learn": {"weights": False}}, {**NAMED, "experts": "none"}])
async def test_an_imported_model_goes_on_to_the_bit(serve: Serve, url: str, spec: dict[str, Any]) -> None:
    """The same items get the same replies, also on a store that has never seen it, and after a restart there."""
    async with serve(snapshot_every_updates=5) as client:
        await client.put("/v1/models/m", json=spec)
        await live(client, "m", "s", "t")
        data = await export(client, streams="all")
        beliefs = [(await client.get(f"/v1/models/m/streams/{s}/belief")).json() for s in "st"]
        expected = await live(client, "m", "s", "t", first=12)
    with redis.Redis.from_url(url) as raw:
        raw.flushall()
    async with serve(snapshot_every_updates=5) as client:
        response = await bring(client, "m", data)
        assert response.status_code == 201
        assert response.json()["spec"] == (await client.get("/v1/models/m")).json()["spec"]
        assert response.json()["streams"] == 2
        assert [(await client.get(f"/v1/models/m/streams/{s}/belief")).json() for s in "st"] == beliefs
        found = await live(client, "m", "s", "t", first=12, n=6)
    async with serve() as client:
        found += await live(client, "m", "s", "t", first=18, n=6)
    assert found == expected


async def test_a_model_comes_without_its_streams(client: httpx.AsyncClient) -> None:
    """Unless they are asked for; then new streams begin under what it has learned."""
    await feed(client, "s", n=20)
    data = await export(client)
    assert await export(client, streams="none") is not None
    assert (await bring(client, "other", data)).json()["streams"] == 0
    summaries = (await client.get("/v1/models/other/streams")).json()["streams"]
    assert summaries == []
    replies = [
        (await client.post(f"/v1/models/{model}/streams/new/observations", json={"item": {"load": 3.5}})).json()
        for model in ("m", "other")
    ]
    assert replies[0] == replies[1]
    assert replies[0]["prediction"]["weights_version"] > 0


async def test_the_answer_is_a_file(client: httpx.AsyncClient) -> None:
    """With a type, a name to save it under, and a length."""
    await feed(client, "späß 7")
    response = await client.get("/v1/models/m/streams/späß 7/archive")
    assert response.headers["content-type"] == "application/octet-stream"
    expected = "attachment; filename*=UTF-8''m.sp%C3%A4%C3%9F%207.safetensors"
    assert response.headers["content-disposition"] == expected
    assert int(response.headers["content-length"]) == len(response.content)


async def test_a_stream_moves(client: httpx.AsyncClient) -> None:
    """Its copy has belief and sequence, and no replies, like a fork; under the same weights it goes on the same."""
    await feed(client, "s", n=6)
    data = await export(client, "m/streams/s")
    response = await bring(client, "m/streams/copy", data)
    assert response.status_code == 201
    assert response.json() == (await client.get("/v1/models/m/streams/copy")).json()
    assert response.json()["sequence"] == 6
    stale = await client.post("/v1/models/m/streams/copy/observations", json={"item": {"load": 5}, "sequence": 6})
    assert code(stale) == "sequence_stale"
    await client.patch("/v1/models/m", json={"learn": {"weights": False, "initial_state": False}})
    ours, theirs = [
        (await client.post(f"/v1/models/m/streams/{s}/observations", json={"item": {"load": 7}})).json()
        for s in ("s", "copy")
    ]
    assert theirs == {**ours, "stream": "copy"}


async def test_what_is_there_is_not_replaced(client: httpx.AsyncClient) -> None:
    """A model or a stream of that name is a conflict, even if it is the very same; it stays as it is."""
    await feed(client, "s", n=3)
    whole, one = await export(client, streams="all"), await export(client, "m/streams/s")
    await feed(client, "s")
    for response, expected in (
        (await bring(client, "m", whole), (409, "model_exists")),
        (await bring(client, "m/streams/s", one), (409, "stream_exists")),
        (await bring(client, "none/streams/s", one), (404, "unknown_model")),
        (await client.get("/v1/models/none/archive"), (404, "unknown_model")),
        (await client.get("/v1/models/m/streams/none/archive"), (404, "unknown_stream")),
        (await client.get("/v1/models/m/archive?streams=some"), (422, "invalid_request")),
        (await bring(client, "-bad-", whole), (422, "invalid_request")),
    ):
        assert (response.status_code, code(response)) == expected
    assert (await client.get(STREAM)).json()["sequence"] == 4


async def test_bounds_hold_for_imports(client: httpx.AsyncClient, url: str) -> None:
    """``max_streams`` refuses one more stream; ``ttl_s`` is the model's."""
    await feed(client, "s")
    await client.patch("/v1/models/m", json={"max_streams": 1, "ttl_s": 60})
    whole, one = await export(client, streams="all"), await export(client, "m/streams/s")
    response = await bring(client, "m/streams/t", one)
    assert (response.status_code, code(response)) == (429, "overloaded")
    assert (await bring(client, "other", whole)).json()["spec"]["ttl_s"] == 60
    await client.patch("/v1/models/m", json={"max_streams": None})
    assert (await bring(client, "m/streams/t", one)).status_code == 201
    with redis.Redis.from_url(url) as raw:
        assert 50_000 < raw.pttl("{m:0}:stream:t") <= 60_000
        assert 50_000 < raw.pttl("{other:0}:stream:s") <= 60_000


async def test_archives_are_bounded(serve: Serve) -> None:
    """What would be over ``max_archive_bytes`` is neither made nor taken; other bodies keep their own bound."""
    async with serve(max_body_bytes=1024, max_archive_bytes=50_000) as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=3)
        data = await export(client)
        assert 1024 < len(data) < 50_000
        assert (await bring(client, "other", data)).status_code == 201
        response = await bring(client, "third", data + bytes(50_000))
        assert (response.status_code, code(response)) == (413, "body_too_large")
        assert response.json()["error"]["limit_bytes"] == 50_000
        for path in ("/v1/models/m", "/v1/models/m/archive/x", "/v1/models/a/b/c/archive"):
            assert code(await client.put(path, content=data)) == "body_too_large"
        assert code(await client.post("/v1/models/m/archive", content=data)) == "body_too_large"
        for i in range(4):
            await feed(client, f"s{i}")
        response = await client.get("/v1/models/m/archive?streams=all")
        assert (response.status_code, code(response)) == (422, "archive_too_large")
        assert response.json()["error"]["max_archive_bytes"] == 50_000


async def test_a_file_that_cannot_be_used_creates_nothing(client: httpx.AsyncClient, url: str) -> None:
    """Bytes that are no file, a file of the other kind, a damaged one: ``invalid_archive``, and the store untouched."""
    await feed(client, "s", n=3)
    whole, one = await export(client, streams="all"), await export(client, "m/streams/s")
    told = {"format": "stepahead-model", "format_version": "1", "spec": "{}"}
    spec = json.loads(json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]["spec"])
    with redis.Redis.from_url(url) as raw:
        before = {key: raw.dump(key) for key in raw.scan_iter()}
        for path, data, why in (
            ("new", b"", "not a safetensors file"),
            ("new", whole[:-1], "not a safetensors file"),
            ("new", one, "'stepahead-stream' where 'stepahead-model' is expected"),
            ("m/streams/new", whole, "'stepahead-model' where 'stepahead-stream' is expected"),
            ("new", save({}, told), "its spec: fields: Field required"),
            ("new", save({}, {**told, "spec": "nonsense"}), "its spec: : Invalid JSON"),
            ("new", save({}, {**told, "spec": json.dumps({**spec, "hidden": 1.5})}), "its spec: hidden"),
            ("new", save({}, {**told, "spec": json.dumps({**spec, "hidden": 10**9})}), "its spec: hidden"),
            ("new", save({}, {**told, "spec": json.dumps({**spec, "max_streams": 2**80})}), "its spec: max_streams"),
            ("new", save({}, {**told, "spec": json.dumps(spec)}), "it has no tensor"),
        ):
            response = await bring(client, path, data)
            assert (response.status_code, code(response)) == (422, "invalid_archive")
            assert why in response.json()["error"]["message"]
        assert {key: raw.dump(key) for key in raw.scan_iter()} == before


async def test_names_are_checked_on_their_way_in(client: httpx.AsyncClient) -> None:
    """A stream's name that no caller could use is refused with the whole file."""
    await feed(client, "s")
    data = await export(client, streams="all")
    texts = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    for name in ("a/b", "..", "\x00", "x" * 257):
        arrays = {**load(data), "streams": np.frombuffer(json.dumps([name]).encode(), np.uint8)}
        response = await bring(client, "new", save(arrays, texts))
        assert (response.status_code, code(response)) == (422, "invalid_archive")
        assert "a stream's name" in response.json()["error"]["message"]


async def test_a_stream_must_fit_its_new_model(serve: Serve) -> None:
    """Another layout or other values met are refused, and the message says what differs."""
    async with serve() as client:
        for name, spec in (("m", NAMED), ("wide", {**NAMED, "hidden": 9}), ("twin", NAMED)):
            await client.put(f"/v1/models/{name}", json=spec)
        await live(client, "m", "s")
        data = await export(client, "m/streams/s")
        for model, why in (("wide", "its hidden is 8, the model's 9"), ("twin", "of field 'who'")):
            response = await bring(client, f"{model}/streams/s", data)
            assert (response.status_code, code(response)) == (422, "invalid_archive")
            assert why in response.json()["error"]["message"]
            assert (await client.get(f"/v1/models/{model}")).json()["streams"] == 0
        await live(client, "twin", "t")
        assert (await bring(client, "twin/streams/s", data)).status_code == 201


async def test_streams_are_exported_as_they_are_together(client: httpx.AsyncClient) -> None:
    """Any number of streams, more than one read holds, each at its own item."""
    names = [f"s{i:03d}" for i in range(300)]
    await feed(client, *names)
    await feed(client, "s007", n=3)
    data = await export(client, streams="all")
    assert (await bring(client, "copy", data)).json()["streams"] == 300
    assert (await client.get("/v1/models/copy/streams/s007")).json()["sequence"] == 4
    assert (await client.get("/v1/models/copy/streams/s299")).json()["sequence"] == 1


@pytest.fixture
async def engines(url: str, compute: ComputeThread) -> AsyncIterator[Engines]:
    """Engines with a model ``m`` that has a stream."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=8)
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    yield engines
    await engines.drain()
    await store.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Store]:
    """The store, as an instance of its own has it."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=8)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("call", [(Partition, "acquire"), (Partition, "begin_anew"), (StreamCopies, "create")])
async def test_an_import_that_fails_leaves_nothing(
    serve: Serve, url: str, monkeypatch: pytest.MonkeyPatch, call: tuple[type, str]
) -> None:
    """Whichever write fails, there is no such model, nothing of it is in the store, and the name is free."""
    async with serve() as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=3)
        data = await export(client, streams="all")
        with redis.Redis.from_url(url) as raw:
            before = {key: raw.dump(key) for key in raw.scan_iter()}
            with monkeypatch.context() as patch:
                fail_once(patch, *call)
                response = await bring(client, "new", data)
            assert (response.status_code, code(response)) == (503, "store_unavailable")
            assert {key: raw.dump(key) for key in raw.scan_iter()} == before
        assert code(await client.get("/v1/models/new")) == "unknown_model"
        assert (await bring(client, "new", data)).status_code == 201


@pytest.mark.parametrize("then", ["delete", "create", "import"])
async def test_an_import_that_was_killed_is_no_model(
    serve: Serve, url: str, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """What a dead process left is nobody's model, and goes with whatever is done under its name."""
    async with serve() as client:
        await client.put("/v1/models/m", json=SPEC)
        await feed(client, "s", n=3)
        data = await export(client, streams="all")
        with monkeypatch.context() as patch:
            fail_once(patch, Store, "replace_model")  # all but the last write is done
            fail_once(patch, Store, "discard_model")  # and nobody is there to clean up
            assert (await bring(client, "new", data)).status_code == 503
        with redis.Redis.from_url(url) as raw:
            assert raw.exists("{new:0}:weights", "{new:0}:stream:s") == 2
    async with serve() as client:
        assert [model["name"] for model in (await client.get("/v1/models")).json()["models"]] == ["m"]
        for response in (
            await client.get("/v1/models/new"),
            await client.get("/v1/models/new/streams"),
            await client.patch("/v1/models/new", json={"ttl_s": 5}),
            await client.post("/v1/models/new/streams/s/observations", json={"item": {"load": 1}}),
        ):
            assert (response.status_code, code(response)) == (404, "unknown_model")
        if then == "delete":
            assert (await client.delete("/v1/models/new")).status_code == 204
            with redis.Redis.from_url(url) as raw:
                assert [key for key in raw.scan_iter() if b"new" in key] == []
        elif then == "create":
            assert (await client.put("/v1/models/new", json=SPEC)).status_code == 201
            reply = await client.post("/v1/models/new/streams/s/observations", json={"item": {"load": 1}})
            assert reply.json()["sequence"] == 1
            assert reply.json()["prediction"]["weights_version"] <= 1
        else:
            assert (await bring(client, "new", data)).json()["streams"] == 1


async def test_an_import_harms_no_model_that_took_its_name(url: str, compute: ComputeThread) -> None:
    """One that is alive is not disturbed; one that was held up past its lease, and replaced, takes nothing back."""
    spec = ModelSpec.from_dict(SPEC)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fill(partition: Partition) -> None:
        begun.set()
        await go_on.wait()
        await partition.save_weights(0, Learner(spec).encode_weights())

    async with connected(url) as one, connected(url) as other:
        importing, replacing = (Engines(s, compute, compute, Settings(), Metrics()) for s in (one, other))
        await one.instance.renew()
        imported = asyncio.create_task(importing.create_filled("new", spec, fill))
        await begun.wait()
        with pytest.raises(TakenOver):
            await replacing.create("new", spec)
        await one.instance.end()  # as it expires
        assert (await replacing.create("new", spec))[1]
        item = [Observation("s", {"load": 1.0})]
        assert isinstance((await (await replacing.get("new")).submit(item))[0], bytes)
        go_on.set()
        with pytest.raises(LeaseLost):
            await imported
        (answer,) = await (await replacing.get("new")).submit(item)
        assert isinstance(answer, bytes)
        assert json.loads(answer)["sequence"] == 2
        await replacing.drain()


async def test_an_imported_model_is_free_to_be_had(url: str, compute: ComputeThread) -> None:
    """Who imported it and does not use it does not keep it from other instances."""
    spec = ModelSpec.from_dict(SPEC)
    async with connected(url) as one, connected(url) as other:
        importing, using = (Engines(s, compute, compute, Settings(), Metrics()) for s in (one, other))
        await one.instance.renew()
        await importing.create_filled("new", spec, lambda p: p.save_weights(0, Learner(spec).encode_weights()))
        await using.get("new")
        await using.drain()


async def test_a_replaced_owner_neither_changes_nor_exports(url: str, compute: ComputeThread) -> None:
    """Of a change to an owner that was held up past its lease the new one would not hear; its weights are old."""
    spec = ModelSpec.from_dict(SPEC)
    async with connected(url) as one, connected(url) as other:
        ours, theirs = (Engines(s, compute, compute, Settings(), Metrics()) for s in (one, other))
        await other.instance.renew()
        for model in ("m", "n"):
            await ours.create(model, spec)
            await ours.get(model)
            await theirs.get(model)
        with pytest.raises(LeaseLost):
            await ours.change("m", lambda spec: replace(spec, quantiles=(0.5,)))
        async with ours.use("n") as engine:
            with pytest.raises(LeaseLost):
                await archives.export_model(engine, with_streams=False, max_bytes=2**20)
        assert (await theirs.catalogue.record("m")).spec == spec
        await theirs.drain()


def fail_once(patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Let the next call of a method of the store fail, undone."""
    method, calls = getattr(owner, name), iter([StoreUnavailable("refused by the test")])

    async def fail(*args: Any, **given: Any) -> Any:
        if (error := next(calls, None)) is not None:
            raise error
        return await method(*args, **given)

    patch.setattr(owner, name, fail)


async def test_any_bytes_are_answered(engines: Engines) -> None:
    """Random files with a proper header, as a stranger might make them, are refused and nothing else."""
    source = np.random.default_rng(0)
    data = await archives.export_model(await engines.get("m"), with_streams=False, max_bytes=2**20)
    for _ in range(200):
        broken = bytearray(data)
        for _ in range(int(source.integers(1, 4))):
            broken[int(source.integers(8, len(data)))] = int(source.integers(256))
        with suppress(InvalidArchive):
            await archives.import_model(engines, f"m{source.integers(2**60)}", bytes(broken))
