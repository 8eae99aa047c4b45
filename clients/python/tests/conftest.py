"""A real service as a process, and transports that lose or refuse what goes through them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest

from stepahead import AsyncClient, Client, Reply
from stepahead._core import RetryPolicy

ROOT = Path(__file__).parents[3]
IMPATIENT = RetryPolicy(retries=3, base_s=0.0)


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that runs for all tests."""
    folder = tmp_path_factory.mktemp("service")
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", str(folder / "data")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STEPAHEAD_")}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"listens on (\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail((folder / "log").read_text())
        finally:
            process.terminate()
            process.stdout.read()  # ends once the process has


@pytest.fixture
def client(service_url: str) -> Iterator[Client]:
    """A client of the service."""
    with Client(service_url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A model name of the test's own."""
    return f"m-{uuid.uuid4().hex}"


def assert_shared(replies: Sequence[Sequence[Reply]], rows: Sequence[tuple[str, object]]) -> None:
    """Each client got a reply of its own to every row, in each stream's order."""
    sequences = [(reply.stream, reply.sequence) for own in replies for reply in own]
    assert len(set(sequences)) == len(sequences) == len(replies) * len(rows)
    assert not any(reply.duplicate for own in replies for reply in own)
    for own in replies:
        assert [reply.stream for reply in own] == [stream for stream, _ in rows]
        by_stream: dict[str, list[int]] = {}
        for reply in own:
            by_stream.setdefault(reply.stream, []).append(reply.sequence)
        assert all(numbers == sorted(numbers) for numbers in by_stream.values())


class Faults:
    """Which calls go wrong: of the requests whose path ends in ``of``, counted from 1.

    Args:
        of: What a counted path ends in.
        lose_request: The request does not get through.
        lose_answer: The request is done, its answer does not get back.
        refuse: Answered 503 in the service's stead.
    """

    def __init__(
        self,
        of: str = "observations",
        *,
        lose_request: Collection[int] = (),
        lose_answer: Collection[int] = (),
        refuse: Collection[int] = (),
    ) -> None:
        self.of, self.lose_request, self.lose_answer, self.refuse = of, lose_request, lose_answer, refuse
        self.n_calls = 0

    def before(self, request: httpx.Request) -> httpx.Response | None:
        """Count a request; lose or refuse it."""
        if not request.url.path.endswith(self.of):
            return None
        self.n_calls += 1
        if self.n_calls in self.lose_request:
            raise httpx.ConnectError("refused", request=request)
        if self.n_calls in self.refuse:
            error = {"code": "store_unavailable", "message": "no store", "request_id": "r"}
            return httpx.Response(503, json={"error": error})
        return None

    def after(self, request: httpx.Request) -> None:
        """Lose the answer to the request that was counted last."""
        if request.url.path.endswith(self.of) and self.n_calls in self.lose_answer:
            raise httpx.ReadError("broken", request=request)


class FaultyTransport(httpx.HTTPTransport):
    """The network, with faults."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or let it go wrong."""
        refusal = self._faults.before(request)
        if refusal is not None:
            return refusal
        response = super().handle_request(request)
        response.read()
        self._faults.after(request)
        return response


class FaultyAsyncTransport(httpx.AsyncHTTPTransport):
    """The network, with faults."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or let it go wrong."""
        refusal = self._faults.before(request)
        if refusal is not None:
            return refusal
        response = await super().handle_async_request(request)
        await response.aread()
        self._faults.after(request)
        return response


@pytest.fixture
def faulty_client(service_url: str) -> Iterator[Callable[[Faults], Client]]:
    """Makes clients with faults, which go on after them without waiting."""
    with ExitStack() as clients:

        def make(faults: Faults) -> Client:
            client = clients.enter_context(Client(service_url, transport=FaultyTransport(faults)))
            client._core.policy = IMPATIENT
            return client

        yield make


@pytest.fixture
async def faulty_async_client(service_url: str) -> AsyncIterator[Callable[[Faults], Awaitable[AsyncClient]]]:
    """Makes clients with faults, which go on after them without waiting."""
    async with AsyncExitStack() as clients:

        async def make(faults: Faults) -> AsyncClient:
            client = AsyncClient(service_url, transport=FaultyAsyncTransport(faults))
            client._core.policy = IMPATIENT
            return await clients.enter_async_context(client)

        yield make


@pytest.fixture(name="assert_shared")
def _assert_shared() -> Callable[..., None]:
    """Checks what clients that fed the same streams got."""
    return assert_shared


@pytest.fixture
def faults() -> type[Faults]:
    """What can go wrong."""
    return Faults
