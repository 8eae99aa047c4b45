"""Items, sequences, times and names as nobody should send them: a result or a named refusal, and the stream goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.form import LONG
from tests.fuzz.hosted import Hosted, hosted
from tests.service.conftest import BASE

EXAMPLES = 60 if LONG is None else 10 * LONG
MAX_HORIZON = 20

FIELDS: dict[str, Any] = {
    "load": {"name": "load"},
    "Ünit 7": {"name": "Ünit 7", "kind": "real"},
    "state": {"name": "state", "kind": "category", "values": ["idle", "busy", "\U0001f600"]},
    "activity": {"name": "activity", "kind": "category", "capacity": 3},
}
SMALL: dict[str, Any] = {"hidden": 4, "window": 2}
SPECS: dict[str, dict[str, Any]] = {
    "mixed": {"fields": list(FIELDS.values()), **SMALL},
    "light": {"fields": [FIELDS["load"], FIELDS["Ünit 7"]], "experts": "light", "cell": "gru", "layers": 2, **SMALL},
    "alone": {
        "fields": [FIELDS["load"], FIELDS["state"]],
        "experts": "none",
        "tails": "normal",
        "cell": "rnn",
        **SMALL,
    },
    "texts": {"fields": [FIELDS["state"], FIELDS["activity"]], "cell": "fused", "learning_rate": 1.0, **SMALL},
    "frozen": {"fields": list(FIELDS.values()), "learn": {"weights": False, "state": True}, **SMALL},
}

CODES = {
    200: {""},
    404: {"unknown_stream", "not_found"},
    409: {"sequence_gap", "sequence_stale"},
    422: {"invalid_item", "invalid_request", "invalid_spec"},
    429: {"overloaded"},
}

NUMBERS = [
    *("0", "-0.0", "1", "-1.5", "1e100", "-1e100", "1.0000001e100", "1e308", "-1e308", "5e-324", "1e-310", "1e-100"),
    *("1e400", "-1e400", "NaN", "Infinity", "-Infinity", "01", "1e", "0x1", "9" * 400, str(2**63), str(2**64), "1E5"),
]
TEXTS = [
    "",
    "idle",
    "busy",
    "off",
    "\0",
    "\x7f",
    "\u202e",
    "é",
    "e\u0301",
    "\U0001f600",
    "a" * 256,
    "b" * 257,
    "c" * 5000,
]
RAW_TEXTS = [json.dumps(text) for text in TEXTS] + ['"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"a\nb"', '"\\x"']
OTHERS = ["null", "true", "false", "[]", "{}", "[1]", '{"a":1}', "[" * 500 + "]" * 500, ""]
VALUE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-100, 100).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(NUMBERS),
    st.sampled_from(RAW_TEXTS),
    st.text(max_size=6).map(json.dumps),
    st.sampled_from(OTHERS),
)
FITTING = st.fixed_dictionaries(
    {},
    optional={
        "load": st.one_of(st.floats(-1e100, 1e100), st.floats(-5, 5), st.none()).map(json.dumps),
        "Ünit 7": st.sampled_from([1e100, -1e100, 0.0, -0.0, 5e-324, 1e9]).map(json.dumps),
        "state": st.sampled_from(["idle", "busy", "\U0001f600", None]).map(json.dumps),
        "activity": st.one_of(st.sampled_from(["x", "y", "z", "w"]), st.text(min_size=1, max_size=4)).map(json.dumps),
    },
)
KEY = st.one_of(st.sampled_from([*FIELDS, "other"]).map(json.dumps), st.sampled_from(RAW_TEXTS))
SEQUENCE = st.one_of(
    st.integers(-1, 9).map(str),
    st.sampled_from(
        [str(2**63 - 1), str(2**63), str(2**64), "1.0", "1.5", "true", '"1"', "null", "[]", "1e0", "9" * 30]
    ),
)
TIME = st.one_of(
    st.datetimes().map(lambda time: json.dumps(time.isoformat())),
    st.sampled_from(
        ["null", "0", '""', '"now"', "true", '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999-23:59"',
         '"2026-01-01"', '"2026-W01-1"', '"2026-01-01T24:00:00Z"', '"2016-12-31T23:59:60Z"',
         '"-0001-01-01"', '"\\u0000"']
    ),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """JSON of one observation, or what looks like it."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.one_of(VALUE, st.text(max_size=20), st.just('{"item": {}, "item": 1}')))
    parts = draw(FITTING) if kind < 7 else {}
    fields = [f"{json.dumps(name)}:{value}" for name, value in parts.items()]
    if kind >= 6:
        fields += [f"{draw(KEY)}:{draw(VALUE)}" for _ in range(draw(st.integers(0, 3)))]
    found = [f'"item":{{{",".join(fields)}}}']
    if draw(st.booleans()):
        found.append(f'"timestamp":{draw(TIME)}')
    if kind >= 5 and draw(st.booleans()):
        found.append(f'"sequence":{draw(SEQUENCE)}')
    if kind == 9:
        found.append(draw(st.sampled_from(['"stream":"x"', '"more":1', '"item":{}', '"sequence":1'])))
    return "{" + ",".join(found) + "}"


PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "learn": st.dictionaries(
            st.sampled_from(["weights", "state", "initial_state", "x"]), st.booleans(), max_size=3
        ),
        "learning_rate": st.sampled_from([None, 1.0, 1e-9, 5e-324, 0, -1, 2, "1"]),
        "quantiles": st.one_of(
            st.lists(st.floats(1e-9, 1 - 1e-9), min_size=1, max_size=4, unique=True).map(sorted),
            st.sampled_from([[], [0.5], [0.5, 0.5], [0, 1], [5e-324], None, [1e-300, 0.9999999999999999]]),
        ),
        "tails": st.sampled_from(["normal", "student", "none", None]),
        "max_streams": st.sampled_from([None, 1, 10**6, 0, 2**63, 2**64]),
        "ttl_s": st.sampled_from([None, 3600, 3e8, 0, 1e300, -1]),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("observe"), bodies()),
    st.tuples(st.just("observe"), bodies()),
    st.tuples(st.just("many"), st.lists(bodies(), max_size=4)),
    st.tuples(st.just("patch"), PATCHES),
    st.tuples(
        st.just("predict"), st.sampled_from(["1", "5", "20", "21", "0", "-1", "x", str(2**64), "1.0", "", "\uff11"])
    ),
    st.tuples(st.just("look"), st.sampled_from(["", "/belief"])),
)
_streams = count()


@pytest.fixture(scope="module")
def service(valkey: str) -> Iterator[Hosted]:
    """The application with a model of every spec."""
    with hosted(redis_url=valkey, max_horizon=MAX_HORIZON) as app:

        async def make() -> None:
            async with client_of(app) as client:
                for name, spec in SPECS.items():
                    await client.delete(f"/v1/models/{name}")
                    assert (await client.put(f"/v1/models/{name}", json=spec)).status_code == 201

        app.call(make())
        yield app


