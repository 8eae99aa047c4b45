"""Creating, changing and deleting models over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from model.spec import ModelSpec
from tests.service.conftest import FIELDS, SPEC, Serve

REAL = {"fields": [{"name": "load", "kind": "real"}]}


def code(response: httpx.Response) -> str:
    """The error code of a response, after a look at its shape."""
    error = response.json()["error"]
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    return str(error["code"])


async def test_create_again_and_otherwise(client: httpx.AsyncClient) -> None:
    """The same spec again is 200, another is ``model_exists`` and changes nothing."""
    again = await client.put("/v1/models/m", json=SPEC)
    assert again.status_code == 200
    other = await client.put("/v1/models/m", json={**SPEC, "hidden": 16})
    assert (other.status_code, code(other)) == (409, "model_exists")
    assert (await client.get("/v1/models/m")).json()["spec"]["hidden"] == 8


async def test_defaults_are_the_models(client: httpx.AsyncClient) -> None:
    """A spec of fields only gets the defaults that the model's own spec has."""
    created = await client.put("/v1/models/plain", json=REAL)
    assert created.status_code == 201
    assert created.json()["spec"] == ModelSpec.from_dict(REAL).to_dict()


async def test_the_same_spec_is_told_after_a_change(client: httpx.AsyncClient) -> None:
    """A changed model is the same for a spec as it was created, and as it is now."""
    await client.patch("/v1/models/m", json={"ttl_s": 60, "learn": {"weights": False}})
    assert (await client.put("/v1/models/m", json=SPEC)).status_code == 200
    now = {**SPEC, "ttl_s": 60, "learn": {"weights": False}}
    assert (await client.put("/v1/models/m", json=now)).status_code == 200
    assert (await client.put("/v1/models/m", json={**SPEC, "ttl_s": 60})).status_code == 409


async def test_list_read_delete(client: httpx.AsyncClient) -> None:
    """Models are listed by name; a deleted one is unknown, and one of its name begins anew."""
    await client.put("/v1/models/a", json=REAL)
    assert [m["name"] for m in (await client.get("/v1/models")).json()["models"]] == ["a", "m"]
    await client.post("/v1/models/a/streams/s/observations", json={"item": {"load": 1}})
    assert (await client.get("/v1/models/a")).json()["streams"] == 1
    assert (await client.delete("/v1/models/a")).status_code == 204
    for response in (
        await client.get("/v1/models/a"),
        await client.delete("/v1/models/a"),
        await client.patch("/v1/models/a", json={}),
        await client.get("/v1/models/a/streams"),
        await client.post("/v1/models/a/observations", json={"observations": []}),
        await client.post("/v1/models/a/streams/s/observations", json={"item": {"load": 1}}),
    ):
        assert (response.status_code, code(response)) == (404, "unknown_model")
    await client.put("/v1/models/a", json=REAL)
    reply = await client.post("/v1/models/a/streams/s/observations", json={"item": {"load": 1}})
    assert reply.json()["sequence"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "text",
        {"fields": []},
        {"fields": [{"kind": "real"}]},
        {"fields": [{"name": "a"}, {"name": "a"}]},
        {"fields": [{"name": "a", "kind": "image"}]},
        {"fields": [{"name": "a", "kind": "category"}]},
        {"fields": [{"name": "a", "kind": "category", "values": ["x"]}]},
        {"fields": [{"name": "a", "kind": "category", "values": ["x", 1]}]},
        {"fields": [{"name": "a", "unit": "K"}]},
        {**REAL, "hiden": 8},
        {**REAL, "hidden": "8"},
        {**REAL, "hidden": 8.0},
        {**REAL, "hidden": True},
        {**REAL, "hidden": 0},
        {**REAL, "cell": "transformer"},
        {**REAL, "learning_rate": 2},
        {**REAL, "seed": -1},
        {**REAL, "quantiles": [0.9, 0.1]},
        {**REAL, "quantiles": [1.5]},
        {**REAL, "max_streams": 0},
        {**REAL, "ttl_s": 0.1},
        {**REAL, "learn": {"weights": 1}},
        {**REAL, "learn": {"bias": True}},
        {**REAL, "learn": None},
        {"fields": [{"name": "a", "kind": "category", "capacity": 65_536}], "hidden": 1024},
    ],
)
async def test_a_bad_spec_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    """A malformed spec is ``invalid_spec`` and creates nothing."""
    response = await client.put("/v1/models/new", json=body)
    assert (response.status_code, code(response)) == (422, "invalid_spec")
    assert (await client.get("/v1/models/new")).status_code == 404


