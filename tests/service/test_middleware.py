"""What happens to every request: ids, keys, bounds, and answers to what fits no call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.service.conftest import SPEC, Serve
from tests.service.test_models_api import code


async def test_a_plain_request_id_comes_back(client: httpx.AsyncClient) -> None:
    """A caller's id is kept in header and error; one that is not plain is replaced."""
    response = await client.get("/v1/models/none", headers={"X-Request-ID": "trace-1"})
    assert response.headers["x-request-id"] == "trace-1"
    assert code(response) == "unknown_model"
    for strange in ("a b", "x" * 129, '"quoted"'):
        assert (await client.get("/healthz", headers={"X-Request-ID": strange})).headers["x-request-id"] != strange


async def test_keys_are_asked_for(serve: Serve) -> None:
    """Without one of the keys a call is ``unauthorized``, but for the health checks."""
    async with serve(api_keys="one,two") as client:
        for key in (None, "Bearer three", "Bearer on", "Bearer ", "Basic one", "one", "Bearer one,two"):
            response = await client.get("/v1/models", headers={"Authorization": key} if key else {})
            assert (response.status_code, code(response)) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200
        for key in ("Bearer one", "bearer two"):
            assert (await client.get("/v1/models", headers={"Authorization": key})).status_code == 200
        assert (await client.get("/metrics")).status_code == 401


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused(serve: Serve, declared: bool) -> None:
    """Whether its length is declared or only found out, a long body is ``body_too_large``."""
    body = b'{"observations": [' + b" " * 2000 + b"]}"

    async def pieces() -> AsyncIterator[bytes]:
        for i in range(0, len(body), 100):
            yield body[i : i + 100]

    async with serve(max_body_bytes=1024) as client:
        await client.put("/v1/models/m", json=SPEC)
        response = await client.post(
            "/v1/models/m/observations",
            content=body if declared else pieces(),
            headers={"Content-Type": "application/json"},
        )
        assert (response.status_code, code(response)) == (413, "body_too_large")
        assert (await client.get("/v1/models/m")).json()["streams"] == 0


async def test_what_fits_no_call(client: httpx.AsyncClient) -> None:
    """Unknown paths and methods are named errors."""
    unknown = await client.get("/v1/nothing")
    assert (unknown.status_code, code(unknown)) == (404, "not_found")
    wrong = await client.post("/v1/models/m")
    assert (wrong.status_code, code(wrong)) == (405, "method_not_allowed")
    refused = await client.post("/v1/models/m", json={})
    assert refused.headers["allow"] == "DELETE, GET, PATCH, PUT", (
        "all that the path takes, whichever route is the first"
    )
    assert wrong.headers["allow"]


async def test_an_unforeseen_error_is_internal(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered 500 with the request's id and tells nothing of the inside."""

    async def broken(_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.catalogue.Catalogue.records", broken)
    async with serve() as client:
        response = await client.get("/v1/models")
    assert (response.status_code, code(response)) == (500, "internal")
    assert "secret" not in response.text


async def test_health_metrics_and_docs(client: httpx.AsyncClient) -> None:
    """The service says that it is ready, what it did, and how it is called."""
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    await client.post("/v1/models/m/streams/s/observations", json={"item": {"load": 1}, "sequence": 1})
    await client.post("/v1/models/m/streams/s/observations", json={"item": {"load": 1}, "sequence": 1})
    await client.post("/v1/models/m/streams/s/observations", json={"item": {"load": "x"}})
    await client.get("/nothing")
    text = (await client.get("/metrics")).text
    assert "stepahead_items_total 1.0" in text
    assert "stepahead_duplicates_total 1.0" in text
    assert 'stepahead_errors_total{code="invalid_item"} 1.0' in text
    route = "/v1/models/{model}/streams/{stream}/observations"
    assert f'stepahead_request_seconds_count{{method="POST",route="{route}",status="200"}} 2.0' in text
    assert 'stepahead_request_seconds_count{method="GET",route="unmatched",status="404"} 1.0' in text
    assert (await client.get("/")).headers["location"] == "/docs"
    assert (await client.get("/docs")).status_code == 200


async def test_health_answers_head(client: httpx.AsyncClient) -> None:
    """Probes that send HEAD get the status."""
    assert (await client.head("/healthz")).status_code == 200
    assert (await client.head("/readyz")).status_code == 200


async def test_no_caller_makes_new_metrics(client: httpx.AsyncClient) -> None:
    """Methods that nobody knows are counted as ``other``, on a path of ours and elsewhere."""
    for n in range(3):
        await client.request(f"FOO{n}", "/v1/models/m")
        await client.request(f"FOO{n}", "/nothing")
    text = (await client.get("/metrics")).text
    assert "FOO" not in text
    assert 'method="other",route="/v1/models/{model}",status="405"} 3.0' in text
    assert 'method="other",route="unmatched",status="404"} 3.0' in text


async def test_every_call_is_documented(client: httpx.AsyncClient) -> None:
    """Each operation and each parameter is described, and errors have the contract's shape."""
    document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], f"{method} {path}"
            assert all(p.get("description") or p["schema"].get("description") for p in operation.get("parameters", []))


async def test_a_store_that_is_away_is_waited_for(serve: Serve) -> None:
    """With an external store out of reach the service runs, is not ready, and answers ``store_unavailable``."""
    async with serve(redis_url="unix:///nonexistent/socket", store_timeout_s=1) as client:
        assert (await client.get("/healthz")).status_code == 200
        for response in (
            await client.get("/readyz"),
            await client.get("/v1/models"),
            await client.put("/v1/models/m", json=SPEC),
            await client.post("/v1/models/m/streams/s/observations", json={"item": {"load": 1}}),
        ):
            assert (response.status_code, code(response)) == (503, "store_unavailable")
            assert response.headers["retry-after"]
