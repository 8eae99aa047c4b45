"""What both clients share of httpx: how it is set up, and how its requests and answers look to the core."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import IO, Any, Generic, TypeVar
from weakref import WeakValueDictionary

import httpx

from stepahead._program import Answer, Request
from stepahead.errors import NoAnswer

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 5
DEFAULT_CHUNK = 256
CHUNK_BYTES = 2**18
"""Of a file at once."""
PAGE = 500
"""Streams per page of a listing."""

Lock = TypeVar("Lock")

LOST = (httpx.TransportError, httpx.DecodingError)
"""What it means that a request or its answer was lost."""


def options(base_url: str, api_key: str | None, timeout: float | httpx.Timeout | None) -> dict[str, Any]:
    """Arguments of an ``httpx`` client.

    Raises:
        ValueError: If the URL is not an absolute http or https one.
    """
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url {base_url!r} must begin with http:// or https://")
    headers = {"User-Agent": f"stepahead-python/{_version()}", "Accept": "application/json"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": base_url, "headers": headers, "timeout": timeout}


def arguments(request: Request, timeout: httpx.Timeout) -> dict[str, Any]:
    """Arguments of ``httpx``'s ``build_request``, but for a body that is in a file.

    Args:
        request: What is to be sent.
        timeout: The client's.
    """
    headers = dict(request.headers)
    if request.content is not None:
        headers["Content-Type"] = request.media_type
    if isinstance(request.content, Path):
        headers["Content-Length"] = str(request.content.stat().st_size)
    return {
        "method": request.method,
        "url": request.path,
        "content": request.content,
        "params": dict(request.params) or None,
        "headers": headers,
        "timeout": _timeout(request, timeout),
    }


def _timeout(request: Request, timeout: httpx.Timeout) -> httpx.Timeout:
    read_s = None if timeout.read is None else max(timeout.read, request.least_read_s)
    parts = {"connect": timeout.connect, "read": read_s, "write": timeout.write, "pool": timeout.pool}
    if request.most_s is not None:
        parts = {part: request.most_s if s is None else min(s, request.most_s) for part, s in parts.items()}
    return httpx.Timeout(**parts)


def answer(response: httpx.Response) -> Answer:
    """A response as the core has it."""
    return replace(head(response), content=response.content)


def head(response: httpx.Response) -> Answer:
    """The same without its body, which goes elsewhere."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, b"")


def shown(base_url: httpx.URL) -> str:
    """An address for people: no password in it."""
    return str(base_url.copy_with(userinfo=b"")).rstrip("/")


@contextmanager
def replaced(file: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``file`` that takes its place once all went well, and is gone where it did not."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target:
            yield target
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def archive(source: bytes | str | PathLike[str]) -> bytes | Path:
    """An archive as the core has it.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    path = Path(source)
    path.stat()  # fails here rather than on the way
    return path


def lost(url: httpx.URL, cause: BaseException) -> NoAnswer:
    """The error of a connection that failed; not sent again where whoever answers is not trusted."""
    error = NoAnswer(f"no answer from {shown(url)}: {str(cause) or type(cause).__name__}")
    error.__cause__ = cause
    at: BaseException | None = cause
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            error.retried = False
        at = at.__cause__ or at.__context__
    return error


def no_answer(error: httpx.TransportError | httpx.DecodingError, base_url: httpx.URL) -> NoAnswer:
    """A lost request or answer as the core has it."""
    failure = lost(base_url, error)
    failure.outcome_unknown = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return failure


class Locks(Generic[Lock]):
    """One lock per stream, so that the items of a stream are numbered and sent one call after the other.

    A lock lives while somebody holds it or waits for it.
    """

    def __init__(self, make: Callable[[], Lock]) -> None:
        self._make = make
        self._locks: WeakValueDictionary[tuple[str, str], Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def of(self, model: str, streams: Iterable[str]) -> list[Lock]:
        """The locks of these streams, in the one order that keeps two callers from waiting for each other."""
        with self._guard:
            return [self._locks.setdefault((model, stream), self._make()) for stream in sorted(streams)]


def _version() -> str:
    try:
        return version("stepahead")
    except PackageNotFoundError:  # run from a source tree
        return "0"
