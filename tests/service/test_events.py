"""Events: every reply once and in order for every reader, and one that missed some is told so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from model.spec import ModelSpec
from service import events as rings
from service.api.connection import CONNECTION
from service.api.events import CUT_OFF, EventStream
from service.batcher import Observation
from service.compute import ComputeThread
from service.engines import Engines
from service.errors import Draining, ServiceError, StoreUnavailable, UnknownModel
from service.events import MAX_EVENTS, Events, Reader, Told
from service.metrics import Metrics
from service.settings import Settings
from tests.sent_events import Sent, dispatched, events_of
from tests.service.conftest import SPEC
from tests.service.faults import FaultyStore

OPEN = {"fields": [{"name": "load"}, {"name": "word", "kind": "category", "capacity": 8}], "hidden": 4}
DEADLINE_S = 30.0


@pytest.fixture
async def engines(store: FaultyStore, compute: ComputeThread) -> AsyncIterator[Engines]:
    """Engines on the faulty store; there is a model ``m``."""
    engines = Engines(store, compute, compute, Settings(), Metrics())
    await engines.create("m", ModelSpec.from_dict(SPEC))
    yield engines
    await engines.drain()


async def send(engines: Engines, *rows: tuple[str, dict[str, Any], int | None], model: str = "m") -> list[Any]:
    """Send items of streams in one frame; their replies or the codes of their errors."""
    async with engines.use(model) as engine:
        answers = await engine.submit([Observation(stream, item, n) for stream, item, n in rows])
    return [a.code if isinstance(a, ServiceError) else json.loads(a) for a in answers]


def told(stream: str, sequence: int, size: int = 0) -> Told:
    """What is told of an item, whose reply is so large."""
    reply = b'{"stream":"%b","sequence":%d,"filling":"%b"}' % (stream.encode(), sequence, b"x" * size)
    return Told(stream, reply)


def taken(reader: Reader) -> list[Sent]:
    """All that a reader is given now."""
    text = b""
    while more := reader.take():
        text += more
    return events_of(text)


def places(sent: list[Sent]) -> list[tuple[str, int]]:
    """Stream and sequence of messages, which all of them are."""
    assert {event.kind for event in sent} <= {"message"}
    return [(event.data["stream"], event.data["sequence"]) for event in sent]


async def test_every_reader_gets_every_reply_once_and_in_order(engines: Engines) -> None:
    """Each message is the reply that was sent, with its item and time; resends, gaps and bad items are none."""
    with ExitStack() as readers:
        followers = [readers.enter_context(engines.events.reading("m", (), None)) for _ in range(3)]
        some = readers.enter_context(engines.events.reading("m", ["b", "c"], None))
        sent: list[Any] = []
        for n in range(1, 6):
            rows = [(stream, {"load": n + 0.1, "state": "idle" if n % 2 else None}, n) for stream in "abc"]
            sent += await send(engines, *rows)
            again = await send(engines, rows[0], ("b", {"load": 1.0}, n + 7), ("c", {"none": 1}, None))
            assert (again[0]["duplicate"], *again[1:]) == (True, "sequence_gap", "invalid_item")
        for follower in followers:
            found = taken(follower)
            for stream in "abc":
                mine = [event.data for event in found if event.data["stream"] == stream]
                replies = [reply for reply in sent if reply["stream"] == stream]
                assert [{k: v for k, v in data.items() if k not in {"item", "timestamp"}} for data in mine] == replies
                assert [data["item"] for data in mine] == [
                    {"load": n + 0.1, "state": "idle" if n % 2 else None} for n in range(1, 6)
                ]
                assert {data["timestamp"] for data in mine} == {None}
            assert len(found) == 15
            assert taken(follower) == []
        assert sorted(places(taken(some))) == [(stream, n) for stream in "bc" for n in range(1, 6)]
        late = readers.enter_context(engines.events.reading("m", (), None))
        assert taken(late) == []


async def test_a_time_is_told_as_it_was_taken(engines: Engines) -> None:
    """The item's time comes in UTC."""
    with engines.events.reading("m", (), None) as reader:
        async with engines.use("m") as engine:
            await engine.submit([Observation("a", {"load": 1.0}, None, 1_700_000_000_000_001)])
        (event,) = taken(reader)
    assert event.data["timestamp"] == "2023-11-14T22:13:20.000001Z"


async def test_a_reader_resumes_without_a_gap(engines: Engines) -> None:
    """From any id that it had, also that of its beginning, whether or not the engine closed meanwhile."""
    with engines.events.reading("m", (), None) as reader:
        first = await anext(reader.run(60, ""))
        await send(engines, ("a", {"load": 1.0}, 1), ("b", {"load": 1.0}, 1))
        had = taken(reader)
    begun = next(dispatched([*first.decode().split("\n"), "data: 0", ""])).last_id
    await send(engines, ("a", {"load": 2.0}, 2))
    async with engines._open.lock("m"):
        await engines._close("m")
    await send(engines, ("a", {"load": 3.0}, 3))
    everything = [*places(had), ("a", 2), ("a", 3)]
    for had_until, last_id in enumerate([begun, *(event.last_id for event in had)]):
        with engines.events.reading("m", (), last_id) as reader:
            assert places(taken(reader)) == everything[had_until:]


