"""Observing over HTTP: replies, resends, bad items, many at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from service.schemas import ObservationIn
from tests.service.conftest import SPEC, Serve
from tests.service.test_models_api import code

ONE = "/v1/models/m/streams/s/observations"
MANY = "/v1/models/m/observations"
JSON = {"Content-Type": "application/json"}
GOOD = {"load": 1.5, "state": "busy"}


async def test_a_reply_has_the_contracts_shape(client: httpx.AsyncClient) -> None:
    """Score and prediction name the fields as the contract does; a first item has no score."""
    first = (await client.post(ONE, json={"item": GOOD})).json()
    assert list(first) == ["stream", "sequence", "duplicate", "score", "prediction"]
    assert (first["stream"], first["sequence"], first["duplicate"], first["score"]) == ("s", 1, False, None)
    body = {"item": {"load": 2, "state": "idle"}, "sequence": 2, "timestamp": "2026-01-01T10:00:00Z"}
    reply = (await client.post(ONE, json=body)).json()
    assert set(reply["score"]) == {"nll", "anomaly", "drift", "fields"}
    assert reply["score"]["drift"] == {"drifting": False, "level": 0.0, "fields": []}
    assert set(reply["score"]["fields"]["load"]) == {"error", "crps", "covered"}
    assert set(reply["score"]["fields"]["state"]) == {"nll", "rank"}
    prediction = reply["prediction"]
    assert (prediction["sequence"], prediction["weights_version"]) == (3, 1)
    assert set(prediction["fields"]["load"]) - {"degrees_of_freedom"} == {"mean", "std", "quantiles"}
    assert set(prediction["fields"]["state"]) == {"top", "probabilities"}


async def test_a_resend_gets_the_same_bytes_but_for_duplicate(client: httpx.AsyncClient) -> None:
    """An applied sequence is answered as before, marked, and nothing is learned."""
    sent = [await client.post(ONE, json={"item": {"load": n}, "sequence": n}) for n in (1, 2, 3)]
    for n, reply in enumerate(sent, 1):
        again = await client.post(ONE, json={"item": {"load": n}, "sequence": n})
        assert again.status_code == 200
        assert again.content == reply.content.replace(b'"duplicate":false', b'"duplicate":true')
    summary = (await client.get("/v1/models/m/streams/s")).json()
    assert (summary["sequence"], summary["weights_version"]) == (3, 2)


async def test_gaps_and_stale_items(serve: Serve) -> None:
    """A sequence too far is ``sequence_gap``, one whose reply is no longer kept ``sequence_stale``; neither counts."""
    async with serve(kept_replies=2) as client:
        await client.put("/v1/models/m", json=SPEC)
        gap = await client.post(ONE, json={"item": GOOD, "sequence": 2})
        assert (gap.status_code, code(gap)) == (409, "sequence_gap")
        assert (gap.json()["error"]["expected"], gap.json()["error"]["received"]) == (1, 2)
        for n in (1, 2, 3):
            assert (await client.post(ONE, json={"item": GOOD, "sequence": n})).status_code == 200
        stale = await client.post(ONE, json={"item": GOOD, "sequence": 1})
        assert (stale.status_code, code(stale)) == (409, "sequence_stale")
        assert (stale.json()["error"]["expected"], stale.json()["error"]["received"]) == (4, 1)
        assert (await client.post(ONE, json={"item": GOOD})).json()["sequence"] == 4


BAD_BODIES: list[Any] = [
    {},
    [],
    7,
    None,
    {"item": None},
    {"item": [1]},
    {"item": {"load": "1"}},
    {"item": {"load": True}},
    {"item": {"load": [1]}},
    {"item": {"load": 1e300}},
    {"item": {"state": 1}},
    {"item": {"state": "off"}},
    {"item": {"state": ""}},
    {"item": {"lode": 1}},
    {"item": GOOD, "sequence": 0},
    {"item": GOOD, "sequence": -1},
    {"item": GOOD, "sequence": 1.0},
    {"item": GOOD, "sequence": "1"},
    {"item": GOOD, "sequence": True},
    {"item": GOOD, "sequence": 2**63},
    {"item": GOOD, "sequence": 2**70},
    {"item": GOOD, "timestamp": 1700000000},
    {"item": GOOD, "timestamp": "yesterday"},
    {"item": GOOD, "timestamp": ""},
    {"item": GOOD, "time": "2026-01-01T10:00:00Z"},
]
BAD_TEXTS = [
    b'{"item": {"load": NaN}}',
    b'{"item": {"load": Infinity}}',
    b'{"item": {"load": -Infinity}}',
    b'{"item": {"load": 1e999}}',
    b'{"item": {"load": ' + b"9" * 400 + b"}}",
    b'{"item": {"load": ' + b"9" * 5000 + b"}}",
    b'{"item": {"state": "\\ud800"}}',
]
UNREADABLE = [b"", b"{", b'{"item": {"load": 1}', b"[" * 100_000, b"\xff\xfe", b"load=1"]


@pytest.mark.parametrize("content", [json.dumps(b).encode() for b in BAD_BODIES] + BAD_TEXTS + UNREADABLE)
async def test_a_bad_item_is_refused_and_changes_nothing(client: httpx.AsyncClient, content: bytes) -> None:
    """Each way to be wrong is ``invalid_item``; the stream is where it was."""
    await client.post(ONE, json={"item": GOOD})
    before = (await client.get("/v1/models/m/streams/s/belief")).content
    response = await client.post(ONE, content=content, headers=JSON)
    assert (response.status_code, code(response)) == (422, "invalid_item")
    assert (await client.get("/v1/models/m/streams/s/belief")).content == before


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    """A form or plain text is ``invalid_item``, and the message says what is taken."""
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        response = await client.post(ONE, content=b'{"item": {"load": 1}}', headers={"Content-Type": kind})
        assert (response.status_code, code(response)) == (422, "invalid_item")
        assert "application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize("stream", ["%00", "a%0Ab", "x" * 257, "%C2%A0", "%FF", "a%EF%BF%BD"])
async def test_a_bad_stream_name_is_refused(client: httpx.AsyncClient, stream: str) -> None:
    """A name with control characters, or too long, is ``invalid_item``."""
    response = await client.post(f"/v1/models/m/streams/{stream}/observations", json={"item": GOOD})
    assert (response.status_code, code(response)) == (422, "invalid_item")


@pytest.mark.parametrize("stream", ["site 7", "ü", "a:b{c}", "%", "..a"])
async def test_any_printable_stream_name_is_taken(client: httpx.AsyncClient, stream: str) -> None:
    """Names are told back as they were given."""
    path = "/v1/models/m/streams/" + "".join(f"%{byte:02X}" for byte in stream.encode())
    assert (await client.post(f"{path}/observations", json={"item": GOOD})).json()["stream"] == stream
    assert (await client.get(path)).json()["stream"] == stream


async def test_missing_values_are_taken(client: httpx.AsyncClient) -> None:
    """``null``, an absent field, and an item of nothing at all are items."""
    for item in ({"load": None, "state": "idle"}, {"load": 2}, {}):
        assert (await client.post(ONE, json={"item": item})).status_code == 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02T00:00:00", 86400),
        ("1970-01-02", 86400),
        ("1970-01-02T02:00:00+02:00", 86400),
        ("1969-12-31T23:59:59.5Z", -0.5),
    ],
)
async def test_a_time_without_zone_is_utc(client: httpx.AsyncClient, text: str, seconds: float) -> None:
    """A moment is taken however it is written, to the microsecond."""
    assert ObservationIn.model_validate({"item": {}, "timestamp": text}).timestamp == seconds * 1_000_000
    assert (await client.post(ONE, json={"item": GOOD, "timestamp": text})).status_code == 200


async def test_many_answers_are_in_order(client: httpx.AsyncClient) -> None:
    """Several of a stream are learned in their order; each bad one gets its error in its place, the rest go on."""
    rows = [
        {"stream": "a", "item": {"load": 1}},
        {"stream": "b", "item": {"load": 5}, "sequence": 1},
        {"stream": "a", "item": {"load": "2"}},
        "nonsense",
        {"item": {"load": 1}},
        {"stream": "", "item": {"load": 1}},
        {"stream": "a/b", "item": {"load": 1}},
        {"stream": "a", "item": {"load": 2}},
        {"stream": "b", "item": {"load": 6}, "sequence": 3},
        {"stream": "b", "item": {"load": 6}, "sequence": 2},
        {"stream": "b", "item": {"load": 5}, "sequence": 1},
        {"stream": "a", "item": {"load": 3}, "extra": 1},
    ]
    response = await client.post(MANY, json={"observations": rows})
    assert response.status_code == 200
    told = [
        r["error"]["code"] if "error" in r else (r["stream"], r["sequence"], r["duplicate"])
        for r in response.json()["results"]
    ]
    bad = "invalid_item"
    assert told == [
        ("a", 1, False), ("b", 1, False), bad, bad, bad, bad, bad, ("a", 2, False),
        "sequence_gap", ("b", 2, False), ("b", 1, True), bad,
    ]  # fmt: skip
    errors = [r["error"] for r in response.json()["results"] if "error" in r]
    assert all(e["message"] and e["request_id"] == response.headers["x-request-id"] for e in errors)


async def test_one_nan_among_many_costs_one_item(client: httpx.AsyncClient) -> None:
    """NaN, which is not JSON but which many encoders write, is refused where it stands."""
    content = b'{"observations": [{"stream": "a", "item": {"load": NaN}}, {"stream": "a", "item": {"load": 1}}]}'
    results = (await client.post(MANY, content=content, headers=JSON)).json()["results"]
    assert results[0]["error"]["code"] == "invalid_item"
    assert results[1]["sequence"] == 1


BAD_VALUES = {
    b'{"stream": "a", "item": {"load": 1180591620717411303424}}': "field 'load': an integer that does not fit 64 bits",
    b'{"stream": "a", "item": {"load": 18446744073709551616}}': "field 'load': an integer that does not fit 64 bits",
    b'{"stream": "a", "item": {"load": %s}}' % (b"1" * 5000): "field 'load': an integer that does not fit 64 bits",
    b'{"stream": "a", "item": {"load": 1}, "sequence": 1180591620717411303424}': "sequence: an integer that",
    b'{"stream": "a", "item": {"load": NaN}}': "NaN",
    b'{"stream": "a", "item": {"state": "\\ud800"}}': "field 'state': a text that is not Unicode",
    b'{"stream": "a\\udfff", "item": {"load": 1}}': "stream: a text that is not Unicode",
    b'{"stream": "a", "item": {"\\ud800": 1}}': "ud800",
    b'{"stream": "a", "item": {"load": 1}, "\\ud800": 1}': "ud800: is not known here",
    b'{"stream": "a", "item": "\\ud800"}': "item: a text that is not Unicode",
    b'"\\ud800"': "a text that is not Unicode",
}


@pytest.mark.parametrize("beside", [b"1", b"NaN"])
@pytest.mark.parametrize(("bad", "why"), BAD_VALUES.items())
async def test_one_bad_value_among_many_costs_one_item(
    client: httpx.AsyncClient, bad: bytes, why: str, beside: bytes
) -> None:
    """Whatever is wrong with it, and whoever stands beside it: it is refused in its place and told the true cause."""
    good, other = b'{"stream": "a", "item": {"load": 18446744073709551615}}', b'{"stream": "b", "item": {"load": %s}}'
    content = b'{"observations": [' + b", ".join((good, bad, other % beside, good)) + b"]}"
    results = (await client.post(MANY, content=content, headers=JSON)).json()["results"]
    assert results[1]["error"]["code"] == "invalid_item"
    assert why in results[1]["error"]["message"]
    assert [results[0]["sequence"], results[3]["sequence"]] == [1, 2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the body is empty"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"item": {"load": "\xff"}}', "not UTF-8"),
        (b'{"item": {"load": 1}} x', "Extra data"),
        (b'{"item": {"load": 1%s}}' % (b"0" * 30), "does not fit 64 bits"),
    ],
)
async def test_the_true_cause_is_told(client: httpx.AsyncClient, content: bytes, why: str) -> None:
    """What is wrong with a body is said, not guessed."""
    response = await client.post(ONE, content=content, headers=JSON)
    assert (response.status_code, code(response)) == (422, "invalid_item")
    assert why in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"item": {"load": 1}, "k" * 100_000: 1},
        {"item": {"load": 1}, "timestamp": "2" * 100_000},
        {"item": {"load": 1}, **{f"k{i}" * 100: 1 for i in range(1000)}},
        "x" * 100_000,
    ],
)
async def test_a_message_repeats_little(client: httpx.AsyncClient, body: Any) -> None:
    """However much was sent, an error's message is short."""
    response = await client.post(ONE, json=body)
    assert (response.status_code, code(response)) == (422, "invalid_item")
    assert len(response.json()["error"]["message"]) < 1000


