"""A resend and the history give the bytes that were first sent, whatever the model became meanwhile."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import redis

from service.store.keys import PartitionKeys
from service.store.ring import PER_PART
from tests.service.conftest import Serve

STREAM = "/v1/models/m/streams/s"
WORDS = [f"word-{i % 23}" for i in range(60)]
SPECS: dict[str, dict[str, Any]] = {
    "real": {"fields": [{"name": "load"}], "hidden": 4},
    "one level": {"fields": [{"name": "load"}], "hidden": 4, "quantiles": [0.5]},
    "many": {"fields": [{"name": f"load-{i}"} for i in range(3)], "hidden": 4, "quantiles": [0.1, 0.3, 0.7, 0.9]},
    "words": {"fields": [{"name": "word", "kind": "category", "capacity": 12}, {"name": "load"}], "hidden": 4},
    "closed": {"fields": [{"name": "word", "kind": "category", "values": sorted(set(WORDS))}], "hidden": 4},
}


def item_of(spec: dict[str, Any], n: int) -> dict[str, Any]:
    """Item ``n``; now and then a value is missing."""
    values = {f["name"]: WORDS[n] if f.get("kind") == "category" else round((n * 37) % 101 / 7, 3)
              for f in spec["fields"]}  # fmt: skip
    return {name: None if (n + i) % 7 == 3 else value for i, (name, value) in enumerate(values.items())}


async def send(client: httpx.AsyncClient, spec: dict[str, Any], sequence: int, *, experts: bool = False) -> bytes:
    """The answer to an item, first or again."""
    body = {"item": item_of(spec, sequence), "sequence": sequence, "timestamp": f"2026-01-01T10:00:{sequence:02}.125Z"}
    query = "?experts=true" if experts else ""
    answer = await client.post(f"{STREAM}/observations{query}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


def marked(reply: bytes) -> bytes:
    """The reply as a resend gets it."""
    return reply.replace(b'"duplicate":false', b'"duplicate":true')


def part(reply: bytes, name: str) -> bytes:
    """What a reply holds under ``score`` or ``prediction``, as bytes."""
    found = re.search(rb'"score":(.*),"prediction":(.*)}$', reply)
    assert found is not None
    return found[1 if name == "score" else 2]


@pytest.mark.parametrize("name", SPECS)
async def test_a_resend_gets_the_bytes_of_the_first_reply(serve: Serve, name: str) -> None:
    """After a while, after a change of the quantiles and after a restart, each item in the ring and none before."""
    spec, kept = SPECS[name], PER_PART + 5
    async with serve(kept_replies=kept) as client:
        await client.put("/v1/models/m", json=spec)
        first = {n: await send(client, spec, n, experts=n % 2 == 0) for n in range(1, 31)}
        for quantiles in ([0.05, 0.5, 0.95], [0.4], [0.2, 0.25, 0.3, 0.35, 0.6]):
            for n in range(31 - kept, 31):
                assert await send(client, spec, n, experts=n % 2 == 0) == marked(first[n])
            await client.patch("/v1/models/m", json={"quantiles": quantiles})
        first |= {n: await send(client, spec, n, experts=n % 2 == 0) for n in range(31, 40)}
    async with serve(kept_replies=kept) as client:
        for n in range(40 - kept, 40):
            assert await send(client, spec, n, experts=n % 2 == 0) == marked(first[n])
        body = {"item": item_of(spec, 39 - kept), "sequence": 39 - kept}
        answer = await client.post(f"{STREAM}/observations", json=body)
        assert answer.json()["error"]["code"] == "sequence_stale"


@pytest.mark.parametrize("name", SPECS)
async def test_the_history_tells_what_was_sent(serve: Serve, name: str) -> None:
    """Scores and predictions are those of the replies, to the byte, though the quantiles changed half-way."""
    spec, kept = SPECS[name], PER_PART + 5
    async with serve(kept_replies=kept) as client:
        await client.put("/v1/models/m", json=spec)
        first = {}
        for n in range(1, 31):
            first[n] = await send(client, spec, n)
            if n == 20:
                await client.patch("/v1/models/m", json={"quantiles": [0.2, 0.8]})
        told = (await client.get(f"{STREAM}/history")).content
        for n in range(32 - kept, 31):
            entry = b'"prediction":%b,"score":%b}' % (part(first[n - 1], "prediction"), part(first[n], "score"))
            assert entry in told


async def test_values_keep_their_names(serve: Serve) -> None:
    """Where the model went back to other weights, a reply names what it named, also values beyond the capacity."""
    spec = SPECS["words"]
    async with serve() as client:
        await client.put("/v1/models/m", json=spec)
        early = (await client.post("/v1/models/m/snapshots")).json()["id"]
        first = {n: await send(client, spec, n) for n in range(1, 31)}
        await client.post(f"/v1/models/m/snapshots/{early}/restore")
        first |= {n: await send(client, spec, n) for n in range(31, 34)}
        for n, reply in first.items():
            assert await send(client, spec, n) == marked(reply)
        found = (await client.get(f"{STREAM}/history?limit=33")).json()["items"]
        assert [entry["item"] for entry in found] == [item_of(spec, n) for n in range(1, 34)]


async def test_what_experts_said_is_kept_where_it_was_asked_for(serve: Serve) -> None:
    """A resend that asks gets it where the first sending asked; one that does not, and the history, never."""
    spec = SPECS["words"]
    async with serve() as client:
        await client.put("/v1/models/m", json=spec)
        asked = [await send(client, spec, n, experts=True) for n in range(1, 6)]
        plain = [await send(client, spec, n) for n in range(6, 9)]
        for n, reply in enumerate(asked, 1):
            assert await send(client, spec, n, experts=True) == marked(reply)
            assert b"experts" not in await send(client, spec, n)
        for n, reply in enumerate(plain, 6):
            assert await send(client, spec, n, experts=True) == marked(reply)
        assert b"experts" not in (await client.get(f"{STREAM}/history")).content


@pytest.mark.parametrize("place", [0, 7, PER_PART - 1])
async def test_a_stream_goes_on_over_a_damaged_ring(serve: Serve, url: str, place: int) -> None:
    """Damage costs the replies that it hides; those that are kept from then on are found."""
    spec, key = SPECS["real"], PartitionKeys("m").stream("s")
    async with serve(kept_replies=PER_PART) as client:
        await client.put("/v1/models/m", json=spec)
        for n in range(1, PER_PART + 1):
            await send(client, spec, n)
        with redis.Redis.from_url(url) as raw:
            ring = raw.hget(key, "k0")
            size = len(ring) // PER_PART
            raw.hset(key, "k0", ring[: place * size] + b"\xff" * 9 + ring[place * size + 9 :])
        first = {n: await send(client, spec, n) for n in range(PER_PART + 1, 3 * PER_PART + 1)}
        for n in range(2 * PER_PART + 1, 3 * PER_PART + 1):
            assert await send(client, spec, n) == marked(first[n])
