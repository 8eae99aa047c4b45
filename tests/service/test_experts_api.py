"""Asking a reply what each expert and the network alone said."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import FIELDS, Serve

ONE = "/v1/models/m/streams/s/observations"
MANY = "/v1/models/m/observations"
AHEAD = "/v1/models/m/streams/s/prediction"
ASKED = {"experts": "true"}
SHARE = 1e-9  # rounding of a weighted mean of three numbers


async def observe(client: httpx.AsyncClient, sequence: int, **params: str) -> dict[str, Any]:
    """Item ``sequence`` of a noisy cycle; the reply."""
    item = {"load": (sequence * 7 % 5) + 0.1 * (sequence % 3), "state": "busy" if sequence % 2 else "idle"}
    answer = await client.post(ONE, json={"item": item, "sequence": sequence}, params=params)
    assert answer.status_code == 200
    reply: dict[str, Any] = answer.json()
    return reply


async def test_the_mean_is_what_the_experts_say_by_their_weights(client: httpx.AsyncClient) -> None:
    """Of a real field each expert's mean and weight are told: weights add up to 1, and the mix is the mean."""
    for n in range(1, 40):
        reply = await observe(client, n, **ASKED)
        load = reply["prediction"]["fields"]["load"]
        assert list(load["experts"]) == ["persistence", "regression", "network"]
        said = load["experts"].values()
        assert all(set(expert) == {"mean", "weight"} for expert in said)
        assert sum(expert["weight"] for expert in said) == pytest.approx(1, abs=SHARE)
        assert sum(expert["weight"] * expert["mean"] for expert in said) == pytest.approx(load["mean"], rel=SHARE)
    assert load["experts"]["persistence"]["mean"] == pytest.approx((39 * 7 % 5) + 0.1 * (39 % 3))
    assert len({expert["mean"] for expert in said}) == 3


async def test_weights_of_a_category_add_up(client: httpx.AsyncClient) -> None:
    """Of a category the network is told with its weight, most likely value and probabilities."""
    state = (await observe(client, 1, **ASKED))["prediction"]["fields"]["state"]
    assert set(state["experts"]["network"]) == {"weight", "top", "probabilities"}
    assert sum(expert["weight"] for expert in state["experts"].values()) == pytest.approx(1, abs=SHARE)


async def test_experts_are_told_only_when_asked(client: httpx.AsyncClient) -> None:
    """Without the parameter, or with ``experts=false``, a reply is as it always was."""
    for n, params in enumerate(({}, {"experts": "false"}), 1):
        fields = (await observe(client, n, **params))["prediction"]["fields"]
        assert not any("experts" in field for field in fields.values())


async def test_experts_that_were_switched_off_leave_the_network(serve: Serve) -> None:
    """Without experts the network has the whole weight and says what is predicted; an unseen field says nothing."""
    async with serve() as client:
        await client.put("/v1/models/m", json={"fields": FIELDS, "hidden": 8, "experts": "none"})
        unseen = await client.post(ONE, json={"item": {"state": "busy"}}, params=ASKED)
        assert unseen.json()["prediction"]["fields"]["load"] is None
        load = (await observe(client, 2, **ASKED))["prediction"]["fields"]["load"]
        assert load["experts"] == {"network": {"mean": load["mean"], "weight": 1.0}}


async def test_a_resend_tells_what_was_first_told(client: httpx.AsyncClient) -> None:
    """Asked both times the reply is the same; asked once, the reply to the one that did not ask has no experts."""
    asked, unasked = await observe(client, 1, **ASKED), await observe(client, 2)
    assert await observe(client, 1, **ASKED) == {**asked, "duplicate": True}
    assert await observe(client, 2, **ASKED) == {**unasked, "duplicate": True}
    stripped = await observe(client, 1)
    assert not any("experts" in field for field in stripped["prediction"]["fields"].values())
    assert stripped["prediction"]["fields"]["load"]["mean"] == asked["prediction"]["fields"]["load"]["mean"]


async def test_many_are_asked_together(client: httpx.AsyncClient) -> None:
    """The parameter of a request of many holds for all of them, and changes nothing else of their replies."""
    rows = [{"stream": f"s{n % 2}", "item": {"load": n, "state": "idle"}, "sequence": n // 2 + 1} for n in range(6)]
    replies = (await client.post(MANY, json={"observations": rows}, params=ASKED)).json()["results"]
    again = (await client.post(MANY, json={"observations": rows})).json()["results"]
    for reply, resent in zip(replies, again, strict=True):
        for field in reply["prediction"]["fields"].values():
            assert "network" in field.pop("experts")
        assert {**reply, "duplicate": True} == resent


async def test_a_forecast_tells_the_experts_of_its_first_step(client: httpx.AsyncClient) -> None:
    """The pending prediction is told as it was in the reply, counts as they are by now; further steps tell none."""
    for n in range(1, 6):
        reply = await observe(client, n, **ASKED)
    steps = (await client.get(AHEAD, params={"horizon": 3, **ASKED})).json()["steps"]
    told, sent = steps[0]["fields"], reply["prediction"]["fields"]
    assert told["load"] == sent["load"]
    experts = told["state"].pop("experts"), sent["state"].pop("experts")
    assert told["state"] == sent["state"]
    assert experts[0]["network"] == experts[1]["network"]
    assert [list(each) for each in experts] == [["network", "counts", "blend"]] * 2
    assert not any("experts" in field for step in steps[1:] for field in step["fields"].values())
    plain = (await client.get(AHEAD)).json()["steps"]
    assert not any("experts" in field for field in plain[0]["fields"].values())
