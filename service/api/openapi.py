"""The API's own documentation, with what concerns every call: the request's id, and the key where one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from fastapi import FastAPI

from service.api.routes import error_docs
from service.api.streams import HISTORY
from service.errors import Unauthorized
from service.settings import Settings

_REQUEST_ID = {
    "description": "The caller's `X-Request-ID` if it sent a plain one, else one made here.",
    "schema": {"type": "string"},
    "required": True,
}
_CHALLENGE = {"description": "How to send a key.", "schema": {"type": "string"}, "required": True}
_SCHEME = "key"


def install(app: FastAPI, open_paths: frozenset[str], settings: Settings) -> None:
    """Let the application document what its middleware does, and the bounds it is set to.

    Args:
        app: Changed.
        open_paths: Answered without a key.
        settings: Say whether all others ask for one, and how far a prediction may reach.
    """
    app.openapi = cache(partial(_describe, app.openapi, open_paths, settings))  # type: ignore[method-assign]


def _describe(describe: Callable[[], dict[str, Any]], open_paths: frozenset[str], settings: Settings) -> dict[str, Any]:
    document, with_keys = describe(), bool(settings.keys)
    for path, operation in _operations(document):
        if with_keys and path not in open_paths:
            _ask_for_key(operation)
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "horizon":
                parameter["schema"]["maximum"] = settings.max_horizon
            if parameter["name"] == "limit" and path.endswith("/history"):
                kept = settings.kept_replies
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": kept, "default": min(HISTORY, kept)}
        for response in operation["responses"].values():
            response.setdefault("headers", {})["X-Request-ID"] = _REQUEST_ID
    if with_keys:
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_SCHEME] = {"type": "http", "scheme": "bearer", "description": "One of the service's API keys."}
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((path, operation) for path, item in document["paths"].items() for operation in item.values())


def _ask_for_key(operation: dict[str, Any]) -> None:
    operation["security"] = [{_SCHEME: []}]
    documented = error_docs(Unauthorized)[401]
    operation["responses"]["401"] = {
        "description": documented["description"],
        "headers": {"WWW-Authenticate": _CHALLENGE},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    }
