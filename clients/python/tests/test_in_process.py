"""The asynchronous client on the application itself, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from service.app import create_app
from service.settings import Settings

from stepahead import AsyncClient, AsyncModel, Snapshot, UnknownSnapshot, UnknownStream

HIDDEN = 8


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A client of an application of its own."""
    app = create_app(Settings(data_dir=tmp_path / "data", log_level="error"))
    async with app.router.lifespan_context(app), AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield client


@pytest.fixture
async def model(client: AsyncClient) -> AsyncModel:
    """A model with a stream of three items."""
    model = await client.create_model("m", {"x": "real"}, hidden=HIDDEN)
    for i in range(3):
        await model.stream("a").observe(x=float(i))
    return model


async def test_every_call_works_without_a_socket(client: AsyncClient, model: AsyncModel, tmp_path: Path) -> None:
    """Forks, snapshots, archives and all; a file leaves and comes in pieces."""
    await client.wait_until_ready()
    a = model.stream("a")
    fork = await a.fork("b")
    assert (await fork.observe(x=1.0)).sequence == 4
    kept = await fork.snapshot("then")
    await fork.observe(x=2.0)
    assert await fork.snapshots() == [kept]
    assert (await fork.restore(kept)).sequence == 4
    assert (await fork.observe(x=3.0)).sequence == 5
    await fork.delete_snapshot(kept)
    with pytest.raises(UnknownSnapshot):
        await fork.restore(kept.id)

    weights = await model.snapshot()
    assert isinstance(weights, Snapshot)
    assert await model.snapshots() == [weights]
    assert (await model.restore(weights)).spec["hidden"] == HIDDEN
    await model.delete_snapshot(weights)

    file = await model.export(tmp_path / "m.safetensors", streams=True)
    other = await client.import_model("n", file)
    assert (await other.stream("b").observe(x=1.0)).sequence == 6
    c = await other.import_stream("c", await a.export())
    assert (await c.observe(x=1.0)).sequence == 4
    saved = await a.export(tmp_path / "a.safetensors")
    assert (await (await other.import_stream("d", saved)).summary()).sequence == 3
    assert (await client.import_model("o", await model.export())).name == "o"

    assert await model.sequences(["b", "nobody", "a"]) == {"b": 5, "nobody": 0, "a": 3}
    assert [entry.sequence for entry in await a.history(2)] == [2, 3]

    assert (await client.size({"x": "real"}, 10, hidden=HIDDEN)).streams == 10
    assert (await other.update(ttl_s=100)).spec["ttl_s"] == 100
    await other.delete()
    assert [info.name for info in await client.models()] == ["m", "o"]
    with pytest.raises(UnknownStream):
        await model.stream("nobody").export()


async def test_events_without_a_socket_are_refused(model: AsyncModel) -> None:
    """Their answer has no end, and this transport gives none before it."""
    with pytest.raises(ValueError, match="ASGITransport"):
        model.events()
