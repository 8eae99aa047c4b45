"""Two services on one store: one owns a model, the other takes it over when the first falls silent."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import redis

from service.store.embedded import find_binary
from tests.integration.test_process import LOADS, SPEC, Service, until

LEASE_S = "0.5"
ROWS = [{"stream": f"s{n % 8}", "item": {"load": load}} for n, load in enumerate(LOADS * 100)]

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="pauses processes as Linux does")


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """A store that somebody else runs."""
    path = tmp_path / "s"
    store = subprocess.Popen(
        [find_binary(), "--port", "0", "--unixsocket", path, "--dir", tmp_path, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    until(path.exists)
    yield f"unix://{path}"
    store.terminate()
    store.wait()


def observe(service: Service) -> httpx.Response:
    """Send the next item of a stream, whatever comes of it."""
    return service.client.post("/v1/models/m/streams/s0/observations", json={"item": {"load": 1.0}})


def code_of(answer: dict[str, Any]) -> str:
    """How one item of a frame went."""
    return str(answer["error"]["code"]) if "error" in answer else "learned"


def test_a_paused_owner_is_replaced_and_writes_nothing(store_url: str) -> None:
    """While it lives nobody else has its model; paused past its lease it is replaced, and its writes are refused."""
    flags = ("--redis-url", store_url, "--lease-s", LEASE_S)
    first, second = Service(*flags, "--instance", "first"), Service(*flags, "--instance", "second")
    answers: list[dict[str, Any]] = []
    try:
        assert first.client.put("/v1/models/m", json=SPEC).status_code == 201
        assert observe(first).status_code == 200
        refused = observe(second)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1

        def send() -> None:
            answers.extend(
                first.client.post("/v1/models/m/observations", json={"observations": ROWS}).json()["results"]
            )

        sender = Thread(target=send)
        sender.start()
        with redis.Redis.from_url(store_url) as raw:
            until(lambda: int(raw.hget("{m:0}:stream:s0", "seq") or 0) > 5)
            first.process.send_signal(signal.SIGSTOP)
            until(lambda: observe(second).status_code == 200)
            reached = {n: int(raw.hget(f"{{m:0}}:stream:s{n}", "seq") or 0) for n in range(8)}
            first.process.send_signal(signal.SIGCONT)
            sender.join()
            assert reached == {n: int(raw.hget(f"{{m:0}}:stream:s{n}", "seq") or 0) for n in range(8)}
        learned = [code_of(answer) for answer in answers]
        assert set(learned) == {"learned", "store_unavailable"}
        # Each item counts once: the first's one and its frame's, and one by the second.
        assert 1 + learned.count("learned") + 1 == sum(reached.values())
        assert observe(first).status_code == 503
        assert observe(second).json()["sequence"] == reached[0] + 1
    finally:
        for service in (first, second):
            os.kill(service.process.pid, signal.SIGCONT)
            service.client.close()
            service.kill()


def test_an_owner_that_ends_leaves_nobody_waiting(store_url: str) -> None:
    """After a SIGTERM another service has its models at once, however long a lease may last."""
    flags = ("--redis-url", store_url, "--lease-s", "300")
    first = Service(*flags)
    try:
        first.client.put("/v1/models/m", json=SPEC)
        assert observe(first).json()["sequence"] == 1
        assert first.stop() == 0
        second = Service(*flags)
        try:
            assert observe(second).json()["sequence"] == 2
            second.kill()
            third = Service(*flags)
            try:
                assert observe(third).status_code == 503, "killed, the second could not give its lease back"
            finally:
                third.client.close()
                third.kill()
        finally:
            second.client.close()
            second.kill()
    finally:
        first.client.close()
        first.kill()
