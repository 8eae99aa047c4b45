"""What happens to every request before and after its route; plain ASGI, so that bodies and replies stream through."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.connection import LASTING, connection_of
from service.api.failures import respond
from service.api.head import header
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
        given = header(scope, b"x-request-id")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] in _BEGINNINGS:
                status = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            return send(message)

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
            if scope["type"] == "http" and LASTING not in scope["state"]:  # who stays long says nothing of calls
                route = getattr(scope.get("route"), "path_format", "unmatched")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._metrics.observe_request(method, route, status, time.perf_counter() - begun_s)


Check = Callable[[Scope], ServiceError | None]
"""Says what speaks against a call, as far as its head tells."""


class Gate:
    """Refuses calls that something speaks against.

    Args:
        app: Gets all others.
        checks: Asked in turn.
        metrics: Counts refusals.
    """

    def __init__(self, app: ASGIApp, checks: Sequence[Check], metrics: Metrics) -> None:
        self._app = app
        self._checks = checks
        self._metrics = metrics

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        for check in self._checks:
            error = check(scope)
            if error is not None:
                self._metrics.count_errors([error])
                response = respond(error, scope["state"]["request_id"])
                if CROWDED in scope["state"]:
                    response.headers["Connection"] = "close"
                return response(scope, receive, send)
        return self._app(scope, receive, send)


def crowd(max_connections: int) -> Check:
    """Refuse what comes over connections beyond their bound, but for the two health checks."""

    def check(scope: Scope) -> Overloaded | None:
        if CROWDED not in scope["state"] or scope["path"] in OPEN_PATHS:
            return None
        message = f"{max_connections} connections are open, which is the most that may be"
        return Overloaded(message, max_connections=max_connections)

    return check


def api_keys(keys: Sequence[str]) -> Check:
    """Refuse callers without one of the keys, but for the two health checks."""
    known = [key.encode() for key in keys]

    def check(scope: Scope) -> Unauthorized | None:
        if scope["path"] in OPEN_PATHS:
            return None
        # Every key is compared, and each in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(sent, key) for sent in _sent_keys(scope) for key in known]
        return None if any(matches) else Unauthorized()

    return check


def _sent_keys(scope: Scope) -> Iterator[bytes]:
    """The keys that a caller sent: in a header, or as a browser's WebSocket can, which sends none of its own."""
    scheme, _, key = header(scope, b"authorization").partition(" ")
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        connection = connection_of(scope)
        length = None if connection is None else connection.body_bytes()
        is_here = length is not None and length <= self._max_bytes
        if is_here or (_STREAMED.fullmatch(scope["path"]) and is_streamed(header(scope, b"content-type"))):
            return self._app(scope, receive, send)
        return self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = header(scope, b"content-length")
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
