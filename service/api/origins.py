"""Which sites' pages may call from a browser.

A browser sends a page's origin along, and lets any page open a WebSocket or send a form to any host it can reach: a
service on somebody's own machine would otherwise be open to every site they visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from service.api.head import header, headers
from service.api.middleware import Check
from service.errors import ForbiddenOrigin

HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; what they answer a browser shows only to pages that are allowed."""

PORTS = {"http": 80, "https": 443}


def origins(allowed: Sequence[str]) -> Check:
    """Refuse to pages of other sites what changes something, and every WebSocket.

    Calls without an ``Origin`` are none of a page's.

    Args:
        allowed: Origins whose pages may, in lower case; ``*`` for all.
    """
    known = frozenset(allowed)

    def check(scope: Scope) -> ForbiddenOrigin | None:
        if scope.get("method") in HARMLESS:
            return None
        sent = headers(scope, b"origin")
        for origin in (origin.strip().lower() for origin in sent):
            if not ("*" in known or origin in known or _is_own(origin, header(scope, b"host"))):
                return ForbiddenOrigin(sent[0])
        return None

    return check


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