@pytest.mark.parametrize("after", ["x", "-", "0-1", "{boot}-9999", "{boot}-", "{boot}--1", "{boot}-²"])
async def test_who_cannot_resume_is_told(engines: Engines, after: str) -> None:
    """An id of before a restart, or of nothing, gives ``missed`` of an unknown number, then all that there is."""
    with engines.events.reading("m", (), None) as reader:
        await send(engines, ("a", {"load": 1.0}, 1))
        boot = taken(reader)[0].last_id.partition("-")[0]
        with engines.events.reading("m", (), after.format(boot=boot)) as lost:
            missed, message = taken(lost)
        assert (missed.kind, missed.data) == ("missed", {"missed": None})
        assert places([message]) == [("a", 1)]
        with engines.events.reading("m", (), missed.last_id) as resumed:
            assert places(taken(resumed)) == [("a", 1)]


async def test_what_a_ring_holds_is_bounded() -> None:
    """By number and by bytes; a reader that was too slow is told how many it missed, where that can be told."""
    events = Events()
    with events.reading("m", (), None) as slow, events.reading("m", ["b"], None) as some:
        for first in range(0, MAX_EVENTS + 14, 10):  # 4110 in all
            events.publish("m", [told("a", n) for n in range(first, first + 10)])
        missed, *rest = taken(slow)
        assert (missed.kind, missed.data) == ("missed", {"missed": 14})
        assert [n for _, n in places(rest)] == list(range(14, MAX_EVENTS + 14))
        assert [(event.kind, event.data) for event in taken(some)] == [("missed", {"missed": None})]
        for n in range(1000):
            events.publish("m", [told("a", n, 20_000)])
        ring = events._rings["m"]
        assert ring.n_bytes <= rings.MAX_RING_BYTES
        kept = ring.last - ring.first + 1
        assert kept > 100
        missed, *rest = taken(slow)
        assert (missed.data, len(rest)) == ({"missed": 1000 - kept}, kept)


async def test_many_rings_share_what_one_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new one takes from the others, so that all of them stay within their bound."""
    monkeypatch.setattr(rings, "MAX_BYTES", 400_000)
    events = Events()
    with ExitStack() as readers:
        for i in range(20):
            readers.enter_context(events.reading(f"m{i}", (), None))
            events.publish(f"m{i}", [told("a", n, 1000) for n in range(500)])
            assert sum(ring.n_bytes for ring in events._rings.values()) <= 400_000


async def test_a_ring_that_nobody_reads_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays for who may resume, and no longer; nothing is kept of a model that nobody read."""
    events = Events()
    events.publish("m", [told("a", 1)])
    events.lose("m")
    assert not events._rings
    with events.reading("m", (), None):
        pass
    ring = events._rings["m"]
    with events.reading("m", (), None):
        assert events._rings["m"] is ring
        monkeypatch.setattr(rings, "RESUME_S", 0)
    async with asyncio.timeout(DEADLINE_S):
        while events._rings:  # noqa: ASYNC110  nobody is told
            await asyncio.sleep(0)
    with pytest.raises(UnknownModel), events.reading("n", (), None):
        raise UnknownModel("n")
    assert not events._rings


async def test_a_deleted_model_ends_its_readers(engines: Engines) -> None:
    """They have all that was learned, then ``end`` with ``unknown_model``; a model of that name begins anew."""
    with engines.events.reading("m", (), None) as reader:
        running = reader.run(60, "request-1")
        assert (await anext(running)).startswith(b"retry: 1000\n")
        await send(engines, ("a", {"load": 1.0}, 1))
        await engines.delete("m")
        message, end = events_of(b"".join([text async for text in running]))
        assert places([message]) == [("a", 1)]
        assert (end.kind, end.data["error"]["code"]) == ("end", "unknown_model")
        assert end.data["error"]["request_id"] == "request-1"
        await engines.create("m", ModelSpec.from_dict(SPEC))
        with engines.events.reading("m", (), message.last_id) as anew:
            assert [(event.kind, event.data) for event in taken(anew)] == [("missed", {"missed": None})]


async def test_who_finds_no_model_ends_no_later_one() -> None:
    """A model that is made while a reader learns that there is none keeps the readers that it has by then."""
    events = Events()
    with ExitStack() as stack:
        with suppress(UnknownModel), events.reading("m", (), None):
            events.end("m", UnknownModel("m"))
            later = stack.enter_context(events.reading("m", (), None))
            raise UnknownModel("m")
        events.publish("m", [told("s", 1)])
        assert places(taken(later)) == [("s", 1)]


