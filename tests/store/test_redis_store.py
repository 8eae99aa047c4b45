"""The store as a whole: models, and what becomes of calls when the server is away."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import redis

from service.errors import LeaseLost, StoreUnavailable, TakenOver
from service.store import BeliefChange, KeptSnapshot, Store
from service.store.embedded import EmbeddedServer
from tests.builders import reply_of
from tests.local_cluster import free_ports
from tests.stored import stored_weights

PATIENCE_S = 10.0
CHANGE = BeliefChange("site-7", 1, b"belief", b"reply")


async def test_a_model_is_created_once(store: Store) -> None:
    """The first record stays until it is replaced; who comes later is given the one that is there."""
    assert await store.model("boiler") is None
    assert await store.create_model("boiler", b"one") is None
    assert await store.create_model("boiler", b"two") == b"one"
    await store.replace_model("boiler", b"one", b"three")
    assert await store.model("boiler") == b"three"
    assert await store.models() == {"boiler": b"three"}


async def test_only_a_record_that_is_known_is_replaced(store: Store) -> None:
    """A replacement that comes after another one, or after the model's deletion, changes nothing."""
    await store.create_model("boiler", b"one")
    await store.replace_model("boiler", b"one", b"two")
    with pytest.raises(StoreUnavailable):
        await store.replace_model("boiler", b"one", b"three")
    assert await store.model("boiler") == b"two"
    await store.delete_model("boiler")
    with pytest.raises(StoreUnavailable):
        await store.replace_model("boiler", b"two", b"three")
    assert await store.models() == {}


async def test_only_what_is_unfinished_is_discarded(store: Store) -> None:
    """A model whose record is another by now stays, and so does one that another living instance is at."""
    await store.create_model("boiler", b"one")
    await store.discard_model("boiler", b"another")
    assert await store.model("boiler") == b"one"
    at_it = Store(store._client, kept_replies=4)
    await at_it.instance.renew()
    await at_it.partition("boiler").acquire()
    with pytest.raises(TakenOver):
        await store.discard_model("boiler", b"one")
    await at_it.instance.end()
    await store.discard_model("boiler", b"one")
    assert await store.models() == {}


async def test_one_of_many_creates_a_model(store: Store) -> None:
    """Of creations at the same time one wins, and all others are given its record."""
    records = [b"%d" % i for i in range(20)]
    answers = await asyncio.gather(*(store.create_model("boiler", record) for record in records))
    winner = await store.model("boiler")
    assert [answer for answer in answers if answer is not None] == [winner] * 19


async def test_a_deleted_model_leaves_nothing(store: Store, raw: redis.Redis) -> None:
    """Deleting a model takes its streams, weights, log and lease, and nothing of another model."""
    for model in ("boiler", "pump"):
        await store.create_model(model, b"record")
        owner = store.partition(model)
        await owner.acquire()
        await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
        await owner.save_weights(1, b"weights")
        await owner.commit([], version=2, redo=[b"redo"], ttl_s=None)
        await owner.save_weights(2, b"weights")
        await owner.keep_snapshot(KeptSnapshot("1", None, 2, 7, 0), b"weights", at_most=1)
    others = {key for key in raw.scan_iter() if b"pump" in key}
    assert len(others) == len(set(raw.scan_iter()) - others) - 1  # without the models' own key
    assert await store.delete_model("boiler")
    assert not await store.delete_model("boiler")
    assert set(raw.scan_iter()) == others | {b"stepahead:models"}
    assert await store.models() == {"pump": b"record"}


async def test_the_owner_of_a_deleted_model_cannot_write(store: Store, raw: redis.Redis) -> None:
    """An owner that does not know of the deletion leaves nothing behind for the next model of that name."""
    await store.create_model("boiler", b"record")
    owner = store.partition("boiler")
    await owner.acquire()
    await store.delete_model("boiler")
    with pytest.raises(LeaseLost):
        await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
    assert list(raw.scan_iter()) == []


