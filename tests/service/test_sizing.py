"""What streams take, as it is told, against what a real store says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner

from model.spec import FieldSpec, ModelSpec
from service.cli import main
from service.cli.size import in_words
from service.sizing import MAX_BELIEF_BYTES, MAX_VALUE_BYTES, check_size, memory_bytes, size_of
from service.store.keys import PartitionKeys
from tests.builders import feed, small_spec
from tests.service.conftest import Serve
from tests.service.test_models_api import code

TOLERANCE = 0.1
"""Share by which a stream may take more or less than is told: allocators round up, and replies differ in length."""

N_STREAMS, N_ITEMS, KEPT = 40, 20, 16

SPECS: dict[str, dict[str, Any]] = {
    "real": {"fields": [{"name": "load"}]},
    "none": {"fields": [{"name": "load"}], "experts": "none"},
    "light": {"fields": [{"name": "load"}, {"name": "temperature"}], "experts": "light"},
    "category": {"fields": [{"name": "state", "kind": "category", "values": ["idle", "busy", "off"]}]},
    "many": {"fields": [{"name": f"field-{i}"} for i in range(8)], "quantiles": [0.01, 0.1, 0.5, 0.9, 0.99]},
    "vocabulary": {"fields": [{"name": "word", "kind": "category", "capacity": 2000}], "hidden": 8},
    "mixed": {
        "fields": [{"name": "load"}, {"name": "state", "kind": "category", "values": ["a", "b"]}],
        "hidden": 32,
        "layers": 2,
        "window": 8,
        "cell": "gru",
    },
}


@pytest.mark.parametrize("name", SPECS)
async def test_a_stream_takes_what_is_told(serve: Serve, url: str, name: str) -> None:
    """Once it has run for a while, by what the store says of its keys."""
    spec, keys = ModelSpec.from_dict(SPECS[name]), PartitionKeys("m")
    told = size_of(spec, N_STREAMS, kept_replies=KEPT, snapshot_every_updates=1, name_bytes=len(stream_name(0)))
    async with serve(kept_replies=KEPT, snapshot_every_updates=1) as client:
        await client.put("/v1/models/m", json=SPECS[name])
        await run(client, spec, range(N_STREAMS))
        with redis.Redis.from_url(url) as raw:
            taken = sum(raw.memory_usage(keys.stream(stream_name(s)), samples=0) for s in range(N_STREAMS))
            taken += raw.memory_usage(keys.streams, samples=0)
            snapshot = raw.hstrlen(keys.weights, "snapshot")
    assert taken == pytest.approx(told.streams_bytes, rel=TOLERANCE)
    assert snapshot <= told.snapshot_bytes


async def test_a_store_takes_what_is_told(serve: Serve, url: str) -> None:
    """Streams that join a model take what is told of the whole store's memory."""
    spec = ModelSpec.from_dict(SPECS["real"])
    told = size_of(spec, 5 * N_STREAMS, kept_replies=KEPT, snapshot_every_updates=1, name_bytes=len(stream_name(0)))
    async with serve(kept_replies=KEPT, snapshot_every_updates=1) as client:
        await client.put("/v1/models/m", json=SPECS["real"])
        used = []
        with redis.Redis.from_url(url) as raw:
            for streams in (range(N_STREAMS), range(N_STREAMS, 6 * N_STREAMS)):
                await run(client, spec, streams)
                used.append(raw.info("memory")["used_memory"])
    assert used[1] - used[0] == pytest.approx(told.streams_bytes, rel=TOLERANCE)


async def run(client: httpx.AsyncClient, spec: ModelSpec, streams: range) -> None:
    """Send so many items of each stream that it keeps all the replies it may."""
    for n in range(N_ITEMS):
        rows = [{"stream": stream_name(s), "item": item_of(spec, n, s)} for s in streams]
        answer = await client.post("/v1/models/m/observations", json={"observations": rows})
        assert all("prediction" in result for result in answer.json()["results"])
    await client.get(f"/v1/models/m/streams/{stream_name(0)}")  # comes after what is done between two batches


def stream_name(number: int) -> str:
    """The name of a stream; all are of one length."""
    return f"stream-{number:03}"


def item_of(spec: ModelSpec, n: int, stream: int) -> dict[str, Any]:
    """Item ``n`` of a stream: numbers that vary, and categories that go through their values."""
    return {
        f.name: (f.values[n % len(f.values)] if f.values else f"value-{n % 20:02}")
        if f.kind == "category"
        else round((n * 37 + stream * 11) % 101 / 7, 3)
        for f in spec.fields
    }


