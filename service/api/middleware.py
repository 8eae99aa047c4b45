"""What happens to every request before and after its route; plain ASGI, so that bodies and replies stream through."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.connection import LASTING
from service.api.failures import respond
from service.api.ndjson import is_streamed
from service.errors import BodyTooLarge, Overloaded, RequestTimeout, ServiceError, Unauthorized
from service.metrics import Metrics

log = logging.getLogger("stepahead")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_ARCHIVE = re.compile(r"/v1/models/[^/]+(/streams/[^/]+)?/archive")
_STREAMED = re.compile(r"/v1/models/[^/]+/observations")

KEY_SUBPROTOCOL = "stepahead.key."
"""What a subprotocol begins with that is a key: its bytes follow in base64url, without padding."""

CROWDED = "crowded"
"""In the state of a request: its connection is one more than there may be."""

_BEGINNINGS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")


class RequestContext:
    """Gives each request an id, counts and times it, and answers what nothing else caught.

    The id is the caller's ``X-Request-ID`` if it is a plain one, and comes back in the same header.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in _BEGINNINGS:
                status = message.get("status", 101)
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        begun_s = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log.exception("request %s: %s failed", request_id, scope["path"])
            if status:  # the response has begun: all that is left is to break it off
                raise
            self._metrics.count_errors([ServiceError("")])
            await respond(error, request_id)(scope, receive, send_with_id)
        finally:
            if scope["type"] == "http" and not scope["state"].get(LASTING):  # who stays long says nothing of calls
                route = getattr(scope.get("route"), "path_format", "unmatched")
                method = scope["method"] if scope["method"] in METHODS else "other"
                taken_s = time.perf_counter() - begun_s
                self._metrics.requests.labels(method, route, status or "aborted").observe(taken_s)


class Crowd:
    """Refuses what comes over connections beyond their bound, but for the two health checks, and closes these."""

    def __init__(self, app: ASGIApp, max_connections: int, metrics: Metrics) -> None:
        self._app = app
        self._max_connections = max_connections
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or CROWDED not in scope.get("state", {}):
            await self._app(scope, receive, send)
            return
        bound = self._max_connections
        error = Overloaded(f"{bound} connections are open, which is the most that may be", max_connections=bound)
        self._metrics.count_errors([error])
        response = respond(error, scope["state"]["request_id"])
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class ApiKeys:
    """Refuses callers without one of the keys, but for the two health checks; with no keys everybody may call."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], metrics: Metrics) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" or not self._keys or scope["path"] in OPEN_PATHS or self._may(scope):
            await self._app(scope, receive, send)
        else:
            self._metrics.count_errors([Unauthorized()])
            await respond(Unauthorized(), scope["state"]["request_id"])(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        # Every key is compared, and each in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(sent, known) for sent in _sent_keys(scope) for known in self._keys]
        return any(matches)


def _sent_keys(scope: Scope) -> Iterator[bytes]:
    """The keys that a caller sent: in a header, or as a browser's WebSocket can, which sends none of its own."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield key.strip().encode("utf-8", "replace")
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            with suppress(ValueError):
                encoded = offered.removeprefix(KEY_SUBPROTOCOL)
                yield base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)


class BodyLimit:
    """Refuses bodies over a limit, and those that take too long to arrive.

    Their length is refused as it was declared before they are read, else once they are over the limit. Archives have a
    limit of their own. Observations as newline-delimited JSON are bounded by the line, and may take their time.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, max_archive_bytes: int, timeout_s: float, metrics: Metrics
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_archive_bytes = max_archive_bytes
        self._timeout_s = timeout_s
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _STREAMED.fullmatch(scope["path"]) and is_streamed(headers.get("content-type", "")):
            await self._app(scope, receive, send)
            return
        declared = headers.get("content-length", "")
        is_archive = scope["method"] == "PUT" and _ARCHIVE.fullmatch(scope["path"])
        max_bytes = self._max_archive_bytes if is_archive else self._max_bytes
        if declared.isdecimal() and int(declared) > max_bytes:
            await self._refuse(BodyTooLarge(max_bytes), scope, receive, send)
            return
        received_bytes, responding, whole = 0, False, False
        refusal: ServiceError | None = None
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s

        async def receive_bounded() -> Message:
            nonlocal received_bytes, whole, refusal
            try:
                async with asyncio.timeout_at(None if whole or responding else deadline_s):
                    message = await receive()
            except TimeoutError:
                refusal = RequestTimeout("body", self._timeout_s)
                return {"type": "http.disconnect"}
            received_bytes += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received_bytes > max_bytes and not responding:
                refusal = BodyTooLarge(max_bytes)
            return message if refusal is None else {"type": "http.disconnect"}

        async def send_unless_refused(message: Message) -> None:
            nonlocal responding
            if refusal is None:
                responding = True
                await send(message)

        try:
            await self._app(scope, receive_bounded, send_unless_refused)
        except Exception:
            if refusal is None:
                raise
        if refusal is not None:
            await self._refuse(refusal, scope, receive, send)

    async def _refuse(self, error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.count_errors([error])
        response = respond(error, scope["state"]["request_id"])
        if isinstance(error, RequestTimeout):
            response.headers["Connection"] = "close"
        await response(scope, receive, send)
