"""Names, records, and how they are read."""

from __future__ import annotations

import inspect
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import stepahead
from stepahead import AsyncClient, AsyncEvents, AsyncModel, AsyncStream, Client, Events, Model, Size, Stream
from stepahead import _wire as wire
from stepahead.types.record import Record

PREDICTION = {
    "sequence": 18,
    "weights_version": 812,
    "fields": {
        "load": {
            "mean": 3.1,
            "std": 0.5,
            "quantiles": {"0.05": 2.3, "0.5": 3.1, "0.95": 4.0},
            "degrees_of_freedom": 4,
            "experts": {"network": {"mean": 3.0, "weight": 1.0}},
        },
        "state": {
            "top": "idle",
            "probabilities": {"idle": 0.9, "busy": 0.1},
            "experts": {"network": {"weight": 1.0, "top": "idle", "probabilities": {"idle": 1.0}}},
        },
    },
}
SCORE = {
    "nll": 1.31,
    "anomaly": 0.12,
    "drift": {"drifting": True, "level": 1.0, "fields": ["load"], "count": 1, "since": 3, "last": 3},
    "fields": {"load": {"error": 0.4, "crps": 0.21, "covered": True}, "state": {"nll": 0.22, "rank": 1}},
}
REPLY = {"stream": "s", "sequence": 17, "duplicate": False, "score": SCORE, "prediction": PREDICTION}
ENTRY = {
    "sequence": 17,
    "item": {"load": 3.2, "state": None},
    "timestamp": "2026-01-01T10:00:00.25Z",
    "prediction": {**PREDICTION, "sequence": 17},
    "score": SCORE,
}
AT = datetime(2026, 1, 1, 10, 0, 0, 250_000, tzinfo=timezone.utc)


def test_public_names() -> None:
    """Nothing comes or goes by accident; every name is there, and says what it is."""
    assert stepahead.__all__ == sorted(stepahead.__all__)
    errors = {name for name in stepahead.__all__ if issubclass(getattr(stepahead, name), Exception)}
    assert len(errors) == 34
    assert set(stepahead.__all__) - errors == {
        *("AsyncClient", "AsyncEvents", "AsyncModel", "AsyncStream", "Client", "Events", "Model", "Stream"),
        *("Belief", "Event", "Forecast", "HistoryEntry", "Missed", "ModelInfo", "Prediction", "Reply", "Score"),
        *("CategoryExpert", "CategoryPrediction", "CategoryScore", "RealExpert", "RealPrediction", "RealScore"),
        *("Drift", "FieldSummary", "Size", "Snapshot", "StreamSummary"),
    }
    assert all(inspect.getdoc(getattr(stepahead, name)) for name in stepahead.__all__)
    assert (Path(stepahead.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    ("one", "other"), [(Client, AsyncClient), (Model, AsyncModel), (Stream, AsyncStream), (Events, AsyncEvents)]
)
def test_siblings_have_the_same_calls(one: type, other: type) -> None:
    """With the same arguments and defaults, each with a docstring; only ``close`` has its usual other name."""

    def calls(cls: type) -> dict[str, Any]:
        return {
            name.replace("aclose", "close"): [
                (p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()
            ]
            for name, f in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_") and inspect.getdoc(f)
        }

    assert calls(one) == calls(other)
    assert len(calls(one)) == len([name for name, _ in inspect.getmembers(one, inspect.isfunction) if name[0] != "_"])


def test_handles_say_what_they_are() -> None:
    """Where they lead, and neither key nor password."""
    with Client("http://user:password@host:1/base", api_key="secret") as client:
        stream = client.model("boiler").stream("site-7")
        assert repr(client) == "Client('http://host:1/base')"
        assert (repr(client.model("boiler")), repr(stream)) == ("Model('boiler')", "Stream('boiler', 'site-7')")


def test_records_become_json_and_back() -> None:
    """``to_dict`` is in the contract's form: what is read from it is the same record."""
    reply = wire.reply(REPLY)
    assert wire.reply(json.loads(json.dumps(reply.to_dict()))) == reply
    assert reply.to_dict()["prediction"]["fields"]["load"]["quantiles"] == {"0.05": 2.3, "0.5": 3.1, "0.95": 4.0}
    event = wire.event({**REPLY, "item": {"load": 1.0}, "timestamp": "2026-01-01T10:00:00Z"}, "b-1")
    assert event.to_dict()["timestamp"] == "2026-01-01T10:00:00+00:00"
    assert wire.event(event.to_dict(), "b-1") == event
    assert wire.history({"items": [entry.to_dict() for entry in wire.history({"items": [ENTRY]})]})[0].timestamp == AT
    assert stepahead.Belief({"hidden": [[1.0]]}).to_dict() == {"hidden": [[1.0]]}


def test_every_record_is_frozen() -> None:
    """And has neither a dictionary nor a name that the service's JSON lacks a word for."""
    records = [c for c in vars(stepahead).values() if isinstance(c, type) and issubclass(c, Record)]
    assert len(records) == 20
    for cls in records:
        assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert "__slots__" in vars(cls)


def test_history_is_read() -> None:
    """An entry may lack its prediction, its score and its time."""
    bare = {"sequence": 1, "item": {"load": 1.0}, "timestamp": None, "prediction": None, "score": None}
    first, second = wire.history({"stream": "s", "sequence": 17, "items": [bare, {**ENTRY, "new_key": 1}]})
    assert (first.sequence, first.item, first.timestamp, first.prediction, first.score) == (
        1,
        {"load": 1.0},
        *[None] * 3,
    )
    assert (second.item, second.timestamp) == ({"load": 3.2, "state": None}, AT)
    assert second.prediction is not None
    assert second.score is not None
    assert (second.prediction.real("load").mean, second.score["load"].error) == (3.1, 0.4)


def test_event_is_a_reply() -> None:
    """Whatever takes a reply takes it."""
    event = wire.event({**REPLY, "item": {"load": 1.0}}, None)
    assert isinstance(event, stepahead.Reply)
    assert (event.item, event.timestamp, event.score) == ({"load": 1.0}, None, wire.reply(REPLY).score)


def test_damaged_snapshot_and_size_of_an_older_server_are_read() -> None:
    """What is not said is ``None``."""
    snapshot = wire.snapshot({"id": "1", "name": None, "sequence": None, "created_at": None, "bytes": 7})
    assert (snapshot.id, snapshot.bytes, snapshot.weights_version) == ("1", 7, None)
    assert wire.size({"streams": 2, "store_bytes": 5, "memory_bytes": 6}) == Size(2, 5, 6)


@pytest.mark.parametrize(("text", "microsecond"), [("Z", 0), (".5Z", 500_000), (".123456789+00:00", 123_456)])
def test_any_number_of_decimals_is_read(text: str, microsecond: int) -> None:
    """On every Python."""
    entry = wire.history({"items": [{**ENTRY, "timestamp": f"2026-01-01T10:00:00{text}"}]})[0]
    assert entry.timestamp == AT.replace(microsecond=microsecond)
