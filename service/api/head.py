"""What the head of a request says, read where it lies."""

from __future__ import annotations

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str:
    """The first value of a header, named in lower case; empty if it was not sent."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def headers(scope: Scope, name: bytes) -> list[str]:
    """All values of a header, named in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
