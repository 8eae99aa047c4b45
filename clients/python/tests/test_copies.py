"""Forks, snapshots, archives and sizes, against the real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepahead import (
    BodyTooLarge,
    Client,
    InvalidArchive,
    InvalidSpec,
    Model,
    ModelExists,
    NoAnswer,
    Stream,
    StreamExists,
    UnknownModel,
    UnknownSnapshot,
    UnknownStream,
)

HIDDEN = 8


@pytest.fixture
def model(client: Client, name: str) -> Iterator[Model]:
    """A small model."""
    model = client.create_model(name, {"x": "real"}, hidden=HIDDEN)
    yield model
    model.delete()


def fed(stream: Stream, n: int = 3) -> Stream:
    """A stream with items."""
    for i in range(n):
        stream.observe(x=float(i % 2))
    return stream


def test_fork_goes_on_from_its_stream(model: Model) -> None:
    """The client numbers both, and what it knew of a name before is forgotten."""
    stream = fed(model.stream("a"))
    fed(model.stream("b"), 5).delete()
    fork = stream.fork("b")
    assert repr(fork) == f"Stream({model.name!r}, 'b')"
    assert fork.predict().steps == stream.predict().steps
    assert [fork.observe(x=1.0).sequence, stream.observe(x=0.0).sequence, fork.observe(x=0.0).sequence] == [4, 4, 5]
    with pytest.raises(StreamExists) as caught:
        stream.fork("b")
    assert not caught.value.outcome_unknown
    with pytest.raises(UnknownStream):
        model.stream("nobody").fork("c")


def test_stream_goes_back_to_a_snapshot(model: Model) -> None:
    """Its sequence too, which the client numbers on without asking in vain."""
    stream = fed(model.stream("a"))
    kept = stream.snapshot("before")
    then = stream.predict()
    fed(stream)
    later = stream.snapshot()
    assert stream.snapshots() == [later, kept]
    assert (kept.name, kept.sequence, later.name, later.sequence) == ("before", 3, None, 6)
    assert kept.created_at is not None
    assert kept.bytes
    assert stream.restore(kept).sequence == 3
    assert stream.predict().sequence == then.sequence == 4
    reply = stream.observe(x=1.0)
    assert (reply.sequence, reply.duplicate) == (4, False)
    stream.restore(later.id)
    assert stream.observe(x=1.0).sequence == 7
    stream.delete_snapshot(kept)
    assert stream.snapshots() == [later]
    with pytest.raises(UnknownSnapshot):
        stream.restore(kept)


def test_model_goes_back_to_a_snapshot(model: Model) -> None:
    """Its weights; streams stay where they are."""
    stream = fed(model.stream("a"))
    kept = model.snapshot("good")
    fed(stream)
    assert model.snapshots() == [kept]
    assert kept.weights_version == 2  # the first item only shows what there is to learn from the next
    assert model.restore(kept).name == model.name
    assert stream.observe(x=1.0).sequence == 7
    model.delete_snapshot(kept)
    assert model.snapshots() == []


@pytest.mark.parametrize("in_file", [False, True])
def test_model_goes_on_elsewhere(client: Client, model: Model, name: str, tmp_path: Path, in_file: bool) -> None:
    """To the bit, with its streams, out of memory as out of a file; a file is there once it is whole."""
    stream = fed(model.stream("a"))
    archive: Any = model.export(tmp_path / "m.safetensors", streams=True) if in_file else model.export(streams=True)
    assert [path.name for path in tmp_path.iterdir()] == (["m.safetensors"] if in_file else [])
    other = client.import_model(f"{name}.2", archive)
    assert other.stream("a").observe(x=1.0).prediction == stream.observe(x=1.0).prediction
    with pytest.raises(ModelExists):
        client.import_model(f"{name}.2", archive)
    assert other.info().created_at is not None
    other.delete()
    assert [s.stream for s in client.import_model(f"{name}.2", model.export()).streams()] == []
    client.delete_model(f"{name}.2")


def test_stream_goes_on_elsewhere(model: Model, tmp_path: Path) -> None:
    """Under another name, numbered on from where it was."""
    stream = fed(model.stream("a"))
    fed(model.stream("b"), 1).delete()
    other = model.import_stream("b", stream.export())
    assert other.observe(x=1.0).sequence == 4
    file = stream.export(str(tmp_path / "s.safetensors"))
    assert file.stat().st_size == len(stream.export())
    assert model.import_stream("c", file).summary().sequence == 3
    with pytest.raises(StreamExists):
        model.import_stream("c", file)


def test_export_that_fails_leaves_what_was_there(model: Model, tmp_path: Path) -> None:
    """And nothing beside it."""
    file = tmp_path / "s.safetensors"
    file.write_bytes(b"old")
    with pytest.raises(UnknownStream):
        model.stream("nobody").export(file)

    def breaks_off(request: httpx.Request) -> httpx.Response:
        def content() -> Iterator[bytes]:
            yield b"new"
            raise httpx.ReadError("broken", request=request)

        return httpx.Response(200, content=content())

    with Client(transport=httpx.MockTransport(breaks_off), retries=0) as client, pytest.raises(NoAnswer):
        client.model("m").export(file)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("s.safetensors", b"old")]


def test_what_is_no_archive_is_refused(client: Client, model: Model, name: str, tmp_path: Path) -> None:
    """By the service; and what is not there or too large, before it is sent in vain."""
    for archive in (b"nonsense", model.export()):
        with pytest.raises(InvalidArchive):
            model.import_stream("a", archive)
    with pytest.raises(FileNotFoundError):
        client.import_model(f"{name}.2", tmp_path / "nowhere")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(257 * 2**20)
    with pytest.raises(BodyTooLarge):
        client.import_model(f"{name}.2", tmp_path / "large")


def test_lost_answers_to_copies(faulty_client: Callable[..., Client], faults: Any, model: Model) -> None:
    """What was created by an attempt whose answer was lost is told from what was there; a deletion is done."""
    fed(model.stream("a"))
    own = faulty_client(faults("fork", lose_answer={1})).model(model.name)
    with pytest.raises(StreamExists) as caught:
        own.stream("a").fork("b")
    assert caught.value.outcome_unknown
    assert own.stream("b").observe(x=1.0).sequence == 4
    kept = own.stream("a").snapshot()
    own = faulty_client(faults(f"/{kept.id}", lose_answer={1})).model(model.name)
    own.stream("a").delete_snapshot(kept)
    assert model.stream("a").snapshots() == []


def test_size_is_told_beforehand(client: Client) -> None:
    """Of any number of streams, without a model."""
    one, many = client.size({"x": "real"}, hidden=HIDDEN), client.size({"x": "real"}, 1000, hidden=HIDDEN)
    assert (one.streams, many.streams) == (1, 1000)
    assert many.stream_bytes == one.stream_bytes
    assert many.streams_bytes == 1000 * many.stream_bytes
    assert many.store_bytes > many.streams_bytes
    with pytest.raises(InvalidSpec):
        client.size({"x": "real"}, hidden=0)


def test_sequences_tell_where_streams_stand(client: Client, model: Model) -> None:
    """Any number of them, and 0 for one that is not there."""
    fed(model.stream("a"))
    fed(model.stream("ä b"), 1)
    assert model.sequences(["ä b", "nobody", "a"]) == {"ä b": 1, "nobody": 0, "a": 3}
    with pytest.raises(UnknownModel):
        client.model("nobody").sequences(["a"])


def test_model_is_changed_and_deleted_by_its_handle(client: Client, name: str) -> None:
    """As by the client."""
    model = client.create_model(name, {"x": "real"}, hidden=HIDDEN)
    assert model.update(ttl_s=100).spec["ttl_s"] == 100
    model.delete()
    with pytest.raises(UnknownModel):
        model.info()
