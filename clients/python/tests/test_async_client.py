"""The asynchronous client against the real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from stepahead import AsyncClient, AsyncModel, InvalidItem, NoAnswer, Reply, UnknownStream

HIDDEN = 8
N_SHARED, N_ROUNDS = 20, 6


@pytest.fixture
async def client(service_url: str) -> AsyncIterator[AsyncClient]:
    """A client of the service."""
    async with AsyncClient(service_url) as client:
        yield client


@pytest.fixture
async def model(client: AsyncClient, name: str) -> AsyncIterator[AsyncModel]:
    """A small model."""
    yield await client.create_model(name, {"x": "real"}, hidden=HIDDEN)
    await client.delete_model(name)


async def test_every_call_of_the_sibling_is_here(client: AsyncClient, model: AsyncModel) -> None:
    """Each is the same call, awaited."""
    assert await client.health() == {"status": "ready"}
    assert model.name in [info.name for info in await client.models()]
    assert (await client.update_model(model.name, ttl_s=100)).spec["ttl_s"] == 100
    assert (await model.info()).name == model.name
    stream = model.stream("s")
    assert (await stream.observe(x=1.0)).sequence == 1
    assert (await stream.summary()).sequence == 1
    assert (await stream.belief()).sequence == 1
    assert (await stream.predict(2)).steps[1].sequence == 3
    assert [s.stream async for s in model.streams()] == ["s"]
    await stream.delete()
    with pytest.raises(UnknownStream):
        await stream.summary()


async def test_items_of_concurrent_calls_leave_in_order(model: AsyncModel) -> None:
    """Nobody needs to wait for a reply before the next call."""
    stream = model.stream("s")
    replies = await asyncio.gather(*(stream.observe(x=float(i)) for i in range(10)))
    assert [r.sequence for r in replies] == list(range(1, 11))


@pytest.mark.parametrize("many", [False, True])
async def test_clients_share_streams(service_url: str, model: AsyncModel, many: bool, assert_shared: Any) -> None:
    """Every item of every client is applied once, in its order, and gets its own reply."""
    rows = [(f"s{k}", {"x": float(i)}) for i in range(N_ROUNDS) for k in range(N_SHARED)]

    async def feed() -> list[Reply]:
        async with AsyncClient(service_url) as own:
            shared = own.model(model.name)
            if many:
                return [reply async for reply in shared.observe_many(rows)]
            return await asyncio.gather(*(shared.stream(stream).observe(item) for stream, item in rows))

    assert_shared(await asyncio.gather(feed(), feed()), rows)
    assert {s.sequence async for s in model.streams()} == {2 * N_ROUNDS}


async def test_slow_source_gets_its_replies_at_once(model: AsyncModel) -> None:
    """A row whose successor waits for its reply is not held back."""
    replied = asyncio.Event()

    async def rows() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        for i in range(3):
            replied.clear()
            yield "s", {"x": float(i)}
            await replied.wait()

    sequences = []
    async with aclosing(model.observe_many(rows())) as replies:
        async for reply in replies:
            sequences.append(reply.sequence)
            replied.set()
    assert sequences == [1, 2, 3]


async def test_rows_may_be_synchronous(model: AsyncModel) -> None:
    """Any iterable does, and replies keep its order over many requests."""
    rows = [(f"s{i % 2}", {"x": float(i)}) for i in range(100)]
    replies = [r async for r in model.observe_many(rows, chunk=16)]
    assert [(r.stream, r.sequence) for r in replies] == [(f"s{i % 2}", i // 2 + 1) for i in range(100)]


async def test_error_of_the_source_comes_after_the_replies_before_it(model: AsyncModel) -> None:
    """No row that was given is lost."""

    async def rows() -> AsyncIterator[tuple[str, dict[str, Any]]]:
        yield "s", {"x": 1.0}
        raise OSError("the sensor fell off")

    replies = model.observe_many(rows())
    assert (await anext(replies)).sequence == 1
    with pytest.raises(OSError, match="sensor"):
        await anext(replies)


async def test_replies_can_be_left_early(model: AsyncModel) -> None:
    """The task that reads the rows ends with them."""
    n_tasks = len(asyncio.all_tasks())
    async with aclosing(model.observe_many([("s", {"x": float(i)}) for i in range(1000)], chunk=4)) as replies:
        async for _ in replies:
            break
    assert len(asyncio.all_tasks()) == n_tasks


async def test_bad_rows_are_yielded_in_their_place(model: AsyncModel) -> None:
    """The others of the stream are applied without a gap."""
    rows = [("s", {"x": x}) for x in (1.0, "warm", 2.0)]
    replies = [r async for r in model.observe_many(rows, errors="yield")]
    assert [r.sequence if isinstance(r, Reply) else type(r) for r in replies] == [1, InvalidItem, 2]


async def test_lost_answers_are_harmless(
    faulty_async_client: Callable[..., Any], faults: Any, model: AsyncModel
) -> None:
    """Every item is applied once, in order."""
    client = await faulty_async_client(faults(lose_answer={1, 3}, lose_request={2}, refuse={5}))
    replies = [r async for r in client.model(model.name).observe_many([("s", {"x": float(i)}) for i in range(150)])]
    assert [r.sequence for r in replies] == list(range(1, 151))
    assert (await model.stream("s").summary()).sequence == 150


async def test_nobody_there_is_a_typed_error() -> None:
    """A refused connection names the address."""
    async with AsyncClient("http://127.0.0.1:1", retries=0) as client:
        with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1"):
            await client.health()
