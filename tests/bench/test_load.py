"""The load generator, against a server whose answers and delays are known."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.frames import Frame, Opcode

from service.bench import wire
from service.bench.load import Load, drive
from service.bench.wire import RefusedError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Answers(asyncio.Protocol):
    """Answers each POST; the one numbered ``stalled`` comes ``stall_s`` late, and holds up those behind it."""

    def __init__(self, answer: bytes, stalled: int | None, stall_s: float) -> None:
        self._answer, self._stalled, self._stall_s = answer, stalled, stall_s
        self._n = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as have begun; a test's are small and come whole."""
        for _ in range(data.count(b"POST")):
            self._n += 1
            if self._n == self._stalled:
                time.sleep(self._stall_s)  # the whole server stands still, as by a garbage collection
            half = len(self._answer) // 2
            self._transport.write(self._answer[:half])  # type: ignore[attr-defined]
            self._transport.write(self._answer[half:])  # type: ignore[attr-defined]


@contextmanager
def answering(answer: bytes = ANSWER, stalled: int | None = None, stall_s: float = 0.0) -> Iterator[tuple[str, int]]:
    """The address of such a server."""
    loop = asyncio.new_event_loop()
    made = loop.create_server(lambda: Answers(answer, stalled, stall_s), "127.0.0.1", 0)
    server = loop.run_until_complete(made)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def load(address: tuple[str, int], n_connections: int = 1, **given: object) -> Load:
    """Requests over so many connections."""
    requests = [[wire.post(address, "/", b"{}")]] * n_connections
    return Load(address, "rest", requests, **given)  # type: ignore[arg-type]


def test_as_many_as_were_asked_for_are_answered() -> None:
    """Each counts once, over all connections."""
    with answering() as address:
        driven = drive(load(address, 4, n_requests=10, seconds=60.0))
    assert driven.n == len(driven.latencies_s) == 10
    assert (driven.latencies_s > 0).all()


def test_a_standstill_counts_for_all_that_should_have_been_sent() -> None:
    """The server stands still for a third of the time: so many requests waited, though few were under way."""
    with answering(stalled=10, stall_s=0.3) as address:
        driven = drive(load(address, 1, rate=200.0, seconds=0.9))
    expected = 200.0 * 0.3
    assert (driven.latencies_s > 0.02).sum() > expected / 2
    assert driven.latencies_s.max() >= 0.25
    assert 100 < driven.n < 300  # all that were due, of a Poisson process of 180


def test_the_times_do_not_depend_on_the_answers() -> None:
    """As many are sent to a slow server as to a fast one."""
    counts = []
    for stall_s in (0.0, 0.2):
        with answering(stalled=5, stall_s=stall_s) as address:
            counts.append(drive(load(address, 2, rate=100.0, seconds=0.5)).n)
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "answer", [ANSWER.replace(b"200 OK", b"503 Service Unavailable"), ANSWER.replace(b"Content-Length: 2", b"X: 2")]
)
def test_a_refusal_ends_it(answer: bytes) -> None:
    """An error is no answer that counts."""
    with answering(answer) as address, pytest.raises(RefusedError, match="refused"):
        drive(load(address, n_requests=1))


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536])
def test_messages_are_a_clients_websocket_frames(size: int) -> None:
    """As the websockets library reads them."""
    payload = bytes(size % 251 for _ in range(size))
    parser = Frame.parse
    data = wire.message(payload)
    at = 0

    def read_exact(n: int) -> Iterator[None]:
        nonlocal at
        at += n
        yield from ()
        return data[at - n : at]  # type: ignore[return-value]

    reading = parser(read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(reading)
    frame = done.value.value
    assert frame.opcode is Opcode.TEXT
    assert frame.fin
    assert frame.data == payload
    assert at == len(data)
