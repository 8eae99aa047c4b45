"""The error tree beside the server's."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service.errors import ServiceError

import stepahead
from stepahead import AsyncClient, Client, NoAnswer, StepaheadError, errors
from stepahead._program import RetryPolicy
from stepahead.errors import error_class

OWN = {"error", "no_answer", "bad_answer", "sequence_error", "sequence_taken", "unavailable"}
"""Codes of the client itself, and of classes that only group others."""


def tree(root: type[BaseException]) -> Iterator[type[BaseException]]:
    """A class and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


SERVER = {cls.code: cls for cls in tree(ServiceError) if "code" in vars(cls)}  # type: ignore[attr-defined]
CLIENT = {cls.code: cls for cls in tree(StepaheadError)}  # type: ignore[attr-defined]


def test_every_code_of_the_server_has_a_class() -> None:
    """No code is left out, and none is made up."""
    assert set(CLIENT) - OWN == set(SERVER)


@pytest.mark.parametrize("code", SERVER)
def test_class_of_a_code_is_that_of_its_status(code: str) -> None:
    """An error of a newer server is at least of the family of its status."""
    by_status = error_class("brand_new", SERVER[code].status)
    family = CLIENT[code].__mro__
    assert by_status in family or by_status in {StepaheadError, stepahead.RequestTimeout}


@pytest.mark.parametrize("code", SERVER)
def test_what_the_server_asks_to_send_again_is(code: str) -> None:
    """Every error that comes with a time to wait is retried."""
    if getattr(SERVER[code], "retry_after_s", None) is not None:
        assert CLIENT[code].retried


def test_every_class_is_drawn_exported_and_found_by_its_code() -> None:
    """The tree at the top of the file is whole."""
    for cls in tree(StepaheadError):
        assert cls.__name__ in str(errors.__doc__)
        assert getattr(stepahead, cls.__name__) is cls
        assert error_class(cls.code, None) is cls  # type: ignore[attr-defined]


def test_no_room_for_a_snapshot_is_final() -> None:
    """Waiting makes none: somebody has to delete one."""
    full = stepahead.Overloaded("full", retry_after_s=1.0, data={"max_snapshots": 16})
    assert RetryPolicy().delay_s(0, full, 0.0) is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize("make", [Client, AsyncClient])
async def test_who_is_not_trusted_is_asked_once(make: type[Client | AsyncClient], tmp_path: Path) -> None:
    """A certificate that nobody vouches for is an error at once, over every way."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made = [shutil.which("openssl") or "openssl", *request, "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        for via in (None, "websocket", "ndjson", "requests"):
            with pytest.raises(NoAnswer, match="certificate") as refused:
                await feed(make(url), via)
            assert not refused.value.retried


async def feed(client: Client | AsyncClient, via: Any) -> None:
    """Observe one item; over no way by itself."""
    rows = [("s", {"x": 1.0})]
    if isinstance(client, AsyncClient):
        async with client:
            if via is None:
                await client.model("m").stream("s").observe(x=1.0)
            async for _ in client.model("m").observe_many(rows, via=via):
                pass
        return

    def observe() -> None:
        with client:
            if via is None:
                client.model("m").stream("s").observe(x=1.0)
            for _ in client.model("m").observe_many(rows, via=via):
                pass

    await asyncio.to_thread(observe)
