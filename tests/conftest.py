"""A real server for every test that needs one: the embedded Valkey, and Redis 7 where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import torch
from hypothesis import settings

from service.store import Store
from service.store.embedded import find_binary

settings.register_profile("shared", deadline=None)  # other work on the machine fails no test
settings.load_profile("shared")
torch.set_num_threads(1)  # small shapes; more threads only wait for each other

START_S = 10.0
KEPT_REPLIES = 4


@pytest.fixture(scope="session", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server that keeps nothing on disk."""
    binary = find_binary() if request.param == "valkey" else _redis_server()
    directory = Path(tempfile.mkdtemp(prefix="stepahead-test-"))  # short: a socket's path is bounded
    url = f"unix://{directory}/s"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", directory / "s", "--dir", directory, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


@pytest.fixture
def raw(server: str) -> Iterator[redis.Redis]:
    """A plain client on the server, emptied."""
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


@pytest.fixture
async def store(server: str, raw: redis.Redis) -> AsyncIterator[Store]:  # noqa: ARG001  emptied first
    """The store on the emptied server; it keeps four replies of a stream."""
    store = await Store.connect(server, timeout_s=5.0, kept_replies=KEPT_REPLIES)
    yield store
    await store.close()


def _redis_server() -> Path:
    path = shutil.which("redis-server")
    if path is None:
        pytest.skip("no redis-server on PATH")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"\bv=(\d+)", version)
    if major is None or int(major[1]) < 7:
        pytest.skip(f"the redis-server on PATH is not version 7 or later: {version.strip()}")
    return Path(path)


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + START_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return