async def test_an_unknown_name_is_repeated_in_part(client: httpx.AsyncClient) -> None:
    """A path that names no model is not echoed whole."""
    for response in (await client.get(f"/v1/models/{'x' * 5000}"), await client.delete(f"/v1/models/{'x' * 5000}")):
        assert code(response) == "unknown_model"
        assert len(response.text) < 500


@pytest.mark.parametrize("body", [{}, [], {"observations": None}, {"observations": {}}, {"observations": [], "x": 1}])
async def test_a_malformed_envelope_is_refused_whole(client: httpx.AsyncClient, body: Any) -> None:
    """Where the list itself cannot be found the request is ``invalid_item``."""
    response = await client.post(MANY, json=body)
    assert (response.status_code, code(response)) == (422, "invalid_item")


async def test_nothing_observed_is_answered(client: httpx.AsyncClient) -> None:
    """An empty list gets an empty list."""
    assert (await client.post(MANY, json={"observations": []})).json() == {"results": []}


async def test_bounds_of_a_request(serve: Serve) -> None:
    """Too many items are ``invalid_item``; those over their stream's bound ``overloaded``, in their place."""
    async with serve(max_items_per_request=4, max_queue=4, max_queue_per_stream=2) as client:
        await client.put("/v1/models/m", json=SPEC)
        row = {"stream": "a", "item": {"load": 1}}
        response = await client.post(MANY, json={"observations": [row] * 5})
        assert (response.status_code, code(response)) == (422, "invalid_item")
        results = (await client.post(MANY, json={"observations": [row] * 4})).json()["results"]
        assert [r.get("sequence") or r["error"]["code"] for r in results] == [1, 2, "overloaded", "overloaded"]


