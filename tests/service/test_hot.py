"""The calls that are made most: they take no route, and answer as the route does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from service import schemas
from service.api import frames
from service.engine import Engine
from service.errors import Overloaded
from tests.service.conftest import SPEC, Serve

ONE = "/v1/models/m/streams/s/observations"
MANY = "/v1/models/m/observations"
JSON = {"Content-Type": "application/json"}
ROUTED = {"Content-Type": "application/x+json"}
"""JSON too, but of a type that only the route takes."""

GOOD = {"load": 1.5, "state": "busy"}
LEARNED = 3
"""Items of stream ``s`` before a test begins."""


@pytest.fixture
async def learned(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of a model whose stream ``s`` has come some way."""
    for n in range(LEARNED):
        assert (await client.post(ONE, json={"item": GOOD, "sequence": n + 1})).status_code == 200
    return client


async def test_what_is_in_order_takes_no_route(learned: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is read twice, once the model is in memory."""

    def refuse(*_: object) -> None:
        raise AssertionError("this took the route")

    monkeypatch.setattr(schemas.ObservationIn, "to_observation", refuse)
    monkeypatch.setattr(frames, "read_observations", refuse)
    for query in ("", "?experts=true", "?experts=false"):
        assert (await learned.post(ONE + query, json={"item": GOOD})).status_code == 200
        body = {"observations": [{"stream": "s", "item": GOOD}, {"stream": "other", "item": {}}]}
        assert (await learned.post(MANY + query, json=body)).status_code == 200
    routed = await learned.post(ONE, content=json.dumps({"item": GOOD}), headers=ROUTED)
    assert routed.status_code == 500, "else this test would see nothing"


CALLS: list[tuple[str, Any]] = [
    *((ONE, {"item": GOOD, "sequence": n}) for n in (1, LEARNED, LEARNED + 2, 0, 2**63 - 1, 2**63, None, "1")),
    *(
        (ONE, body)
        for body in ({}, [], None, {"item": {"lode": 1}}, {"item": {"load": 1e300}}, {"item": {}, "more": 1})
    ),
    (ONE + "?experts=true", {"item": GOOD, "sequence": 1}),
    (ONE + "?experts=1", {"item": GOOD, "sequence": 1}),
    (ONE + "?experts=maybe", {"item": GOOD, "sequence": 1}),
    ("/v1/models/none/streams/s/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/none/observations", {"observations": [{"stream": "s", "item": GOOD}]}),
    ("/v1/models/m/streams/a%2Fb/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/m/streams/%2E/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/m/streams/%00/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/m/streams/%FF/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/m/streams/" + "x" * 257 + "/observations", {"item": GOOD, "sequence": 1}),
    ("/v1/models/m/streams//observations", {"item": GOOD, "sequence": 1}),
    (MANY, {"observations": [{"stream": "s", "item": GOOD, "sequence": n} for n in (1, 9, 2)]}),
    (MANY, {"observations": [{"stream": "s", "item": GOOD, "sequence": 1}, {"stream": "s"}, 7]}),
    (MANY, {"observations": []}),
    (MANY, {"observations": {}}),
    (MANY, {"stream": "s", "item": GOOD, "sequence": 1}),
    (MANY, {"streams": ["s"]}),
]


@pytest.mark.parametrize(("path", "body"), CALLS)
async def test_both_ways_answer_alike(learned: httpx.AsyncClient, path: str, body: Any) -> None:
    """Status, head and body, but for the request's id; what both learn is learned once, as it has a sequence."""
    content = json.dumps(body).encode()
    if body == {"item": GOOD, "sequence": None}:
        return  # learned twice
    here, routed = [
        await learned.post(path, content=content, headers={**kind, "X-Request-ID": "one"}) for kind in (JSON, ROUTED)
    ]
    assert (here.status_code, here.content) == (routed.status_code, routed.content)
    assert sorted(here.headers.multi_items()) == sorted(routed.headers.multi_items())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"item": {"load": NaN}}', b"[" * 2000])
async def test_no_json_is_answered_alike(learned: httpx.AsyncClient, content: bytes) -> None:
    """Whichever call it is of."""
    for path in (ONE, MANY):
        here, routed = [
            await learned.post(path, content=content, headers={**kind, "X-Request-ID": "one"})
            for kind in (JSON, ROUTED)
        ]
        assert (here.status_code, here.content) == (routed.status_code, routed.content)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json"])
async def test_a_body_may_come_in_pieces(learned: httpx.AsyncClient, kind: str) -> None:
    """Also one that something is wrong with: the route gets it whole."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for i in range(0, len(body), 7):
            yield body[i : i + 7]

    headers = {"Content-Type": kind}
    good, bad = json.dumps({"item": GOOD, "sequence": 1}).encode(), json.dumps({"item": {"lode": 1}}).encode()
    answer = await learned.post(ONE, content=pieces(good), headers=headers)
    assert (answer.status_code, answer.json()["sequence"]) == (200, 1)
    refused = await learned.post(ONE, content=pieces(bad), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_item")
    assert "lode" in refused.json()["error"]["message"]


async def test_another_type_is_refused(learned: httpx.AsyncClient) -> None:
    """JSON that is not called so may be a form of another site's page."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        answer = await learned.post(ONE, content=json.dumps({"item": GOOD}), headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_item")


async def test_calls_are_counted_by_their_route(learned: httpx.AsyncClient) -> None:
    """Those that were answered, and those that were refused, under the path's format."""
    await learned.post(ONE, json={"item": GOOD, "sequence": 9})
    await learned.post(
        MANY, json={"observations": [{"stream": "s", "item": GOOD}, {"stream": "s", "item": GOOD, "sequence": 99}]}
    )
    lines = (await learned.get("/metrics")).text.splitlines()
    one, many = "/v1/models/{model}/streams/{stream}/observations", "/v1/models/{model}/observations"
    for route, status, n in ((one, 200, LEARNED), (one, 409, 1), (many, 200, 1)):
        assert f'stepahead_request_seconds_count{{method="POST",route="{route}",status="{status}"}} {n}.0' in lines
    assert 'stepahead_errors_total{code="sequence_gap"} 2.0' in lines


async def test_a_refusal_before_the_body_is_counted_by_its_route(
    learned: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overload is told of the path's format too."""

    def refuse(_: Engine) -> None:
        raise Overloaded("no room")

    monkeypatch.setattr(Engine, "refuse_if_crowded", refuse)
    for kind in (JSON, ROUTED):
        body = json.dumps({"observations": [{"stream": "s", "item": GOOD}]})
        assert (await learned.post(MANY, content=body, headers=kind)).status_code == 429
    route = 'route="/v1/models/{model}/observations",status="429"'
    assert f'stepahead_request_seconds_count{{method="POST",{route}}} 2.0' in (await learned.get("/metrics")).text


async def test_keys_and_bounds_come_first(serve: Serve) -> None:
    """Nothing is learned for who has no key, or sends too much."""
    key = {"Authorization": "Bearer one"}
    async with serve(api_keys="one", max_items_per_request=2) as client:
        await client.put("/v1/models/m", json=SPEC, headers=key)
        await client.post(ONE, json={"item": GOOD}, headers=key)
        assert (await client.post(ONE, json={"item": GOOD})).status_code == 401
        rows = {"observations": [{"stream": "s", "item": GOOD}] * 3}
        refused = await client.post(MANY, json=rows, headers=key)
        assert (refused.status_code, refused.json()["error"]["message"]) == (
            422,
            "at most 2 observations fit one request",
        )
        assert (await client.get("/v1/models/m/streams/s", headers=key)).json()["sequence"] == 1