async def test_a_cancelled_call_does_not_mix_up_the_next(store: Store) -> None:
    """After a caller went away in the middle of a call, other calls get their own answers."""
    await store.create_model("boiler", b"record")
    for n_turns in range(12):
        call = asyncio.create_task(store.models())
        for _ in range(n_turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert await store.model("boiler") == b"record"


async def test_more_calls_than_connections_wait_their_turn(store: Store) -> None:
    """Calls past the bound on connections are answered all the same."""
    await asyncio.gather(*(store.ping() for _ in range(500)))


async def test_what_the_server_refuses_is_unavailable(store: Store, raw: redis.Redis) -> None:
    """An answer that the store cannot give is a named error without the server's words in it."""
    raw.set("stepahead:models", "not a hash")
    with pytest.raises(StoreUnavailable) as refused:
        await store.models()
    assert refused.value.message == "the store refused"


@pytest.mark.parametrize("server", ["valkey", "redis"], indirect=True)
async def test_a_single_server_is_reached_by_tcp(store: Store, raw: redis.Redis) -> None:
    """By host and port the same server is found to be no cluster, and holds the same."""
    await store.create_model("boiler", b"record")
    (port,) = free_ports(1)
    raw.config_set("port", port)
    by_tcp = await Store.connect(f"redis://127.0.0.1:{port}", timeout_s=5.0, kept_replies=4)
    try:
        assert await by_tcp.models() == {"boiler": b"record"}
        owner = by_tcp.partition("boiler")
        await owner.acquire()
        await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
        assert [stream.belief for stream in await owner.load(["site-7"]) if stream] == [b"belief"]
    finally:
        await by_tcp.close()
        raw.config_set("port", 0)


async def test_no_server_at_the_start(tmp_path: Path) -> None:
    """Connecting to a server that is not there fails with a named error."""
    with pytest.raises(StoreUnavailable, match="out of reach"):
        await Store.connect(f"unix://{tmp_path}/nobody", timeout_s=1.0, kept_replies=1)


@pytest.mark.parametrize(("url", "kept_replies"), [("http://localhost", 1), ("redis://localhost", 0)])
async def test_a_bad_argument_is_named(url: str, kept_replies: int) -> None:
    """A URL that is none of a store, and a ring without room, are bad arguments."""
    with pytest.raises(ValueError, match=r"Redis URL|kept_replies"):
        await Store.connect(url, timeout_s=1.0, kept_replies=kept_replies)


async def test_the_store_works_again_once_the_server_is_back(tmp_path: Path) -> None:
    """Calls fail with a named error while the server is down, and work by themselves when it is back."""
    server = EmbeddedServer(tmp_path)
    store = await Store.connect(await server.start(), timeout_s=0.5, kept_replies=4)
    try:
        owner = store.partition("boiler")
        await owner.acquire()
        await asyncio.gather(*(store.ping() for _ in range(10)))  # so that several connections break
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            for call in (store.ping(), owner.load(["a"]), owner.commit([CHANGE], version=0, redo=[], ttl_s=None)):
                with pytest.raises(StoreUnavailable):
                    await call
        await server.start()
        await owner.commit([CHANGE], version=0, redo=[], ttl_s=None)
        assert await reply_of(owner, "site-7", 1) == b"reply"
    finally:
        await store.close()
        await server.stop()


async def test_a_read_waits_out_a_restart(tmp_path: Path) -> None:
    """While the server is away for less than the deadline a read takes longer, and does not fail."""
    server = EmbeddedServer(tmp_path)
    store = await Store.connect(await server.start(), timeout_s=PATIENCE_S, kept_replies=4)
    try:
        owner = store.partition("boiler")
        await owner.acquire()
        await server.stop()
        reading = [asyncio.create_task(store.partition("boiler").load(["a"])), asyncio.create_task(owner.acquire())]
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert not any(task.done() for task in reading)
        await server.start()
        await asyncio.gather(*reading)
    finally:
        await store.close()
        await server.stop()


async def test_a_commit_in_doubt_is_done_once_at_most(tmp_path: Path) -> None:
    """A server that hangs makes the call fail in time, and what it does later can be neither doubled nor missed."""
    server = EmbeddedServer(tmp_path)
    store = await Store.connect(await server.start(), timeout_s=0.3, kept_replies=4)
    assert server.pid is not None
    try:
        owner = store.partition("boiler")
        await owner.acquire()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(StoreUnavailable, match="in time"):
                    await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await owner.acquire()
        if (await stored_weights(owner))[2]:
            with pytest.raises(LeaseLost):
                await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
        else:
            await owner.commit([CHANGE], version=1, redo=[b"redo"], ttl_s=None)
        assert await stored_weights(owner) == (0, None, [(1, b"redo")])
        assert await reply_of(owner, "site-7", 1) == b"reply"
    finally:
        await store.close()
        await server.stop()
