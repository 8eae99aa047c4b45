"""Every error a caller can be answered with, and the one table of what each becomes on the wire.

ServiceError
├── UnknownModel, UnknownStream            404
├── UnknownSnapshot                        404
├── ModelExists, StreamExists              409
├── SequenceGap, SequenceStale             409
├── Superseded                             409   of a connection whose feed another one carries
├── InvalidItem, InvalidSpec               422
├── InvalidArchive, ArchiveTooLarge        422
├── InvalidRequest                         422   a path, query or envelope that fits no call
├── NotFound                               404   no call has this path
├── MethodNotAllowed                       405
├── RequestTimeout, SlowReader             408
├── BodyTooLarge                           413
├── Malformed                              400   no HTTP
├── HeadTooLarge                           431
├── Unauthorized                           401
├── ForbiddenOrigin                        403
├── Overloaded                             429   with Retry-After
├── DamagedSnapshot                        500   what was kept cannot be read; nothing was changed
├── WeightsLost                            500   all that the weights could be recovered from is damaged
├── UnreadableFormat                       500   another version of the service wrote the weights
└── Unavailable                            503   with Retry-After
    ├── StoreUnavailable
    │   ├── StoreFull                            it has no room; nothing was written
    │   ├── LeaseLost                            another owner took the partition; nothing was written
    │   └── TakenOver                            another owner has it, and it is not taken back yet
    └── Draining
"""

from __future__ import annotations

from typing import Any, ClassVar

MAX_ECHO = 100
"""Most characters of a caller's text that a message repeats."""


MAX_MESSAGE = 1000
"""Most characters of a message, whoever wrote it."""

CLOSE_CODES = {
    "internal": 1011,
    "body_too_large": 1009,
    "draining": 1012,
    "overloaded": 1013,
    "store_unavailable": 1013,
}
"""How a WebSocket ends of an error, by its code; of all others with 4000 and their status."""

MAX_REASON_BYTES = 123
"""Most bytes of the reason that a WebSocket ends with, as the protocol has it."""


def brief(text: str, most: int = MAX_ECHO) -> str:
    """The text, cut where it is too long to be repeated."""
    return text if len(text) <= most else text[: most - 1] + "…"


class ServiceError(Exception):
    """Base of all errors that carry a contract code; ``data`` is merged into the error object."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry_after_s: int | None = None

    def __init__(self, message: str, **data: Any) -> None:
        self.message = brief(message, MAX_MESSAGE)
        super().__init__(self.message)
        self.data = data

    @property
    def close_code(self) -> int:
        """What a WebSocket is closed with that ends of this error."""
        return CLOSE_CODES.get(self.code, 4000 + self.status)

    @property
    def close_reason(self) -> str:
        """The code and as much of the message as a close frame holds."""
        return f"{self.code}: {self.message}".encode()[:MAX_REASON_BYTES].decode(errors="ignore")

    def to_dict(self, request_id: str) -> dict[str, Any]:
        """The contract's error object."""
        error = {"code": self.code, "message": self.message, "request_id": request_id, **self.data}
        if self.retry_after_s is not None:
            error["retry_after_s"] = self.retry_after_s
        return {"error": error}


class UnknownModel(ServiceError):
    """No model of that name."""

    code, status = "unknown_model", 404

    def __init__(self, model: str) -> None:
        super().__init__(f"no model {brief(model)!r}", model=brief(model))


class UnknownStream(ServiceError):
    """The model has no such stream."""

    code, status = "unknown_stream", 404

    def __init__(self, model: str, stream: str) -> None:
        super().__init__(f"model {brief(model)!r} has no stream {brief(stream)!r}", model=model, stream=stream)


class UnknownSnapshot(ServiceError):
    """No snapshot of that id is kept."""

    code, status = "unknown_snapshot", 404

    def __init__(self, snapshot: str) -> None:
        super().__init__(f"no snapshot {brief(snapshot)!r}", snapshot=brief(snapshot))


class ModelExists(ServiceError):
    """A model of that name has another spec, or is there where one was to be created."""

    code, status = "model_exists", 409

    def __init__(self, model: str, how: str = "with another spec") -> None:
        super().__init__(f"model {model!r} exists {how}", model=model)


class StreamExists(ServiceError):
    """The model has a stream of that name already."""

    code, status = "stream_exists", 409

    def __init__(self, model: str, stream: str) -> None:
        super().__init__(f"model {model!r} has a stream {brief(stream)!r} already", model=model, stream=brief(stream))


class SequenceGap(ServiceError):
    """An item came before the one that precedes it."""

    code, status = "sequence_gap", 409

    def __init__(self, stream: str, expected: int, received: int) -> None:
        super().__init__(
            f"stream {brief(stream)!r} expects item {expected}, got {received}",
            stream=stream, expected=expected, received=received,
        )  # fmt: skip


class SequenceStale(ServiceError):
    """The item was applied long ago and its reply is no longer kept."""

    code, status = "sequence_stale", 409

    def __init__(self, stream: str, expected: int, received: int) -> None:
        super().__init__(
            f"stream {brief(stream)!r} expects item {expected}; "
            f"item {received} was applied, its reply is no longer kept",
            stream=stream, expected=expected, received=received,
        )  # fmt: skip


class InvalidItem(ServiceError):
    """The item does not fit the model's fields; nothing was changed."""

    code, status = "invalid_item", 422


class InvalidSpec(ServiceError):
    """The model spec is malformed or out of bounds."""

    code, status = "invalid_spec", 422


