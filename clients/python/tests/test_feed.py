"""``observe_many`` over connections that break, are refused, or are shared: against the real service."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, closing, contextmanager
from typing import Any

import httpx
import pytest
from benchmarks.chaos.proxy import Proxy
from benchmarks.cuts import WAYS, Way, cut, proxied, refer, rows_of
from clients.python.tests.model_server import ModelServer
from websockets.sync.server import ServerConnection, serve

from stepahead import (
    AsyncClient,
    BadAnswer,
    Client,
    InvalidItem,
    Model,
    NoAnswer,
    Reply,
    SequenceGap,
    UnknownModel,
    _afeed,
    _feed,
    _ways,
)
from stepahead._core import SOLE_AFTER, Core, RetryPolicy

N_CUT_ITEMS, N_CUTS, N_CUT_STREAMS = 2_000, 10, 40
AT_ONCE = RetryPolicy(retries=5, base_s=0.0)
VIAS: list[Any] = ["websocket", "ndjson", "requests"]
PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"


@pytest.fixture
def model(client: Client, name: str) -> Iterator[Model]:
    """A small model that nobody else feeds."""
    for _ in range(SOLE_AFTER):
        client._core.count_undisputed(name)
    yield client.create_model(name, {"x": "real"}, hidden=8)
    client.delete_model(name)


@pytest.fixture(scope="module")
def reference(service_url: str) -> Iterator[tuple[Model, list[Any]]]:
    """A model that was fed without cuts, and what it was fed."""
    rows = rows_of(N_CUT_ITEMS, N_CUT_STREAMS, random.Random(0))
    with Client(service_url) as client:
        yield refer(client, "cut-reference", rows), rows


@contextmanager
def socket_server(handle: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A WebSocket server of the test's own."""
    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def ending_after_one_frame(server: ModelServer) -> Callable[[ServerConnection], None]:
    """Every connection is ended with its first answer."""
    lock = threading.Lock()

    def handle(connection: ServerConnection) -> None:
        with lock:
            connection.send(server.answer(str(connection.recv()).encode()).decode())
        connection.close(1012, "draining")

    return handle


@pytest.mark.parametrize("way", WAYS)
def test_cuts_change_nothing(service_url: str, reference: tuple[Model, list[Any]], way: Way) -> None:
    """Every row has its own reply in its place, and every belief is that of a run without cuts, to the bit."""
    model, rows = reference
    outcome = cut(service_url, way, rows, model, N_CUTS, f"short/{way}")
    assert outcome.is_exact, outcome
    assert outcome.cuts
    assert outcome.items == N_CUT_ITEMS


