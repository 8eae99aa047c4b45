"""Everything a call can raise besides ``ValueError`` and ``TypeError`` for bad arguments.

StepaheadError
├── NoAnswer                               the request or its answer was lost      retried
├── BadAnswer                              something answered, but not in the contract's form
├── UnknownModel, UnknownStream            404
├── UnknownSnapshot                        404
├── ModelExists, StreamExists              409
├── SequenceError                          409  carries expected and received
│   ├── SequenceGap                             an item before this one is missing
│   ├── SequenceStale                           applied long ago; its reply is no longer kept
│   └── SequenceTaken                           other writers took the numbers; raised by the client itself
├── InvalidItem, InvalidSpec               422
├── InvalidArchive, ArchiveTooLarge        422
├── InvalidRequest                         422  a path, query or envelope that fits no call
├── BodyTooLarge                           413
├── HeadTooLarge                           431
├── RequestTimeout                         408  the request was too slow           retried
├── SlowReader                             408  the answers were read too slowly
├── Superseded                             409  another connection carries the feed
├── Unauthorized                           401
├── ForbiddenOrigin                        403  of a page in a browser
├── NotFound, MethodNotAllowed             404, 405  an older server, or none of these
├── Overloaded                             429                                     retried
├── Unavailable                            502, 503, 504                           retried
│   ├── StoreUnavailable
│   └── Draining
└── InternalError                          500
    └── DamagedSnapshot, WeightsLost, UnreadableFormat

A code that this version does not know becomes the class of its status, else :class:`StepaheadError` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class StepaheadError(Exception):
    """Base of all errors of this package.

    Args:
        message: One line for a person.
        code: The contract's code; ``None`` for the class's own.
        status: Of the HTTP answer; ``None`` when there was none, or when one item of many was refused.
        request_id: What the server's log calls this request.
        retry_after_s: Seconds the server asks to wait; ``None`` when it does not ask.
        data: What else the error carries, such as ``expected`` and ``received``.
    """

    code: str = "error"
    retried: bool = False
    """Whether the same call may work later; every call of this package is safe to send again."""
    outcome_unknown: bool = False
    """Whether the call may have been done all the same; of ``ModelExists`` and ``StreamExists``, whether an attempt of
    this very call, whose answer was lost, may have created what is there."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.data: dict[str, Any] = dict(data or {})


class NoAnswer(StepaheadError):
    """The request or its answer was lost: refused, broken or timed out. Whether it was done is unknown."""

    code, retried = "no_answer", True
    outcome_unknown = True


class BadAnswer(StepaheadError):
    """Something answered, but not in the contract's form: perhaps no stepahead server lives at this address."""

    code = "bad_answer"


class UnknownModel(StepaheadError):
    """No model of that name."""

    code = "unknown_model"


class UnknownStream(StepaheadError):
    """The model has no such stream."""

    code = "unknown_stream"


class UnknownSnapshot(StepaheadError):
    """No snapshot of that id is kept."""

    code = "unknown_snapshot"


class ModelExists(StepaheadError):
    """A model of that name has another spec."""

    code = "model_exists"


class StreamExists(StepaheadError):
    """The model has a stream of that name already; see :attr:`StepaheadError.outcome_unknown`."""

    code = "stream_exists"


class SequenceError(StepaheadError):
    """The item's sequence is not the stream's next one; nothing was changed."""

    code = "sequence_error"

    @property
    def expected(self) -> int | None:
        """The sequence that the stream waits for."""
        return _integer(self.data.get("expected"))

    @property
    def received(self) -> int | None:
        """The sequence that was sent."""
        return _integer(self.data.get("received"))


class SequenceGap(SequenceError):
    """An item before this one is missing."""

    code = "sequence_gap"


class SequenceStale(SequenceError):
    """The item was applied long ago and its reply is no longer kept."""

    code = "sequence_stale"


class SequenceTaken(SequenceError):
    """Other writers of the stream took the numbers that this client gave the item; the item was not applied."""

    code = "sequence_taken"


class InvalidItem(StepaheadError):
    """The item does not fit the model's fields; nothing was changed."""

    code = "invalid_item"


class InvalidSpec(StepaheadError):
    """The model spec is malformed or out of bounds."""

    code = "invalid_spec"


class InvalidArchive(StepaheadError):
    """The bytes are no archive, or one that does not fit; nothing was changed."""

    code = "invalid_archive"


class ArchiveTooLarge(StepaheadError):
    """An archive of all that was asked for would be over the server's limit."""

    code = "archive_too_large"


class InvalidRequest(StepaheadError):
    """The path, the query or the envelope of the body fits no call."""

    code = "invalid_request"


class BodyTooLarge(StepaheadError):
    """The request body is over the server's limit; send fewer items at once."""

    code = "body_too_large"


class HeadTooLarge(StepaheadError):
    """The request's headers and address are over the server's limit; ask about fewer streams at once."""

    code = "head_too_large"


class RequestTimeout(StepaheadError):
    """A part of the request took too long to arrive; nothing was changed."""

    code, retried = "request_timeout", True


class SlowReader(StepaheadError):
    """The server ended a connection whose answers were not read for long."""

    code = "slow_reader"


class Superseded(StepaheadError):
    """Another connection took over the feed that this one carried."""

    code = "superseded"


class Unauthorized(StepaheadError):
    """No valid API key was sent."""

    code = "unauthorized"


class ForbiddenOrigin(StepaheadError):
    """The server takes no calls from pages of this origin."""

    code = "forbidden_origin"


class NotFound(StepaheadError):
    """The server has no such call: it may be older than this package."""

    code = "not_found"


class MethodNotAllowed(StepaheadError):
    """The path takes other methods: the server may be older than this package."""

    code = "method_not_allowed"


class Overloaded(StepaheadError):
    """A bound of the server was reached; the item was not accepted."""

    code, retried = "overloaded", True


class Unavailable(StepaheadError):
    """The service cannot do this now. Whether an item was applied is unknown until it is sent again."""

    code, retried = "unavailable", True
    outcome_unknown = True


class StoreUnavailable(Unavailable):
    """The service's store did not answer in time, or refused."""

    code = "store_unavailable"


class Draining(Unavailable):
    """The service is shutting down and takes no new items."""

    code = "draining"


class InternalError(StepaheadError):
    """Something broke in the service; its log says what, under ``request_id``."""

    code = "internal"
    outcome_unknown = True


class DamagedSnapshot(InternalError):
    """A kept snapshot cannot be read; nothing was changed."""

    code = "damaged_snapshot"
    outcome_unknown = False


class WeightsLost(InternalError):
    """The model's weights cannot be recovered; the message says what can be done."""

    code = "weights_lost"
    outcome_unknown = False


class UnreadableFormat(InternalError):
    """Another version of the service wrote what this one cannot read; nothing was changed."""

    code = "unreadable_format"
    outcome_unknown = False


_BY_STATUS: dict[int | None, type[StepaheadError]] = {
    401: Unauthorized,
    408: RequestTimeout,
    413: BodyTooLarge,
    429: Overloaded,
    431: HeadTooLarge,
    500: InternalError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_class(code: str | None, status: int | None) -> type[StepaheadError]:
    """The class of a contract code, else of an HTTP status, else the base."""
    return _BY_CODE.get(code) or _BY_STATUS.get(status, StepaheadError)


def _tree(root: type[StepaheadError]) -> Iterator[type[StepaheadError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


_BY_CODE: dict[str | None, type[StepaheadError]] = {cls.code: cls for cls in _tree(StepaheadError)}