@pytest.mark.parametrize("name", ["-m", "a b", "a" * 65, "{x}", "a:b", "ä"])
async def test_a_bad_model_name_is_refused(client: httpx.AsyncClient, name: str) -> None:
    """A name that cannot be one creates nothing, and is unknown otherwise."""
    response = await client.put(f"/v1/models/{name}", json=REAL)
    assert (response.status_code, code(response)) == (422, "invalid_spec")
    assert code(await client.get(f"/v1/models/{name}")) == "unknown_model"


@pytest.mark.parametrize("content", [b"", b"{", b'{"fields": NaN}', b"\xff", b'{"fields": [{"name": "\\ud800"}]}'])
async def test_a_spec_that_is_no_json_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    """What cannot be read is ``invalid_spec``."""
    headers = {"Content-Type": "application/json"}
    response = await client.put("/v1/models/new", content=content, headers=headers)
    assert (response.status_code, code(response)) == (422, "invalid_spec")


@pytest.mark.parametrize(
    "body",
    [
        {"hidden": 16},
        {"fields": FIELDS},
        {"seed": 1},
        {"learn": None},
        {"quantiles": None},
        {"quantiles": []},
        {"learning_rate": 0},
        {"max_streams": "3"},
        {"ttl_s": True},
    ],
)
async def test_what_cannot_change_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    """A bad change is ``invalid_spec`` and changes nothing."""
    before = (await client.get("/v1/models/m")).json()
    response = await client.patch("/v1/models/m", json=body)
    assert (response.status_code, code(response)) == (422, "invalid_spec")
    assert (await client.get("/v1/models/m")).json()["spec"] == before["spec"]


async def test_a_change_holds_from_the_next_item_and_after_a_restart(serve: Serve) -> None:
    """New quantiles are in the next reply, frozen weights stay as they are, and both are found after a restart."""
    async with serve() as client:
        await client.put("/v1/models/m", json=REAL)
        url = "/v1/models/m/streams/s/observations"
        replies = [(await client.post(url, json={"item": {"load": n}})).json() for n in range(3)]
        assert list(replies[-1]["prediction"]["fields"]["load"]["quantiles"]) == ["0.05", "0.5", "0.95"]
        changed = await client.patch("/v1/models/m", json={"quantiles": [0.25, 0.75], "learn": {"weights": False}})
        assert changed.json()["spec"]["learn"] == {"weights": False, "state": True, "initial_state": True}
        frozen_at = replies[-1]["prediction"]["weights_version"]
        reply = (await client.post(url, json={"item": {"load": 3}})).json()
        assert list(reply["prediction"]["fields"]["load"]["quantiles"]) == ["0.25", "0.75"]
        assert reply["prediction"]["weights_version"] == frozen_at
    async with serve() as client:
        reply = (await client.post(url, json={"item": {"load": 4}, "sequence": 5})).json()
        assert list(reply["prediction"]["fields"]["load"]["quantiles"]) == ["0.25", "0.75"]
        assert reply["prediction"]["weights_version"] == frozen_at


async def test_max_streams_bounds_new_streams_only(client: httpx.AsyncClient) -> None:
    """At the bound a new stream is ``overloaded``, an old one goes on, and a deletion makes room."""
    await client.patch("/v1/models/m", json={"max_streams": 2})
    rows = [{"stream": s, "item": {"load": 1}} for s in "abc"]
    results = (await client.post("/v1/models/m/observations", json={"observations": rows})).json()["results"]
    assert [r.get("sequence") or r["error"]["code"] for r in results] == [1, 1, "overloaded"]
    late = await client.post("/v1/models/m/streams/c/observations", json={"item": {"load": 1}})
    assert (late.status_code, code(late)) == (429, "overloaded")
    assert late.headers["retry-after"]
    assert (await client.post("/v1/models/m/streams/a/observations", json={"item": {"load": 1}})).status_code == 200
    await client.delete("/v1/models/m/streams/a")
    assert (await client.post("/v1/models/m/streams/c/observations", json={"item": {"load": 1}})).status_code == 200


async def test_tails_are_chosen_and_changed(client: httpx.AsyncClient) -> None:
    """A model's tails can be set and changed, and ``null`` is refused."""
    assert (await client.get("/v1/models/m")).json()["spec"]["tails"] == "student"
    body = {"item": {"load": 1.0}}
    assert (await client.patch("/v1/models/m", json={"tails": "normal"})).json()["spec"]["tails"] == "normal"
    reply = (await client.post("/v1/models/m/streams/s/observations", json=body)).json()
    assert "degrees_of_freedom" not in reply["prediction"]["fields"]["load"]
    assert code(await client.patch("/v1/models/m", json={"tails": None})) == "invalid_spec"
    assert code(await client.put("/v1/models/n", json={"fields": FIELDS, "tails": "cauchy"})) == "invalid_spec"