@pytest.mark.parametrize("via", VIAS)
def test_each_way_gives_the_same(service_url: str, model: Model, via: Any) -> None:
    """Replies in order, refused rows in their place, with experts on request."""
    rows = [(f"s{i % 3}", {"x": "warm" if i == 100 else float(i)}) for i in range(300)]
    outcomes = list(model.observe_many(rows, errors="yield", via=via, chunk=50))
    assert isinstance(outcomes[100], InvalidItem)
    assert [o.sequence for o in outcomes[:100] if isinstance(o, Reply)] == [i // 3 + 1 for i in range(100)]
    assert {s.stream: s.sequence for s in model.streams()} == {"s0": 100, "s1": 99, "s2": 100}
    (told,) = model.stream("s0").observe_many([{"x": 1.0}], via=via, experts=True)
    assert told.prediction.real("x").experts
    with pytest.raises(InvalidItem):
        list(model.observe_many(rows, via=via))
    with Client(service_url) as other, pytest.raises(UnknownModel):
        list(other.model("nowhere").observe_many(rows, via=via))


def test_slow_source_gets_its_replies_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that takes longer than the service is asked for a row once those before are answered, whatever broke."""
    server, late_s, n_replies = ModelServer(), 0.0, 0
    monkeypatch.setattr(_feed, "_clock", lambda: time.monotonic() + late_s)
    seen = []

    def rows() -> Iterator[dict[str, float]]:
        nonlocal late_s
        for i in range(5):
            seen.append(n_replies)
            late_s += 10  # as if it had taken so long
            yield {"x": float(i)}

    with socket_server(ending_after_one_frame(server)) as url, Client(url) as client:
        client._core.policy = AT_ONCE
        for _ in client.model("m").stream("s").observe_many(rows()):
            n_replies += 1
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("via", VIAS)
def test_stream_can_be_observed_in_the_loop_that_feeds_it(model: Model, via: Any) -> None:
    """Its turn is given between two rows; nobody waits for ever, and every item has its own number."""
    rows = [("s", {"x": float(i)}) for i in range(200)]
    sequences = []
    for i, reply in enumerate(model.observe_many(rows, via=via, chunk=20)):
        sequences.append(reply.sequence)
        if i in {0, 60, 150}:
            sequences.append(model.stream("s").observe(x=0.0).sequence)
            sequences += [r.sequence for r in model.observe_many([("s", {"x": 1.0}), ("t", {"x": 1.0})])][:1]
    assert sorted(sequences) == list(range(1, 207))
    assert model.stream("t").summary().sequence == 3


async def test_tasks_share_streams(service_url: str, model: Model) -> None:
    """Feeds and single calls of one client take turns, whatever streams they share in whatever order."""
    rows = [(f"s{i % 4}", {"x": float(i)}) for i in range(200)]
    async with AsyncClient(service_url) as client:
        shared = client.model(model.name)

        async def feed(rows: Any) -> list[Reply]:
            return [reply async for reply in shared.observe_many(rows)]

        feeds = [feed(rows), feed(rows[::-1])]
        fed = await asyncio.gather(*feeds, *(shared.stream("s1").observe(x=1.0) for _ in range(10)))
    replies = [r for part in fed for r in (part if isinstance(part, list) else [part])]
    assert len({(r.stream, r.sequence) for r in replies}) == 410
    assert not any(r.duplicate for r in replies)


def test_threads_share_streams(client: Client, model: Model) -> None:
    """As tasks do."""
    rows = [(f"s{i % 4}", {"x": float(i)}) for i in range(200)]
    replies: list[Reply] = []

    def feed(rows: Any) -> None:
        replies.extend(model.observe_many(rows))

    def observe() -> None:
        replies.extend(model.stream("s1").observe(x=1.0) for _ in range(10))

    threads = [threading.Thread(target=f, args=a) for f, a in ((feed, [rows]), (feed, [rows[::-1]]), (observe, []))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(r.stream, r.sequence) for r in replies}) == 410
    assert not any(r.duplicate for r in replies)
    assert client._core.seems_sole(model.name)


@pytest.mark.parametrize("via", VIAS)
def test_feed_can_be_left_early(model: Model, via: Any) -> None:
    """Nothing stays open, and the next item has the number after the last that was applied."""
    with closing(model.observe_many((("s", {"x": float(i)}) for i in itertools.count()), via=via)) as replies:
        assert [next(replies).sequence for _ in range(100)] == list(range(1, 101))
    reply = model.stream("s").observe(x=1.0)
    assert not reply.duplicate
    assert reply.sequence > 100


@pytest.mark.parametrize("via", VIAS)
def test_resumed_rows_are_passed_over(model: Model, via: Any) -> None:
    """A program that was interrupted begins again and goes on exactly; a refused row leaves a gap."""
    rows = [(f"s{i % 3}", {"x": float(i)}) for i in range(150)]
    with closing(model.observe_many(rows, resume=True, via=via)) as replies:
        for _ in range(50):
            next(replies)
    rest = list(model.observe_many(rows, resume=True, via=via))
    assert [(r.stream, r.sequence) for r in rest] == [(f"s{i % 3}", i // 3 + 1) for i in range(150)][150 - len(rest) :]
    assert len(rest) <= 100
    assert {s.sequence for s in model.streams()} == {50}
    outcomes = list(model.observe_many([("t", {"x": x}) for x in ("warm", 1.0)], resume=True, via=via, errors="yield"))
    assert [type(o) for o in outcomes] == [InvalidItem, SequenceGap]


def without_upgrades(url: str, *, answers: bool) -> Any:
    """A proxy that answers every handshake of a WebSocket with a page of its own, or leaves the wish for one out."""

    class Old(Proxy):
        async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if answers and b"upgrade: websocket" in head.lower():
                writer.write(PAGE)
                writer.close()
                return
            reader._buffer[:0] = head.replace(b"Upgrade: websocket\r\n", b"")  # type: ignore[attr-defined]
            await super()._accept(reader, writer)

    return proxied(url, Old)


@pytest.mark.parametrize("answers", [True, False])
def test_requests_where_there_are_no_sockets(service_url: str, model: Model, answers: bool) -> None:
    """A proxy that knows no WebSocket is passed by requests, unless the caller insists."""
    rows = [("s", {"x": float(i)}) for i in range(20)]
    with without_upgrades(service_url, answers=answers) as (front, _, _), Client(front) as client:
        assert [r.sequence for r in client.model(model.name).observe_many(rows)] == list(range(1, 21))
        with pytest.raises(BadAnswer, match="400" if answers else "404"):
            list(client.model(model.name).observe_many(rows, via="websocket"))

        async def feed() -> list[int]:
            async with AsyncClient(front) as client:
                return [r.sequence async for r in client.model(model.name).observe_many(rows)]

        assert asyncio.run(feed()) == list(range(21, 41))


@pytest.mark.parametrize(
    ("proxies", "via"), [({"all_proxy": "http://p"}, "requests"), ({"https_proxy": "http://p"}, "websocket")]
)
def test_requests_where_they_go_through_a_proxy(monkeypatch: Any, proxies: dict[str, str], via: str) -> None:
    """Every variable by which requests take one counts, and those of other schemes do not."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, proxy in proxies.items():
        monkeypatch.setenv(name, proxy)
    with Client("http://far.example") as client:
        options = _ways.Options(errors="raise", chunk=1, experts=False, resume=False, via=None)
        assert _ways._via(client, options) == via


async def test_cancelled_source_ends_an_asynchronous_feed(service_url: str, model: Model) -> None:
    """As any other error of the source does, behind the replies to what it gave."""

    async def rows() -> Any:
        yield "s", {"x": 1.0}
        raise asyncio.CancelledError

    async with AsyncClient(service_url) as client:
        replies = client.model(model.name).observe_many(rows())
        assert (await asyncio.wait_for(anext(replies), 30)).sequence == 1
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(anext(replies), 30)


def test_stream_that_is_deleted_under_its_feed_begins_anew(model: Model) -> None:
    """By the caller, in the very loop: the rows after it are numbered from 1."""
    sequences = []
    for reply in model.observe_many(("s", {"x": float(i)}) for i in range(300)):
        sequences.append(reply.sequence)
        if len(sequences) == 10:
            model.stream("s").delete()
    n_before = sequences.index(1, 1)
    assert sequences == [*range(1, n_before + 1), *range(1, 301 - n_before)]


@pytest.mark.parametrize("via", VIAS)
def test_feed_that_was_left_leaves_nothing_in_doubt(
    monkeypatch: Any, client: Client, service_url: str, model: Model, via: Any
) -> None:
    """What was on its way is answered before the next call, which knows its number and meets no other writer."""
    monkeypatch.setattr(_feed, "LEAVE_S", 30.0)
    monkeypatch.setattr(_afeed, "LEAVE_S", 30.0)
    rows = [("s", {"x": float(i)}) for i in range(300)]

    def next_number(core: Core) -> int | None:
        return core._next.get((model.name, "s"))

    async def leave() -> int | None:
        async with AsyncClient(service_url) as other:
            other._core._undisputed = client._core._undisputed
            async with aclosing(other.model(model.name).observe_many(rows, via=via)) as replies:
                assert (await anext(replies)).sequence == begun + 1
            return next_number(other._core)

    with closing(model.observe_many(rows, via=via)) as replies:
        assert next(replies).sequence == 1
    begun = model.stream("s").summary().sequence
    assert next_number(client._core) == begun + 1
    assert asyncio.run(leave()) == model.stream("s").summary().sequence + 1


async def test_asynchronous_feed_can_be_left_early(service_url: str, model: Model) -> None:
    """Its tasks end with it, and the next item is numbered rightly."""
    async with AsyncClient(service_url) as client:
        shared, n_tasks = client.model(model.name), len(asyncio.all_tasks())
        async with aclosing(shared.observe_many(("s", {"x": float(i)}) for i in itertools.count())) as replies:
            assert (await anext(replies)).sequence == 1
        assert len(asyncio.all_tasks()) == n_tasks
        assert not (await shared.stream("s").observe(x=1.0)).duplicate


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_connection_may_end_after_one_frame(asynchronous: bool) -> None:
    """With its answer, while others are on their way: they leave again over the next connection."""
    server, rows = ModelServer(), [(f"s{i % 3}", {"i": i}) for i in range(60)]

    async def feed(url: str) -> list[Reply]:
        async with AsyncClient(url) as client:
            client._core.policy = AT_ONCE
            return [r async for r in client.model("m").observe_many(rows, chunk=5)]

    with socket_server(ending_after_one_frame(server)) as url:
        if asynchronous:
            replies = asyncio.run(feed(url))
        else:
            with Client(url) as client:
                client._core.policy = AT_ONCE
                replies = list(client.model("m").observe_many(rows, chunk=5))
    assert [(r.stream, r.sequence) for r in replies] == [(f"s{i % 3}", i // 3 + 1) for i in range(60)]
    assert server.items("s0") == [{"i": i} for i in range(0, 60, 3)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_silent_server_is_given_up(asynchronous: bool) -> None:
    """No answer and no sign of life: the error tells which rows may have been applied."""
    timeout, row = httpx.Timeout(30, read=0.1), {"stream": "s", "item": {"x": 1.0}, "sequence": 7}
    ended = threading.Event()

    def feed(url: str) -> None:
        with Client(url, timeout=timeout, retries=0) as client:
            client._core.window = (8, 8)
            list(client.model("m").observe_many([row]))

    async def feed_asynchronously(url: str) -> None:
        async with AsyncClient(url, timeout=timeout, retries=0) as client:
            client._core.window = (8, 8)
            async for _ in client.model("m").observe_many([row]):
                pass

    def handle(_: ServerConnection) -> None:
        ended.wait()

    with socket_server(handle) as url, ExitStack() as at_last:
        at_last.callback(ended.set)
        with pytest.raises(NoAnswer, match="within") as caught:
            asyncio.run(feed_asynchronously(url)) if asynchronous else feed(url)
    assert caught.value.data["in_doubt"] == [{"stream": "s", "sequence": 7}]


@pytest.mark.parametrize("options", [{"via": "post"}, {"errors": "ignore"}, {"chunk": 0}])
def test_bad_options_are_refused_at_once(model: Model, options: Any) -> None:
    """Before anything is sent, and before the first reply is asked for."""
    with pytest.raises(ValueError, match=next(iter(options))):
        model.observe_many([], **options)
