"""Everything that the OpenAPI document can be made to say, sent: documented answers, named errors, nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServiceError
from tests.fuzz import campaign
from tests.fuzz.form import LONG
from tests.fuzz.ground import Ground
from tests.fuzz.hosted import ANSWER_S, Hosted, hosted
from tests.integration.test_process import serving
from tests.service.conftest import BASE

EXAMPLES = 8
KEY = "k3y"
OPEN = {"/healthz", "/readyz"}

MAX_GROWTH_BYTES = 64 * 2**20
"""What a server may grow by over a long run after as long a warm-up, with all models deleted: allocators keep some."""


def ground_of(app: Hosted, **headers: str) -> Ground:
    """What a campaign over the application stands on."""

    async def send(method: str, path: str, **request: Any) -> httpx.Response:
        async with client_of(app, **headers) as client:
            return await client.request(method, path, **request)

    return Ground(lambda *given, **request: app.call(send(*given, **request)), campaign.SEED)


def client_of(app: Hosted, **headers: str) -> httpx.AsyncClient:
    """A client of the application; to be used on its loop."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url=BASE, headers=headers)


def test_what_the_document_allows_is_answered_as_it_says(app: Hosted) -> None:
    """No status, type or shape but the documented ones, no error without its object, and none over 499."""
    outcome = campaign.run(campaign.in_process(app, campaign.config(EXAMPLES)), ground_of(app))
    assert not outcome.failures, "\n".join(outcome.failures)
    met = {request.rpartition(" ")[0] for request, n in outcome.requests.items() if request[-3:-2] == "2"}
    assert met == set(operations(app)), "every call was answered well at least once"


def test_without_a_key_nothing_but_health_answers(url: str) -> None:
    """With keys each call says that it asks for one, and does; the same document holds otherwise."""
    with hosted(redis_url=url, api_keys=f"other,{KEY}", max_horizon=100) as app:
        authorised = {"Authorization": f"Bearer {KEY}"}
        # Bounds and shapes are another test's: of each call a few requests are enough.
        config = campaign.config(4, headers=authorised, phases={"coverage": {"enabled": False}})
        outcome = campaign.run(campaign.in_process(app, config, **authorised), ground_of(app, **authorised))
        assert not outcome.failures, "\n".join(outcome.failures)
        assert any(request.endswith(" 401") for request in outcome.requests)

        async def refused(authorization: str | None) -> None:
            headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
            async with client_of(app) as client:
                for label in [
                    *operations(app),
                    "GET /openapi.json",
                    "GET /docs",
                    "GET /",
                    "GET /none",
                    "PUT /healthz/",
                ]:
                    method, _, path = label.partition(" ")
                    answer = await client.request(method, path, headers=headers)
                    assert answer.status_code == (200 if path in OPEN else 401), label
                    if path not in OPEN:
                        assert answer.json()["error"]["code"] == "unauthorized"
                        assert answer.headers["www-authenticate"] == "Bearer"

        for none in (None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY},other"):
            app.call(refused(none))

        @given(text=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])))
        def any_other(text: str) -> None:
            if text.partition(" ")[2].strip() not in {KEY, "other"}:
                app.call(refused(text))

        any_other()


def operations(app: Hosted) -> list[str]:
    """Every call of the document, as ``METHOD path``."""
    return [f"{method.upper()} {path}" for path, item in app.app.openapi()["paths"].items() for method in item]


def test_the_document_names_what_every_call_has(app: Hosted) -> None:
    """Each answer has the request's id, each error its object and codes, and a wait where one may be asked for."""
    document: dict[str, Any] = app.app.openapi()
    codes: set[str] = set()
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert response["headers"]["X-Request-ID"]["required"]
                assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorReply"}
                    codes |= set(re.findall("`([a-z_]+)`", response["description"]))
    missing = {error.code for error in errors_of(ServiceError)} - codes
    assert missing == {
        "forbidden_origin",
        "head_too_large",
        "method_not_allowed",
        "not_found",
        "slow_reader",
        "superseded",
        "unauthorized",
    }, "these are of no call"


def errors_of(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """An error's class and all below it."""
    yield base
    for error in base.__subclasses__():
        yield from errors_of(error)


@pytest.mark.skipif(LONG is None, reason="the long form: make fuzz")
def test_a_server_bears_it_for_long(tmp_path: Path) -> None:
    """A server in a process of its own answers all of it over sockets, and does not grow."""
    with serving(tmp_path, "--max-horizon", "100", "--log-level", "error") as service:
        address, pid = str(service.client.base_url).rstrip("/"), service.process.pid

        def round_of(seed: int) -> campaign.Outcome:
            schema = campaign.over_sockets(address, campaign.config(LONG or EXAMPLES, seed=seed))
            outcome = campaign.run(schema, Ground(service.client.request, seed))
            assert not outcome.failures, "\n".join(outcome.failures[:20])
            for model in service.client.get("/v1/models").json()["models"]:
                assert service.client.delete(f"/v1/models/{model['name']}").status_code == 204
            return outcome

        warm_up = round_of(1)
        before = resident_bytes(pid)
        outcome = round_of(2)
        after = resident_bytes(pid)
        print(
            json.dumps(
                {
                    "warm_up_requests": warm_up.n_requests,
                    "requests": outcome.n_requests,
                    "resident_before_mib": before >> 20,
                    "resident_after_mib": after >> 20,
                }
            )
        )
        assert after - before < MAX_GROWTH_BYTES
        assert service.client.get("/healthz", timeout=ANSWER_S).status_code == 200


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use now."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
