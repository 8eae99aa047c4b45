"""The one table from what was raised to what a caller gets."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.api.routes import describe, json_response
from service.errors import InvalidRequest, MethodNotAllowed, NotFound, ServiceError

log = logging.getLogger("stepahead")

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def install(app: FastAPI) -> None:
    """Answer everything that a route may raise with the contract's error object."""
    app.add_exception_handler(ServiceError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)


def name(error: Exception) -> ServiceError:
    """The named error for whatever was raised; what has no name is ``internal`` and tells nothing of the inside."""
    match error:
        case ServiceError():
            return error
        case HTTPException(status_code=404):
            return NotFound("no call has this path")
        case HTTPException(status_code=405):
            return MethodNotAllowed("this path does not take this method")
        case HTTPException():
            return InvalidRequest(str(error.detail))
        case RequestValidationError():
            return InvalidRequest(describe(error.errors()))
        case _:
            return ServiceError("something broke; the service's log says what, under this request_id")


def respond(error: Exception, request_id: str) -> Response:
    """The response to a call that raised ``error``."""
    named = name(error)
    response = json_response(named.to_dict(request_id), named.status)
    if named.retry_after_s is not None:
        response.headers["Retry-After"] = str(named.retry_after_s)
    if named.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


async def _answer(request: Request, error: Any) -> Response:
    named = name(error)
    request.app.state.metrics.count_errors([named])
    response = respond(error, request.state.request_id)
    if isinstance(named, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """The methods that any route of the request's path takes; what was raised knows only those of the first."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [name for name, scope in scopes.items() if any(r.matches(scope)[0] is Match.FULL for r in routes)]