def client_of(app: Hosted) -> httpx.AsyncClient:
    """A client of the application; to be used on its loop."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app.app), base_url=BASE)


def checked(response: httpx.Response) -> Any:
    """The reply as JSON, which is a result or a named refusal, and holds finite numbers only."""
    body = json.loads(response.content, parse_constant=_refuse)
    error = body.get("error", {})
    assert error.get("code", "") in CODES[response.status_code], response.text
    if error:
        assert error["message"]
        assert error["request_id"] == response.headers["x-request-id"]
    return body


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a reply")


def expect_numbers(value: Any) -> None:
    """No number of a prediction is missing: JSON has no word for NaN, and would say null."""
    for name, part in value.items():
        if isinstance(part, dict):
            expect_numbers(part)
        else:
            assert part is not None or name == "top", value


def expect_predictions(fields: dict[str, Any]) -> None:
    """Every field is predicted in finite numbers, or is not predicted as it was never seen."""
    for field in fields.values():
        if field is not None:
            expect_numbers(field)


@given(model=st.sampled_from(list(SPECS)), steps=st.lists(STEPS, min_size=1, max_size=8))
@settings(max_examples=EXAMPLES, derandomize=LONG is None, suppress_health_check=[HealthCheck.too_slow])
def test_a_stream_bears_anything(service: Hosted, model: str, steps: list[tuple[str, Any]]) -> None:
    """After any mix of items, changes and looks the stream takes an item, predicts in numbers, and knows a resend."""
    service.call(bear(service, model, f"s{next(_streams)}", steps))


async def bear(app: Hosted, model: str, stream: str, steps: list[tuple[str, Any]]) -> None:
    """Take the steps on a fresh stream, and then those that must always go well."""
    path = f"/v1/models/{model}"
    own = f"{path}/streams/{stream}"
    async with client_of(app) as client:

        async def post(to: str, body: str) -> Any:
            content = body.encode("utf-8", "surrogatepass")
            return checked(await client.post(to, content=content, headers={"Content-Type": "application/json"}))

        for kind, what in steps:
            if kind == "observe":
                reply = await post(f"{own}/observations", what)
                if "prediction" in reply:
                    expect_predictions(reply["prediction"]["fields"])
            elif kind == "many":
                rows = [row.replace("{", f'{{"stream":"{stream}",', 1) for row in what]
                reply = await post(f"{path}/observations", '{"observations":[' + ",".join(rows) + "]}")
                for result in reply.get("results", ()):
                    assert result.get("error", {}).get("code", "") in set().union(*CODES.values())
            elif kind == "patch":
                checked(await client.patch(path, json=what))
            elif kind == "predict":
                reply = checked(await client.get(f"{own}/prediction", params={"horizon": what}))
                for step in reply.get("steps", ()):
                    expect_predictions(step["fields"])
            else:
                checked(await client.get(own + what))

        assert (await client.patch(path, json={"max_streams": None, "ttl_s": None})).status_code == 200
        fitting = {"load": 1.5, "state": "busy"}
        item = {name: fitting[name] for name in fitting if FIELDS[name] in SPECS[model]["fields"]}
        first = await client.post(f"{own}/observations", json={"item": item})
        assert first.status_code == 200, first.text
        expect_predictions(checked(first)["prediction"]["fields"])
        again = await client.post(f"{own}/observations", json={"item": item, "sequence": first.json()["sequence"]})
        assert again.content == first.content.replace(b'"duplicate":false', b'"duplicate":true')
        for look in ("", "/belief", "/prediction?horizon=3", "/history"):
            looked = await client.get(own + look)
            assert looked.status_code == 200, looked.text
            checked(looked)


ODD_NAMES = [".", "..", "%2e", "%2e%2e", "%2F", "a%2Fb", "%00", "%", "%zz", "%ff", "%ed%a0%80", "a?b", "a#b", "a;b"]
LONG_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=250, max_size=260)
NAMES = st.one_of(
    st.one_of(st.text(min_size=1, max_size=8), LONG_TEXT, st.binary(min_size=1, max_size=8)).map(
        lambda name: quote(name, safe="", **({} if isinstance(name, bytes) else {"errors": "replace"}))
    ),
    st.sampled_from(ODD_NAMES),
)


@given(name=NAMES)
@settings(max_examples=EXAMPLES, derandomize=LONG is None)
def test_a_stream_is_named_by_any_text_or_refused(service: Hosted, name: str) -> None:
    """What a path can hold is a stream's name, under which all calls find it, or is refused by every call."""
    service.call(call_by(service, name))


async def call_by(app: Hosted, name: str) -> None:
    """Observe, look, list and delete under one name."""
    own = f"/v1/models/light/streams/{name}"
    async with client_of(app) as client:
        seen = await client.post(f"{own}/observations", json={"item": {"load": 1}})
        assert seen.status_code in {200, 404, 405, 422}, seen.text
        read = await client.get(own)
        if seen.status_code == 200:
            stream = seen.json()["stream"]
            assert read.json()["stream"] == stream
            before = {"cursor": stream[:-1], "limit": 1000}
            page = checked(await client.get("/v1/models/light/streams", params=before))
            assert stream in [listed["stream"] for listed in page["streams"]] or len(stream) == 1
            assert (await client.delete(own)).status_code == 204
            assert (await client.get(own)).status_code == 404
        else:
            assert read.status_code in {200, 404, 422}