class InvalidArchive(ServiceError):
    """The bytes are no archive, or one that does not fit; nothing was changed."""

    code, status = "invalid_archive", 422


class ArchiveTooLarge(ServiceError):
    """An archive of all that was asked for would be over the limit."""

    code, status = "archive_too_large", 422

    def __init__(self, n_bytes: int, max_archive_bytes: int) -> None:
        super().__init__(
            f"the archive would take some {n_bytes} bytes, at most {max_archive_bytes} may be: leave the streams out, "
            "export them one by one, or raise max_archive_bytes",
            max_archive_bytes=max_archive_bytes,
        )


class InvalidRequest(ServiceError):
    """The path, the query or the envelope of the body fits no call."""

    code, status = "invalid_request", 422


class NotFound(ServiceError):
    """No call has this path."""

    code, status = "not_found", 404


class MethodNotAllowed(ServiceError):
    """The path takes other methods."""

    code, status = "method_not_allowed", 405


class BodyTooLarge(ServiceError):
    """The request body is over the limit."""

    code, status = "body_too_large", 413

    def __init__(self, limit_bytes: int, what: str = "body") -> None:
        super().__init__(f"the {what} is over {limit_bytes} bytes", limit_bytes=limit_bytes)


class Malformed(ServiceError):
    """What came is no HTTP request."""

    code, status = "invalid_request", 400


class HeadTooLarge(ServiceError):
    """The request's headers are over the limit."""

    code, status = "head_too_large", 431

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the headers are over {limit_bytes} bytes", limit_bytes=limit_bytes)


class Unauthorized(ServiceError):
    """No valid API key was sent."""

    code, status = "unauthorized", 401

    def __init__(self) -> None:
        super().__init__("send a valid API key as 'Authorization: Bearer KEY'")


class ForbiddenOrigin(ServiceError):
    """A page of another site made a browser call."""

    code, status = "forbidden_origin", 403

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"pages of {brief(origin)!r} may not call; allowed_origins says which may besides the service's own",
            origin=brief(origin),
        )


class Overloaded(ServiceError):
    """A bound was reached; the item was not accepted.

    Args:
        message: Which one.
        retry_after_s: Seconds until there may be room, at least 1.
        data: The bound, by its setting's name.
    """

    code, status = "overloaded", 429

    def __init__(self, message: str, *, retry_after_s: int = 1, **data: Any) -> None:
        super().__init__(message, **data)
        self.retry_after_s = max(1, retry_after_s)


class RequestTimeout(ServiceError):
    """A part of the request took too long to arrive; nothing was changed."""

    code, status = "request_timeout", 408

    def __init__(self, part: str, limit_s: float) -> None:
        super().__init__(f"the {part} took over {limit_s:g} seconds to arrive", limit_s=limit_s)


class SlowReader(ServiceError):
    """The caller did not read what it was answered."""

    code, status = "slow_reader", 408

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"nothing was read for over {limit_s:g} seconds", limit_s=limit_s)


class Superseded(ServiceError):
    """Another connection of the same feed took over; the one before takes no more."""

    code, status = "superseded", 409

    def __init__(self) -> None:
        super().__init__("another connection carries this feed now")


class DamagedSnapshot(ServiceError):
    """A snapshot that was kept cannot be read; nothing was changed."""

    code = "damaged_snapshot"

    def __init__(self, snapshot: str, why: str) -> None:
        super().__init__(f"the kept snapshot {brief(snapshot)!r} cannot be restored: {why}", snapshot=snapshot)


class WeightsLost(ServiceError):
    """No snapshot of a partition's weights can be read, and the redo log does not reach back to the first update."""

    code = "weights_lost"

    def __init__(self, partition: str) -> None:
        super().__init__(
            f"the weights of partition {partition!r} cannot be recovered: no snapshot can be read, and the redo log "
            "does not reach back to the first update. Bring back the store's data from a backup, or restore a snapshot "
            "that was kept of the model, or delete the model and create it anew",
            partition=partition,
        )


class UnreadableFormat(ServiceError):
    """Stored weights are of a format that this version of the service does not read; nothing was changed."""

    code = "unreadable_format"

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be read: {why}. Run the version of the service that wrote it")


class Unavailable(ServiceError):
    """The service cannot do this now; the same call may work later."""

    status, retry_after_s = 503, 1


class StoreUnavailable(Unavailable):
    """The store did not answer in time, or refused; the outcome of a commit is then unknown."""

    code = "store_unavailable"
    is_final: ClassVar[bool] = False
    """Whether nothing was written, and asking again at once is of no use."""


class StoreFull(StoreUnavailable):
    """The store has no room; nothing was written."""

    is_final = True
    retry_after_s = 10

    def __init__(self) -> None:
        super().__init__("the store is full")


class LeaseLost(StoreUnavailable):
    """Another owner took the partition; nothing was written."""

    is_final = True

    def __init__(self, partition: str) -> None:
        super().__init__(f"partition {partition!r} was taken over by another owner")


class TakenOver(StoreUnavailable):
    """Another owner has the partition; this one can have it in ``retry_after_s`` seconds at the earliest."""

    is_final = True

    def __init__(self, model: str, retry_after_s: int) -> None:
        super().__init__(f"another service on the same store has model {model!r}")
        self.retry_after_s = retry_after_s


class Draining(Unavailable):
    """The service is shutting down and takes no new items."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("the service is shutting down")
