"""A service that runs for all tests here, and brokers."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepahead import Client
from tests.conftest import server_binary
from tests.service.bridges.processes import RedisServer, ServiceProcess


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service."""
    service = ServiceProcess(tmp_path_factory.mktemp("service"))
    yield service
    service.close()


@pytest.fixture(scope="session", params=["valkey", "redis"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A broker: the embedded Valkey, or Redis 7 where it is installed."""
    folder = Path(tempfile.mkdtemp(prefix="stepahead-test-"))  # short: a socket's path is bounded
    server = RedisServer(server_binary(request.param), folder)
    yield server
    server.close()
    shutil.rmtree(folder)


@pytest.fixture
def model(service: ServiceProcess) -> Iterator[str]:
    """A model of the test's own, with a real and a category field."""
    name = f"m-{uuid.uuid4().hex}"
    with Client(service.url) as client:
        client.create_model(name, {"load": "real", "state": ["idle", "busy"]}, hidden=4)
        yield name
        client.delete_model(name)