async def test_two_clients_feed_200_streams(client: httpx.AsyncClient) -> None:
    """Both get all their answers in order, and together each stream's sequences without a gap."""
    streams, n_items = [f"s{i}" for i in range(200)], 3

    async def feed() -> list[list[int]]:
        pages = []
        for n in range(n_items):
            rows = [{"stream": s, "item": {"load": n + i}} for i, s in enumerate(streams) for _ in range(2)]
            results = (await client.post(MANY, json={"observations": rows})).json()["results"]
            assert [r["stream"] for r in results] == [row["stream"] for row in rows]
            pages.append([r["sequence"] for r in results])
        return [[page[2 * i + k] for page in pages for k in (0, 1)] for i in range(len(streams))]

    one, two = await asyncio.gather(feed(), feed())
    for ours, theirs in zip(one, two, strict=True):
        assert ours == sorted(ours)
        assert theirs == sorted(theirs)
        assert sorted(ours + theirs) == list(range(1, 4 * n_items + 1))


async def test_an_overloaded_model_says_when_to_come_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what waits takes too long the answer is 429 with the seconds until there is room, and nothing is read."""
    await client.post(ONE, json={"item": GOOD})
    monkeypatch.setattr("service.pace.Pace.wait_s", lambda *_: 24.5)
    for path, body in ((ONE, b"neither JSON"), (MANY, b"nor read")):
        answer = await client.post(path, content=body, headers=JSON)
        assert (answer.status_code, code(answer)) == (429, "overloaded")
        assert answer.headers["retry-after"] == "15"
        assert answer.json()["error"]["max_wait_s"] == 10.0
    assert (await client.get("/v1/models/m/streams/s")).json()["sequence"] == 1
