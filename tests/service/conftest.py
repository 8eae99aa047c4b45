"""The application on a real Valkey, called without a socket."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from service.app import create_app
from service.compute import ComputeThread
from service.metrics import Metrics
from service.settings import Settings
from service.store import Partition, Store
from service.store.embedded import find_binary
from service.weights_log import WeightsLog
from tests.service.faults import Faults, FaultyStore

START_S = 10.0
BASE = "http://stepahead.test"

FIELDS = [{"name": "load", "kind": "real"}, {"name": "state", "kind": "category", "values": ["idle", "busy"]}]
SPEC = {"fields": FIELDS, "hidden": 8}

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """URL of a Valkey that keeps nothing on disk."""
    directory = Path(tempfile.mkdtemp(prefix="stepahead-test-"))  # short: a socket's path is bounded
    process = subprocess.Popen(
        [find_binary(), "--port", "0", "--unixsocket", directory / "s", "--dir", directory, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_S
    while not (directory / "s").exists():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"unix://{directory}/s"
    process.terminate()
    process.wait()
    shutil.rmtree(directory)


@pytest.fixture
def url(valkey: str) -> str:
    """The Valkey, emptied."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture
def serve(url: str) -> Serve:
    """Runs the application with the given settings; yields a client of it."""

    @asynccontextmanager
    async def run(**given: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(Settings(**{"redis_url": url, **given}))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=BASE) as client,
        ):
            yield client

    return run


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, which holds a model ``m`` with a real and a category field."""
    async with serve() as client:
        created = await client.put("/v1/models/m", json=SPEC)
        assert created.status_code == 201
        yield client


@pytest.fixture
def compute() -> Iterator[ComputeThread]:
    """The thread that learns."""
    compute = ComputeThread("learner", threads=1)
    yield compute
    compute.close()


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    """A plain client on the emptied Valkey."""
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
async def store(url: str) -> AsyncIterator[FaultyStore]:
    """The real store, with faults on demand; it keeps eight replies of a stream."""
    store = await FaultyStore.connect(url, timeout_s=5.0, kept_replies=8)
    store.faults = Faults()
    yield store
    await store.close()


@pytest.fixture
async def partition(url: str) -> AsyncIterator[Partition]:
    """An empty partition that is owned."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
    partition = store.partition("m")
    await partition.acquire()
    yield partition
    await store.close()


@pytest.fixture
def log(partition: Partition, compute: ComputeThread) -> WeightsLog:
    """The partition's log; no number of updates alone makes a snapshot due."""
    return WeightsLog(partition, compute, every_updates=1_000_000, damaged=Metrics().damaged_records)
