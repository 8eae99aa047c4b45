"""What both clients share of httpx: how it is set up, and how its requests and answers look to the core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import httpx

from stepahead._core import Answer, Request
from stepahead.errors import NoAnswer

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 5
DEFAULT_CHUNK = 256
PAGE = 500
"""Streams per page of a listing."""

Lock = TypeVar("Lock")


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


def arguments(request: Request) -> dict[str, Any]:
    """Arguments of ``httpx``'s ``request``."""
    headers = None if request.content is None else {"Content-Type": "application/json"}
    return {
        "method": request.method,
        "url": request.path,
        "content": request.content,
        "params": dict(request.params) or None,
        "headers": headers,
    }


def answer(response: httpx.Response) -> Answer:
    """A response as the core has it."""
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def no_answer(error: httpx.TransportError | httpx.DecodingError, base_url: httpx.URL) -> NoAnswer:
    """A lost request or answer as the core has it."""
    failure = NoAnswer(f"no answer from {base_url}: {str(error) or type(error).__name__}")
    failure.__cause__ = error
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
