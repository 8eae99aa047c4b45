"""The drift signal in replies, in a stream's summary and in the metrics."""

from __future__ import annotations

import httpx
import numpy as np

MANY = "/v1/models/m/observations"
COUNTER = 'stepahead_drifts_total{model="m"}'


async def drifts(client: httpx.AsyncClient) -> float:
    """The counter, as a scraper sees it."""
    text = (await client.get("/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith(COUNTER))
    return float(line.split()[-1])


async def test_a_stream_that_begins_to_drift_is_counted(client: httpx.AsyncClient) -> None:
    """Noise that grows tenfold is told by reply and summary and counted once; a calm stream beside it is not."""
    source = np.random.default_rng(0)
    for n in range(0, 480, 40):
        assert n != 400 or await drifts(client) == 0
        size = 10 if n >= 400 else 1
        rows = [
            {"stream": stream, "item": {"load": scale * float(source.standard_normal()), "state": "idle"}}
            for _ in range(40)
            for stream, scale in (("wild", size), ("calm", 1))
        ]
        results = (await client.post(MANY, json={"observations": rows})).json()["results"]
    wild, calm = (result["score"]["drift"] for result in results[-2:])
    assert wild["drifting"] is True
    assert wild["fields"] == ["load"]
    assert calm["drifting"] is False
    assert await drifts(client) == 1
    summary = (await client.get("/v1/models/m/streams/wild")).json()["drift"]
    assert {**wild, "count": 1, "since": summary["since"], "last": summary["since"]} == summary
    assert 401 < summary["since"] <= 480
    beside = (await client.get("/v1/models/m/streams/calm")).json()["drift"]
    assert (beside["drifting"], beside["count"], beside["since"], beside["last"]) == (False, 0, None, None)
