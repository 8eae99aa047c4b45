"""What all routes share: how a body is read, what a malformed call is answered with, and how JSON leaves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, ClassVar

import orjson
from fastapi import Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from model.spec import NAME_PATTERN
from service.documents import ErrorReply
from service.engines import Engines as EnginesType
from service.errors import (
    BodyTooLarge,
    Draining,
    InvalidItem,
    InvalidRequest,
    InvalidSpec,
    Overloaded,
    RequestTimeout,
    SequenceGap,
    SequenceStale,
    ServiceError,
    StoreUnavailable,
    UnknownModel,
    UnreadableFormat,
    WeightsLost,
    brief,
)
from service.json_body import Unreadable, read_json
from service.schemas import StreamId
from service.settings import Settings as SettingsType


class JsonRequest(Request):
    """A request whose body is read so that a value nobody can take costs the item that has it, not more."""

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            json.JSONDecodeError: If it is no JSON.
        """
        return read_json(await self.body())


class JsonRoute(APIRoute):
    """A route that answers a malformed call with ``refusal``."""

    refusal: ClassVar[type[ServiceError]] = InvalidRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle a request as a :class:`JsonRequest`."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            try:
                return await handle(JsonRequest(request.scope, request.receive))
            except RequestValidationError as error:
                raise self.refusal(describe(error.errors())) from error

        return handle_json


class SpecRoute(JsonRoute):
    """A route that takes a model's spec."""

    refusal = InvalidSpec


class ObservationRoute(JsonRoute):
    """A route that takes items; where the model can take none it says so before it reads them."""

    refusal = InvalidItem

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle a request unless the model is overloaded."""
        handle = super().get_route_handler()

        async def handle_with_room(request: Request) -> Response:
            request.app.state.engines.refuse_if_crowded(request.path_params["model"])
            return await handle(request)

        return handle_with_room


def describe(errors: Sequence[Any]) -> str:
    """One line of pydantic's errors: where, and what is wrong there; of what was sent it repeats little."""
    lines = []
    for error in errors[:MAX_ERRORS]:
        place = brief(".".join(str(part) for part in error["loc"] if part not in {"body", "path", "query"}))
        message = _MESSAGES.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            place, message = "", f"the body is not JSON: {error['ctx']['error']}"
        elif error["loc"] == ("body",) and isinstance(error.get("input"), bytes):
            message = "the body takes JSON with 'Content-Type: application/json'"
        elif error["loc"] == ("body",) and error["type"] == "missing":
            message = "the body is empty; it takes a JSON object"
        elif isinstance(error.get("input"), Unreadable):
            message = error["input"].why
        lines.append(f"{place}: {message}" if place else message)
    return "; ".join(lines)


MAX_ERRORS = 5
"""Most errors told of one request: a caller mends one after the other."""

_MESSAGES = {
    "extra_forbidden": "is not known here, or cannot be given",
    "missing": "is required",
    "model_attributes_type": "takes a JSON object",
    "model_type": "takes a JSON object",
}


def json_response(content: Any, status: int = 200) -> Response:
    """Plain JSON values as a response."""
    return json_bytes(orjson.dumps(content), status)


def json_bytes(content: bytes, status: int = 200) -> Response:
    """JSON that is encoded already, sent as it is."""
    return Response(content, status, media_type="application/json")


def error_docs(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its documentation: by status, with the codes that it may come with."""
    codes: dict[int, list[str]] = {}
    for error in errors:
        codes.setdefault(error.status, []).append(f"`{error.code}`{_WITH.get(error, '')}")
    return {
        status: {"model": ErrorReply, "description": ", ".join(dict.fromkeys(named)) + _ADDED[status]}
        | ({"headers": {"Retry-After": _RETRY_AFTER}} if status in {429, 503} else {})
        for status, named in sorted(codes.items())
    }


BODY = (RequestTimeout, BodyTooLarge)
"""What a call with a body may be answered with."""

ANY = (Overloaded, ServiceError)
"""What every call may be answered with, but for the health checks."""

STORE = (StoreUnavailable, *ANY)
"""What a call that needs the store may be answered with."""

ENGINE = (UnknownModel, WeightsLost, UnreadableFormat, Draining, *STORE)
"""What a call that needs a model in memory may be answered with."""


_RETRY_AFTER = {
    "description": "Seconds to wait before the next try.",
    "schema": {"type": "integer", "minimum": 1},
    "required": True,
}


_WITH: dict[type[ServiceError], str] = {
    SequenceGap: " (with `expected` and `received`)",
    SequenceStale: " (with `expected` and `received`)",
}
_ADDED: dict[int, str] = {
    401: ": no valid API key was sent",
    404: "",
    408: "; nothing was changed, and the connection is closed",
    409: "; nothing was changed",
    413: "; nothing was changed",
    422: "; nothing was changed",
    429: ", with `Retry-After`; nothing was taken",
    500: ": what was stored is damaged or of another version, or something broke; the message says which, and the "
    "service's log more under the `request_id`",
    503: ", with `Retry-After`; after `store_unavailable` it may have been done nevertheless, and the same item with "
    "its `sequence` may be sent again",
}


async def _engines(request: Request) -> EnginesType:  # else it would be called in a thread, which takes longer
    engines: EnginesType = request.app.state.engines
    return engines


async def _settings(request: Request) -> SettingsType:
    settings: SettingsType = request.app.state.settings
    return settings


WithExperts = Annotated[
    bool,
    Query(
        description="Whether each field of the prediction also says, under `experts`, what each expert and the network "
        "alone said of it, and what that weighed."
    ),
]
Engines = Annotated[EnginesType, Depends(_engines)]
Settings = Annotated[SettingsType, Depends(_settings)]
SnapshotId = Annotated[str, Path(description="A snapshot's `id`.", examples=["1"])]
ModelName = Annotated[
    str,
    Path(
        description="A model's name: 1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit.",
        examples=["boiler"],
        json_schema_extra={"pattern": f"^{NAME_PATTERN}$"},
    ),
]
StreamPath = Annotated[StreamId, Path()]
