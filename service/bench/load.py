"""The load generator: a process of its own that keeps servers busy, or comes at fixed times and waits for nobody."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.bench.wire import Connection, Ndjson, Rest, WebSocket

Way = Literal["rest", "websocket", "ndjson"]

_CONNECTIONS = {"websocket": WebSocket, "ndjson": Ndjson}
_PATIENCE_S = 60.0  # without any answer


class UnansweredError(RuntimeError):
    """Requests were not answered in time."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Args:
        address: Host and port.
        way: How.
        path: Of a lasting connection.
        requests: Of each connection, as :mod:`service.bench.wire` makes them; taken in turn, over and over.
        in_flight: Most requests of a connection that await their answers.
        warm_s: Seconds at the beginning that do not count.
        seconds: In which requests are sent; their answers count, however late they come.
        rate: Requests a second over all connections, at random times (Poisson) that do not depend on the answers;
            ``None`` for as many as are answered.
        n_requests: Most requests; with them sent the time is over.
    """

    address: tuple[str, int]
    way: Way
    requests: Sequence[Sequence[bytes]]
    path: str = ""
    in_flight: int = 1
    warm_s: float = 0.0
    seconds: float = 1.0
    rate: float | None = None
    n_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Driven:
    """What came back.

    Args:
        n: Answers that count.
        seconds: In which they came; at a given rate, in which they were to be sent.
        latencies_s: Of each, from the moment it was to be sent, not from that when it could be.
        cpu_s: Processor time that sending and counting them took.
    """

    n: int
    seconds: float
    latencies_s: NDArray[np.float64]
    cpu_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.n / self.seconds


class Generator:
    """Drives loads in another process; see :func:`drive`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def drive(self, load: Load) -> Driven:
        """Drive a load there, and wait for its end."""
        return self._pool.submit(drive, load).result()


@contextmanager
def generator() -> Iterator[Generator]:
    """A generator whose process has started."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(time.perf_counter).result()
        yield Generator(pool)


def drive(load: Load) -> Driven:
    """Send a load.

    Raises:
        RefusedError: If an answer is an error.
        UnansweredError: If some answers never came.
    """
    connections = [_connect(load, requests) for requests in load.requests]
    try:
        return _drive(load, connections)
    finally:
        for connection in connections:
            connection.close()


def _connect(load: Load, requests: Sequence[bytes]) -> Connection:
    if load.way == "rest":
        return Rest(load.address, requests)
    return _CONNECTIONS[load.way](load.address, requests, load.path)


def _drive(load: Load, connections: list[Connection]) -> Driven:
    clock, cpu, begin = time.perf_counter, time.process_time(), time.perf_counter()
    counted, end = begin + load.warm_s, begin + load.warm_s + load.seconds
    most = float("inf") if load.n_requests is None else load.n_requests
    times = None if load.rate is None else _times(load.rate, begin)
    due = begin if times is None else next(times)
    free = deque(connection for _ in range(load.in_flight) for connection in connections)
    by_file = {connection.socket.fileno(): connection for connection in connections}
    files = list(by_file)
    latencies: list[float] = []
    n_sent = n_answered = 0
    last = begin
    while True:
        now = clock()
        due = now if times is None else due
        while free and due <= now and due < end and n_sent < most:
            connection = free.popleft()
            connection.due_s.append(due)
            connection.send(next(connection.requests))
            n_sent += 1
            if times is not None:
                due = next(times)
        is_over = due >= end or n_sent >= most
        if is_over and n_answered == n_sent:
            break
        if now > max(last, end) + _PATIENCE_S:
            raise UnansweredError(f"{n_sent - n_answered} of {n_sent} requests were not answered")
        wait_s = due - now if free and not is_over else _PATIENCE_S
        unsent = [file for file, one in by_file.items() if one.unsent]
        readable, writable, _ = select.select(files, unsent, [], max(0.0, wait_s))
        for file in writable:
            by_file[file].flush()
        for file in readable:
            one = by_file[file]
            for _ in range(one.receive()):
                last, was_due = clock(), one.due_s.popleft()
                n_answered += 1
                free.append(one)
                if counted <= (last if times is None else was_due):
                    latencies.append(last - was_due)
    seconds = last - counted if times is None else load.seconds
    return Driven(len(latencies), seconds, np.array(latencies), time.process_time() - cpu)


def _times(rate: float, begin: float) -> Iterator[float]:
    """When requests are to be sent, one at once; the same gaps for every load of this rate."""
    source = np.random.default_rng(0)
    yield begin
    while True:
        for gap in source.exponential(1 / rate, 1024).tolist():
            begin += gap
            yield begin
