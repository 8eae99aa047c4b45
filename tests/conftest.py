"""Real servers for every test that needs one: the embedded Valkey, Redis 7 where it is installed, and clusters."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import torch
from hypothesis import settings

from service.store import Store
from service.store.embedded import find_binary
from tests.local_cluster import LocalCluster

settings.register_profile("shared", deadline=None)  # other work on the machine fails no test
settings.load_profile("shared")
torch.set_num_threads(1)  # small shapes; more threads only wait for each other

START_S = 10.0
KEPT_REPLIES = 4


@pytest.fixture(scope="session", params=["valkey", "redis", "valkey cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a server, or of one of three that are a cluster, that keeps nothing on disk."""
    name, _, cluster = request.param.partition(" ")
    binary = server_binary(name)
    if cluster:
        with LocalCluster(binary) as servers:
            yield servers.url
    else:
        with _single(binary) as url:
            yield url


@pytest.fixture(scope="module", params=["valkey"])
def shared_cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A cluster whose servers lose nothing when they are killed, for one module."""
    with LocalCluster(server_binary(request.param), appendonly="yes", appendfsync="always") as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: LocalCluster) -> LocalCluster:
    """The cluster, emptied."""
    for server in shared_cluster.servers:
        server.admin.flushall()
    return shared_cluster


@contextmanager
def _single(binary: Path) -> Iterator[str]:
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
def raw(server: str) -> Iterator[redis.Redis | redis.RedisCluster]:
    """A plain client on the server, or on all of the cluster, emptied."""
    kind = redis.Redis if server.startswith("unix:") else redis.RedisCluster
    with kind.from_url(server) as client:
        client.flushall()
        yield client


@pytest.fixture
async def store(server: str, raw: redis.Redis) -> AsyncIterator[Store]:  # noqa: ARG001  emptied first
    """The store on the emptied server; it keeps four replies of a stream."""
    store = await Store.connect(server, timeout_s=5.0, kept_replies=KEPT_REPLIES)
    yield store
    await store.close()


def server_binary(name: str) -> Path:
    """Find ``valkey`` or ``redis``; the test is skipped where there is no Redis 7 or later."""
    return find_binary() if name == "valkey" else _redis_server()


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
