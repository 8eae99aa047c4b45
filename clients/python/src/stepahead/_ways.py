"""Which way a feed takes to the server, and what it needs for it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import httpx

from stepahead import _wire as wire
from stepahead._acarriers import AsyncRequestCarrier, AsyncSocketCarrier
from stepahead._afeed import AsyncCarrier, AsyncFeed, Rows
from stepahead._carriers import RequestCarrier, SocketCarrier
from stepahead._core import Core, asking
from stepahead._feed import Carrier, Feed
from stepahead._lane import FeedTurn
from stepahead._link import Link, NdjsonLink, Target, WebSocketLink
from stepahead._pipeline import MAX_FRAMES, Pipeline
from stepahead._rows import Errors, Outcome, Row, Via
from stepahead._turns import AsyncTurn, Holder, Turn

if TYPE_CHECKING:
    from stepahead._adriver import AsyncDriver
    from stepahead._driver import Driver

_SENT = ("authorization", "user-agent")
"""Headers of every request that the handshake of a connection has too."""


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are observed; see :meth:`stepahead.Model.observe_many`.

    Raises:
        ValueError: If there is no such way.
    """

    errors: Errors
    chunk: int
    experts: bool
    resume: bool
    via: Via | None

    def __post_init__(self) -> None:
        if self.via not in {None, "websocket", "ndjson", "requests"}:
            raise ValueError(f"via is 'websocket', 'ndjson', 'requests' or None, got {self.via!r}")
        if self.errors not in {"raise", "yield"}:
            raise ValueError(f"errors is 'raise' or 'yield', got {self.errors!r}")
        if self.chunk < 1:
            raise ValueError(f"chunk is at least 1, got {self.chunk}")


def feed(client: Driver, model: str, rows: Iterable[Row], options: Options) -> Iterator[Outcome]:
    """Feed rows, and give what came of each in their order."""
    via, params = _via(client, options), asking(options.experts)

    def turn(stream: str) -> Turn:
        return client._locks.of(model, [stream])[0]

    def requests() -> Carrier:
        return RequestCarrier(client._send, model, params)

    carrier: Carrier
    if via == "requests":
        carrier = requests()
    else:
        target, link = _target(client._http, model, options, via), _LINKS[via]
        carrier = SocketCarrier(target, link, client._http.timeout.connect)
    other = requests if options.via is None else None
    driver = Feed(
        lambda holder: _pipeline(client._core, model, turn, holder, options, via),
        turn,
        carrier,
        other,
        client._http.timeout.read,
    )
    return driver.run(rows)


def async_feed(client: AsyncDriver, model: str, rows: Rows, options: Options) -> AsyncGenerator[Outcome, None]:
    """Feed rows, and give what came of each in their order."""
    via, params = _via(client, options), asking(options.experts)

    def turn(stream: str) -> AsyncTurn:
        return client._locks.of(model, [stream])[0]

    def requests() -> AsyncCarrier:
        return AsyncRequestCarrier(client._send, model, params)

    carrier: AsyncCarrier
    if via == "requests":
        carrier = requests()
    else:
        target, link = _target(client._http, model, options, via), _LINKS[via]
        carrier = AsyncSocketCarrier(target, link, client._http.timeout.connect)
    driver = AsyncFeed(
        lambda holder: _pipeline(client._core, model, turn, holder, options, via),
        carrier,
        requests if options.via is None else None,
        client._http.timeout.read,
    )
    return driver.run(rows)


def _pipeline(
    core: Core, model: str, turn: Callable[[str], FeedTurn], holder: Holder, options: Options, via: Via
) -> Pipeline:
    return Pipeline(
        core,
        model,
        turn,
        holder,
        errors=options.errors,
        chunk=options.chunk,
        resume=options.resume,
        max_frames=1 if via == "requests" else MAX_FRAMES,
    )


_LINKS: dict[Via, Callable[[Target], Link]] = {"websocket": WebSocketLink, "ndjson": NdjsonLink}


def _via(client: Driver | AsyncDriver, options: Options) -> Via:
    """The way to begin with: requests where the caller brought a transport, or where requests go through a proxy."""
    if options.via is not None:
        return options.via
    url = client._http.base_url
    through_proxy = not {url.scheme, "all"}.isdisjoint(getproxies()) and not proxy_bypass(url.host)
    return "requests" if client._own_transport or through_proxy else "websocket"


def _target(http: httpx.Client | httpx.AsyncClient, model: str, options: Options, via: Via) -> Target:
    path = wire.path("models", model, "socket" if via == "websocket" else "observations")
    headers = {name.title(): http.headers[name] for name in _SENT if name in http.headers}
    params = {"feed": uuid.uuid4().hex, **asking(options.experts)}
    return Target(http.base_url, path, urlencode(params), headers)