def test_the_redo_log_is_told() -> None:
    """It holds a record for each update until the next snapshot, and is bounded by the snapshot's size."""
    spec = ModelSpec((FieldSpec("load"),))
    few, many = (size_of(spec, 1, kept_replies=1, snapshot_every_updates=n) for n in (10, 1_000_000))
    assert few.redo_bytes < 2 * 10 * 1000
    assert few.redo_bytes < many.redo_bytes <= 9 * many.snapshot_bytes
    assert few.store_bytes == few.streams_bytes + few.snapshot_bytes + few.redo_bytes


def test_an_open_model_takes_what_is_told() -> None:
    """By its weights in memory; its counts are told at their largest."""
    from model.learner import Learner

    learner = Learner(small_spec())
    feed(learner, learner.fresh_beliefs(2), 5)
    assert learner.counts is not None
    told = size_of(learner.spec, 1, kept_replies=1, snapshot_every_updates=1)
    assert told.memory_bytes - memory_bytes(learner) == 2**24 - learner.counts.rows.nbytes
    plain = Learner(ModelSpec((FieldSpec("load"),)))
    assert memory_bytes(plain) == size_of(plain.spec, 1, kept_replies=1, snapshot_every_updates=1).memory_bytes


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ([{"name": "word", "kind": "category", "capacity": 65_536}], 1024),
        ([{"name": f"f{i}", "kind": "category", "capacity": 65_536} for i in range(64)], 1),
    ],
)
async def test_a_model_nobody_can_run_is_refused(client: httpx.AsyncClient, fields: list[Any], hidden: int) -> None:
    """One whose weights could not be saved, or whose belief could not be committed, is ``invalid_spec``."""
    spec = {"fields": fields, "hidden": hidden}
    for answer in (
        await client.put("/v1/models/large", json=spec),
        await client.post("/v1/size", json={"spec": spec, "streams": 1}),
    ):
        assert (answer.status_code, code(answer)) == (422, "invalid_spec")
        assert str(MAX_VALUE_BYTES) in answer.text or str(MAX_BELIEF_BYTES) in answer.text


def test_the_largest_networks_can_be_run() -> None:
    """Each bound of a spec can be reached by itself."""
    load = (FieldSpec("load"),)
    for spec in (
        ModelSpec(load, hidden=1024, layers=4),
        ModelSpec(load, window=64),
        ModelSpec(tuple(FieldSpec(f"f{i}") for i in range(64))),
        ModelSpec((FieldSpec("word", "category", capacity=65_536),)),
    ):
        check_size(spec)


async def test_it_is_told_over_http(client: httpx.AsyncClient) -> None:
    """In proportion to the streams; nothing is created."""
    answers = [await client.post("/v1/size", json={"spec": SPECS["real"], "streams": n}) for n in (1, 1000)]
    one, many = (answer.json() for answer in answers)
    assert many["streams_bytes"] == 1000 * one["streams_bytes"] == 1000 * one["stream_bytes"]
    assert one["stream_bytes"] == one["belief_bytes"] + one["kept_replies"] * one["reply_bytes"] + one["key_bytes"]
    assert [model["name"] for model in (await client.get("/v1/models")).json()["models"]] == ["m"]
    for wrong in ({"spec": SPECS["real"], "streams": 0}, {"streams": 1}, {"spec": {"fields": []}}):
        assert code(await client.post("/v1/size", json=wrong)) == "invalid_spec"


def test_the_command_tells_it(tmp_path: Path) -> None:
    """From a file as from names; as a table, and as JSON."""
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"fields": [{"name": "a"}, {"name": "word", "kind": "category", "capacity": 50}]}))
    run = CliRunner().invoke
    of_file = run(main, ["size", str(file), "--streams", "1000", "--json"])
    of_names = run(main, ["size", "--fields", "a", "--category", "word=50", "--streams", "1000", "--json"])
    assert of_file.exit_code == 0
    assert json.loads(of_file.output) == json.loads(of_names.output)
    assert json.loads(of_file.output)["streams"] == 1000
    table = run(main, ["size", str(file), "--streams", "1000"]).output
    assert in_words(json.loads(of_file.output)["streams_bytes"]) in table


@pytest.mark.parametrize(
    "arguments", [[], ["--fields", "a", "FILE"], ["--category", "word"], ["--category", "word=1"], ["FILE"]]
)
def test_a_spec_that_is_none_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    """The exit status is 2, and the line says what is wrong."""
    file = tmp_path / "spec.json"
    file.write_text('{"fields": 1}')
    result = CliRunner().invoke(main, ["size", *(str(file) if a == "FILE" else a for a in arguments)])
    assert result.exit_code == 2
    assert result.stderr.splitlines()
    assert "Traceback" not in result.stderr


def test_bytes_in_words() -> None:
    """The largest unit of which there is one."""
    assert [in_words(n) for n in (0, 1023, 1024, 5 * 2**30, 2**52)] == [
        "0 bytes", "1023 bytes", "1.0 kB", "5.0 GB", "4096.0 TB",
    ]  # fmt: skip