async def test_the_end_of_the_service_ends_readers(engines: Engines) -> None:
    """What was accepted is learned and told first; then comes ``end``, and there is no more to read."""
    with engines.events.reading("m", (), None) as reader:
        running = reader.run(60, "")
        await anext(running)
        accepted = asyncio.create_task(send(engines, *(("a", {"load": float(n)}, None) for n in range(5))))
        async with asyncio.timeout(DEADLINE_S):
            while engines.weights_version("m") is None:  # noqa: ASYNC110  it opens
                await asyncio.sleep(0)
        await engines.drain()
        sent = events_of(b"".join([text async for text in running]))
        learned = [reply for reply in await accepted if reply != "draining"]
        assert [event.data["sequence"] for event in sent[:-1]] == [reply["sequence"] for reply in learned]
        assert sent[-1].data["error"]["code"] == "draining"
    with pytest.raises(Draining), engines.events.reading("m", (), None):
        pass


async def test_silence_is_broken(engines: Engines) -> None:
    """A sign of life comes though only others' items do, and says where its reader stands."""
    with engines.events.reading("m", ["quiet"], None) as reader, engines.events.reading("m", (), None) as other:
        running = reader.run(0.01, "")
        await anext(running)
        await send(engines, ("a", {"load": 1.0}, 1))
        (passed,) = taken(other)
        async with asyncio.timeout(DEADLINE_S):
            while f"id: {passed.last_id}\n".encode() not in (beat := await anext(running)):
                assert beat.startswith(b": heartbeat\n")
        assert events_of(beat) == []


async def test_what_may_be_lost_is_told(engines: Engines, store: FaultyStore) -> None:
    """Where it stays unknown whether a batch was learned, readers of any stream are told that they may miss some."""
    with engines.events.reading("m", ["a"], None) as reader:
        await send(engines, ("a", {"load": 1.0}, 1))
        store.faults.lose_answer("commit")
        store.faults.refuse("acquire", times=10)
        assert await send(engines, ("a", {"load": 2.0}, 2)) == ["store_unavailable"]
        store.faults.clear()
        (again,) = await send(engines, ("a", {"load": 2.0}, 2))
        assert again["duplicate"]
        store.faults.refuse("commit", StoreUnavailable("nothing was written"))
        await send(engines, ("a", {"load": 3.0}, 3))
        message, missed, *rest = taken(reader)
    assert [message.data["sequence"], *(event.data["sequence"] for event in rest)] == [1, 3]
    assert (missed.kind, missed.data) == ("missed", {"missed": None})


async def test_no_text_breaks_out_of_its_event(engines: Engines) -> None:
    """Line ends and markup in values and names come back as they were sent, each in its own event."""
    await engines.create("open", ModelSpec.from_dict(OPEN))
    names = ["data: {}", "id: 7", "a:b", "<script>", "späße 点", "event: end"]
    words = ["\n\ndata: {}\n\n", "\r\rid: 1\r", "\r\nevent: end\r\n", "\u2028\u2029\x85", "</script>", ": x\n"]
    with engines.events.reading("open", (), None) as reader:
        await send(engines, *((s, {"word": w}, None) for s, w in zip(names, words, strict=True)), model="open")
        found = {event.data["stream"]: event.data["item"] for event in taken(reader)}
    assert found == {s: {"load": None, "word": w} for s, w in zip(names, words, strict=True)}


class Stalled:
    """A connection whose client has stopped to take what it is sent."""

    def __init__(self) -> None:
        self.is_sent, self.last = asyncio.Event(), b""

    async def receive(self) -> dict[str, Any]:
        """Nothing comes from it, and it does not go."""
        return await asyncio.Future()

    async def send(self, _message: object) -> None:
        """Never done."""
        self.is_sent.set()
        await asyncio.Future()

    def cut_off(self, _code: int, _reason: str, last: bytes) -> None:
        """Break off."""
        self.last = last


@pytest.mark.parametrize("ends", [True, False])
async def test_nobody_waits_for_who_takes_nothing(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """It is cut off after ``slow_reader_s``, and soon once the service ends, however long that is."""
    monkeypatch.setattr("service.api.events.LAST_WORDS_S", 0.01)
    events, client = Events(), Stalled()
    response = EventStream(
        events.reading("m", (), None), lambda: asyncio.sleep(0), 60, 3600 if ends else 0.01, Metrics()
    )  # fmt: skip
    scope = {"type": "http", "state": {"request_id": "", CONNECTION: client}}
    answering = asyncio.create_task(response(scope, client.receive, client.send))
    async with asyncio.timeout(DEADLINE_S):
        await client.is_sent.wait()
        if ends:
            events.close(Draining())
        await answering
    assert client.last == CUT_OFF
    assert all(not ring.readers for ring in events._rings.values())


async def test_what_is_not_known_is_not_counted() -> None:
    """Where a loss of unknown size was missed as well the number is unknown; one that is still told is no part."""
    events = Events()
    with events.reading("m", (), None) as slow:
        events.lose("m")
        events.publish("m", [told("a", n) for n in range(MAX_EVENTS)])
        assert taken(slow)[0].data == {"missed": None}
        events.publish("m", [told("a", n) for n in range(2)])
        events.lose("m")
        events.publish("m", [told("a", n) for n in range(MAX_EVENTS - 1)])
        assert [event.data for event in taken(slow) if event.kind == "missed"] == [{"missed": 2}, {"missed": None}]
