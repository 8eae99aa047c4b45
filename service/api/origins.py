"""Which sites' pages may call from a browser.

A browser sends a page's origin along, and lets any page open a WebSocket or send a form to any host it can reach: a
service on somebody's own machine would otherwise be open to every site they visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.failures import respond
from service.errors import ForbiddenOrigin
from service.metrics import Metrics

HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; what they answer a browser shows only to pages that are allowed."""

PORTS = {"http": 80, "https": 443}


class Origins:
    """Refuses pages of other sites, but for those allowed, what changes something, and every WebSocket.

    Calls without an ``Origin`` are none of a page's.

    Args:
        app: What it is before.
        allowed: Origins, in lower case; ``*`` for all.
        metrics: Counts refusals.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str], metrics: Metrics) -> None:
        self._app = app
        self._allowed = frozenset(allowed)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" or scope.get("method") in HARMLESS or self._may(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        error = ForbiddenOrigin(Headers(scope=scope)["origin"])
        self._metrics.count_errors([error])
        await respond(error, scope["state"]["request_id"])(scope, receive, send)

    def _may(self, headers: Headers) -> bool:
        origins = [origin.strip().lower() for origin in headers.getlist("origin")]
        return all(self._is_allowed(origin, headers.get("host", "")) for origin in origins)

    def _is_allowed(self, origin: str, host: str) -> bool:
        return "*" in self._allowed or origin in self._allowed or _is_own(origin, host)


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is the host that was called; a port that is its scheme's own need not be named."""
    try:
        page = urlsplit(origin)
        called = urlsplit(f"//{host.lower()}")
        default = PORTS.get(page.scheme)
        if default is None or not page.hostname:
            return False
        return (page.hostname, page.port or default) == (called.hostname, called.port or default)
    except ValueError:  # a port that is no number
        return False


def cors(app: ASGIApp, allowed: Sequence[str]) -> ASGIApp:
    """Let the pages of allowed sites see what they are answered."""
    return CORSMiddleware(
        app,
        allow_origins=list(allowed),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
    )
