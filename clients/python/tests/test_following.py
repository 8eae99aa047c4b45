"""History and events, against the real service over connections that are cut."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest

from stepahead import AsyncClient, Client, Event, InvalidRequest, Missed, Model, NoAnswer, Reply, UnknownModel

HIDDEN = 8
AT = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)


@pytest.fixture
def model(client: Client, name: str) -> Iterator[Model]:
    """A small model."""
    yield client.create_model(name, {"x": "real", "state": ["idle", "busy"]}, hidden=HIDDEN)
    if name in [info.name for info in client.models()]:
        client.delete_model(name)


class Fragile:
    """A port before the service, whose connections can be cut."""

    def __init__(self, url: str) -> None:
        service = urlsplit(url)
        self._service = (service.hostname, service.port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._door.getsockname()[1]}"

    @property
    def n_connections(self) -> int:
        """How many came."""
        return len(self._pairs)

    def cut(self) -> None:
        """Cut all connections there are."""
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections, and cut those there are."""
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(self._service)
                self._pairs.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pump, args=(source, sink))
                    self._threads.append(thread)
                    thread.start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def fragile(service_url: str) -> Iterator[Fragile]:
    """A way to the service that can be cut."""
    with closing(Fragile(service_url)) as fragile:
        yield fragile


def fed(model: Model, n: int, streams: str = "ab") -> list[Reply]:
    """Replies to the next items of streams, in turn."""
    return [
        model.stream(stream).observe(x=float(i), state="busy", timestamp=AT) for i in range(n) for stream in streams
    ]


def as_reply(event: Event | Missed) -> dict[str, Any]:
    """What an event shares with the reply."""
    return {name: value for name, value in event.to_dict().items() if name not in {"item", "timestamp", "id"}}


def test_history_tells_what_was_predicted_and_how_good_it_was(model: Model) -> None:
    """Each entry has the prediction that awaited its item, and the score that it got."""
    stream = model.stream("a")
    replies = [stream.observe(x=float(i), state=None, timestamp=AT) for i in range(30)]
    history = stream.history()
    assert [entry.sequence for entry in history] == list(range(11, 31))
    assert [entry.item for entry in history] == [{"x": float(i), "state": None} for i in range(10, 30)]
    assert {entry.timestamp for entry in history} == {AT}
    assert [entry.prediction for entry in history] == [reply.prediction for reply in replies[9:29]]
    assert [entry.score for entry in history] == [reply.score for reply in replies[10:]]
    first = stream.history(limit=30)[0]
    assert (first.sequence, first.prediction, first.score) == (1, None, None)
    with pytest.raises(InvalidRequest):
        stream.history(limit=10**6)
    assert stream.fork("b").history() == []


def test_events_are_the_replies_with_their_items(model: Model) -> None:
    """Each once, in order, from when the reader is open; a reader of one stream gets no other's."""
    fed(model, 1)
    with model.events() as events, model.stream("b").events() as of_b, model.events(["a", "b"]) as of_both:
        replies = fed(model, 3)
        got = [next(events) for _ in replies]
        assert [as_reply(event) for event in got] == [reply.to_dict() for reply in replies]
        assert {(e.item["state"], e.timestamp, e.duplicate) for e in got if isinstance(e, Event)} == {
            ("busy", AT, False)
        }
        assert [as_reply(next(of_b)) for _ in range(3)] == [r.to_dict() for r in replies if r.stream == "b"]
        assert [next(of_both) for _ in replies] == got
    assert isinstance(got[1], Event)
    with model.events(after=got[1].id) as events:
        assert [next(events) for _ in got[2:]] == got[2:]


def test_reader_goes_on_over_connections_that_are_cut(fragile: Fragile, model: Model) -> None:
    """What was learned meanwhile comes after, nothing twice and nothing missed, though it had no event before."""
    with Client(fragile.url) as own, own.model(model.name).events() as events:
        fragile.cut()
        replies = fed(model, 2)
        assert [as_reply(next(events)) for _ in replies] == [reply.to_dict() for reply in replies]
        fragile.cut()
        replies = fed(model, 2)
        assert [as_reply(next(events)) for _ in replies] == [reply.to_dict() for reply in replies]
        assert fragile.n_connections == 3


async def test_asynchronous_reader_goes_on_too(fragile: Fragile, service_url: str, model: Model) -> None:
    """While others of its loop go on."""
    async with AsyncClient(service_url) as client, AsyncClient(fragile.url) as own:
        stream = client.model(model.name).stream("a")
        async with own.model(model.name).events(["a"]) as events:
            for _ in range(2):
                fragile.cut()
                reply, event = await asyncio.gather(stream.observe(x=1.0), anext(events))
                assert as_reply(event) == reply.to_dict()
        assert fragile.n_connections == 3


async def test_who_stops_waiting_loses_nothing(service_url: str, model: Model) -> None:
    """The next one who waits gets the event, over the same connection; after the end there is none."""
    async with AsyncClient(service_url) as client:
        async with client.model(model.name).events() as events:
            for _ in range(2):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(events), 0.01)
            reply = await client.model(model.name).stream("a").observe(x=1.0)
            assert as_reply(await anext(events)) == reply.to_dict()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(events), 0.01)
        assert [event async for event in events] == []


def test_events_that_nobody_knows_are_told_as_missed(model: Model) -> None:
    """As after a service that began anew, whose events have other ids."""
    with model.events(after="of-another-service-1") as events:
        assert next(events) == Missed(None)
        fed(model, 1, "a")
        assert isinstance(next(events), Event)


def test_deleted_model_ends_its_events(model: Model, client: Client) -> None:
    """After those that came before; and there are none of a model that is not there."""
    with model.events() as events:
        fed(model, 1)
        model.delete()
        assert [event.stream for event in (next(events), next(events)) if isinstance(event, Event)] == ["a", "b"]
        with pytest.raises(UnknownModel):
            next(events)
        assert list(events) == []
    with pytest.raises(UnknownModel):
        next(client.model("nobody").events())


def test_readers_need_no_block(fragile: Fragile, model: Model) -> None:
    """One that was left, or whose service is gone for good without retries, leaves no connection behind."""
    with Client(fragile.url, retries=0) as own:
        thread = threading.Thread(target=fed, args=(model, 1, "a"))
        for event in own.model(model.name).events(after="of-another-service-1"):
            if isinstance(event, Event):
                break
            thread.start()
        thread.join()
        events = own.model(model.name).events().__enter__()
        fragile.cut()
        with pytest.raises(NoAnswer):
            next(events)
        assert not any(c.is_available() is False for c in own._http._transport._pool.connections if not c.is_closed())


@pytest.mark.parametrize("streams", ["a", []])
def test_streams_are_named_by_a_list(streams: Any) -> None:
    """A text is none, and no name at all is not all of them."""
    with Client() as client, pytest.raises(ValueError, match="name"):
        client.model("m").events(streams)
