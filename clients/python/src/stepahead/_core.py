"""Every call of the service, without I/O.

A call is a *program*: a generator that yields what is to be done (send a :class:`Request`, wait a :class:`Pause`) and
is sent what came of it. ``Client`` and ``AsyncClient`` only drive programs, so that numbering, retries and errors
exist once.

The core numbers items itself. A stream's next sequence is forgotten before an item leaves and known again once its
reply is here: after any failure the next call asks the server.

Another writer of the same stream shows in a duplicate that answers an item's first attempt: its number was taken, and
the item is sent again under another. After an attempt whose outcome is unknown a duplicate is the expected answer; that
somebody else took the number then cannot be told.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from stepahead import _wire as wire
from stepahead._recent import Recent
from stepahead.errors import NoAnswer, SequenceGap, SequenceStale, SequenceTaken, StepaheadError, UnknownStream
from stepahead.types import Belief, Forecast, ModelInfo, Reply, StreamSummary

T = TypeVar("T")

MAX_STREAMS = 20_000
"""Streams whose next sequence is known; a forgotten one costs a request."""
MAX_MODELS = 1_000
"""Models of which it is known whether others feed them."""
MAX_TRIES = 64
"""Numbers that an item is given before :class:`SequenceTaken` is raised."""
SOLE_AFTER = 16
"""Requests without another writer after which this client takes itself for a model's only one."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``content`` is JSON, ``None`` for no body."""

    method: str
    path: str
    content: bytes | None = None
    params: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long before going on."""

    seconds: float


@dataclass(slots=True)
class Sent:
    """What is known of a call's attempts.

    Args:
        in_doubt: Whether an attempt before the last may have been done.
    """

    in_doubt: bool = False


Program = Generator[Request | Pause, Answer | NoAnswer, T]
"""Driven with ``send`` after a request and ``next`` after a pause."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed call is sent again.

    Args:
        retries: How often; 0 for never.
        base_s: First delay; it doubles each time.
        cap_s: Longest delay of its own.
        patience_s: Longest wait that the server may ask for; when it asks for more, the error is raised at once.
    """

    retries: int = 5
    base_s: float = 0.2
    cap_s: float = 5.0
    patience_s: float = 60.0

    def delay_s(self, attempt: int, error: StepaheadError, jitter: float) -> float | None:
        """Seconds until the next attempt; ``None`` when there is none.

        Args:
            attempt: How often the call was sent again already.
            error: What came of it.
            jitter: In [0, 1), so that many clients do not come back at once.
        """
        asked_s = error.retry_after_s or 0.0
        if not error.retried or attempt >= self.retries or asked_s > self.patience_s:
            return None
        backoff_s = min(self.cap_s, self.base_s * 2.0**attempt) * (1 + jitter) / 2
        return max(backoff_s, asked_s * (1 + jitter / 4))


def failure(answer: Answer | NoAnswer) -> StepaheadError:
    """The error that an unsuccessful answer stands for."""
    if isinstance(answer, NoAnswer):
        return answer
    retry_after = answer.headers.get("retry-after", "")
    retry_after_s = float(retry_after) if retry_after.isdecimal() else None
    try:
        data = wire.read(lambda body: {**body["error"]}, answer.content)
    except StepaheadError:  # a proxy's page, not the service
        data = {"message": f"HTTP {answer.status}", "request_id": answer.headers.get("x-request-id")}
    return wire.item_error(data, answer.status, retry_after_s)


class Core:
    """All calls as programs, and what is known of the sequences."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self._next: Recent[tuple[str, str], int] = Recent(MAX_STREAMS)
        self._undisputed: Recent[str, float] = Recent(MAX_MODELS)  # requests of many; -inf once another writer was met

    def call(self, request: Request, parse: Callable[[Any], T], sent: Sent | None = None) -> Program[T]:
        """Send one request until it is answered or the policy gives up.

        Args:
            request: Sent again as it is.
            parse: Reads the answer's JSON.
            sent: Is told of attempts that are in doubt; ``None`` where nobody asks.

        Raises:
            StepaheadError: The last failure.
        """
        attempt = 0
        while True:
            answer = yield request
            if isinstance(answer, Answer) and 200 <= answer.status < 300:
                return wire.read(parse, answer.content)
            error = failure(answer)
            if attempt and request.method == "DELETE" and error.status == 404:
                return parse(None)  # an attempt whose answer was lost has done it
            delay_s = self.delay_s(attempt, error)
            if delay_s is None:
                raise error
            if sent is not None:
                sent.in_doubt |= error.outcome_unknown
            yield Pause(delay_s)
            attempt += 1

    def delay_s(self, attempt: int, error: StepaheadError) -> float | None:
        """The policy's delay with today's jitter."""
        return self.policy.delay_s(attempt, error, random.random())

    def health(self) -> Program[dict[str, Any]]:
        """Whether the service is ready."""
        return self.call(Request("GET", "/readyz"), dict)

    def create_model(
        self, name: str, fields: Mapping[str, wire.FieldKind], spec: Mapping[str, Any]
    ) -> Program[ModelInfo]:
        """Create a model; the same spec again changes nothing."""
        body = {"fields": wire.fields_to_wire(fields), **spec}
        return self.call(Request("PUT", wire.path("models", name), wire.dumps(body)), wire.model)

    def update_model(self, name: str, changes: Mapping[str, Any]) -> Program[ModelInfo]:
        """Change what may change while a model runs."""
        return self.call(Request("PATCH", wire.path("models", name), wire.dumps(changes)), wire.model)

    def delete_model(self, name: str) -> Program[None]:
        """Delete a model with all its streams."""
        self._next.drop_where(lambda key: key[0] == name)
        self._undisputed.drop(name)
        return self.call(Request("DELETE", wire.path("models", name)), wire.nothing)

    def model(self, name: str) -> Program[ModelInfo]:
        """Describe a model."""
        return self.call(Request("GET", wire.path("models", name)), wire.model)

    def models(self) -> Program[list[ModelInfo]]:
        """Describe all models."""
        return self.call(Request("GET", wire.path("models")), wire.models)

    def streams(self, model: str, cursor: str | None, limit: int) -> Program[tuple[list[StreamSummary], str | None]]:
        """One page of streams and the cursor of the next, ``None`` at the end."""
        params: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            params["cursor"] = cursor
        return self.call(Request("GET", wire.path("models", model, "streams"), params=params), wire.summaries)

    def summary(self, model: str, stream: str) -> Program[StreamSummary]:
        """Where a stream stands."""
        return self.call(Request("GET", wire.path("models", model, "streams", stream)), wire.summary)

    def belief(self, model: str, stream: str) -> Program[Belief]:
        """Inspect a stream's belief."""
        return self.call(Request("GET", wire.path("models", model, "streams", stream, "belief")), _belief)

    def predict(self, model: str, stream: str, horizon: int, *, experts: bool = False) -> Program[Forecast]:
        """Predict some steps ahead."""
        path = wire.path("models", model, "streams", stream, "prediction")
        return self.call(Request("GET", path, params={"horizon": horizon, **asking(experts)}), wire.forecast)

    def delete_stream(self, model: str, stream: str) -> Program[None]:
        """Delete a stream."""
        self._next.drop((model, stream))
        return self.call(Request("DELETE", wire.path("models", model, "streams", stream)), wire.nothing)

    def observe(
        self,
        model: str,
        stream: str,
        item: Mapping[str, Any],
        timestamp: datetime | str | None,
        sequence: int | None,
        *,
        experts: bool = False,
    ) -> Program[Reply]:
        """Observe one item; ``sequence`` ``None`` numbers it on the stream's last.

        Raises:
            SequenceTaken: If other writers were faster every time.
            StepaheadError: The last failure.
        """
        path = wire.path("models", model, "streams", stream, "observations")
        body: dict[str, Any] = {"item": wire.item_to_wire(item), "timestamp": wire.timestamp_to_wire(timestamp)}
        n_taken = 0
        while True:
            number = (yield from self.next_sequence(model, stream)) if sequence is None else sequence
            self.forget(model, [stream])
            request = Request("POST", path, wire.dumps({**body, "sequence": number}), asking(experts))
            sent = Sent()
            outcome: Reply | StepaheadError
            try:
                outcome = yield from self.call(request, wire.reply, sent)
            except StepaheadError as error:
                outcome = error
            if sequence is None and not sent.in_doubt and was_taken(outcome):
                n_taken += 1
                if n_taken == MAX_TRIES:
                    raise taken(stream, number)
                self.meet_other_writer(model, stream, number, n_taken)
            elif sequence is None and isinstance(outcome, SequenceGap) and forgotten(outcome):
                self._next.put((model, stream), 1)
            elif isinstance(outcome, StepaheadError):
                outcome.data.update(stream=stream, sequence=number)
                raise outcome
            else:
                self.remember(model, outcome)
                return outcome

    def next_sequence(self, model: str, stream: str) -> Program[int]:
        """The sequence that a stream's next item takes; asks the server when it is not known."""
        known = self._next.get((model, stream))
        if known is not None:
            return known
        try:
            summary = yield from self.summary(model, stream)
        except UnknownStream:
            return 1
        return summary.sequence + 1

    def forget(self, model: str, streams: Iterable[str]) -> None:
        """Know no sequences of these streams: items are on their way."""
        for stream in streams:
            self._next.drop((model, stream))

    def remember(self, model: str, reply: Reply) -> None:
        """Know the sequence after a reply's; a duplicate's tells nothing of where the stream stands."""
        if reply.duplicate:
            self.forget(model, [reply.stream])
        else:
            self._next.put((model, reply.stream), reply.sequence + 1)

    def meet_other_writer(self, model: str, stream: str, number: int, n_taken: int) -> None:
        """Note that somebody else took a number, the ``n_taken``-th of one item.

        The number after it is tried at once, as a writer that asks first is always behind one that does not; every
        second time the server is asked, as the other may be far ahead.
        """
        self.doubt_sole(model)
        if n_taken % 2:
            self._next.put((model, stream), number + 1)
        else:
            self._next.drop((model, stream))

    def count_undisputed(self, model: str) -> None:
        """Note that a request of many met no other writer."""
        self._undisputed.put(model, (self._undisputed.get(model) or 0.0) + 1)

    def doubt_sole(self, model: str) -> None:
        """Know that others feed a model too."""
        self._undisputed.put(model, -math.inf)

    def seems_sole(self, model: str) -> bool:
        """Whether nobody else seems to feed a model."""
        return (self._undisputed.get(model) or 0.0) >= SOLE_AFTER


def asking(experts: bool) -> dict[str, str | int]:
    """The parameter that asks for what each expert said; none where it is not asked for."""
    return {"experts": "true"} if experts else {}


def was_taken(outcome: Reply | StepaheadError) -> bool:
    """Whether the answer to an item's first attempt shows that its number was somebody else's."""
    return outcome.duplicate if isinstance(outcome, Reply) else isinstance(outcome, SequenceStale)


def taken(stream: str, number: int) -> SequenceTaken:
    """The error of an item that is not tried under another number."""
    message = f"another writer took sequence {number} of stream {stream!r}; the item was not applied"
    return SequenceTaken(message, data={"stream": stream, "received": number})


def forgotten(error: SequenceGap) -> bool:
    """Whether the server knows nothing of the stream (it was deleted or has expired), which then begins anew."""
    return error.expected == 1


def _belief(data: Mapping[str, Any]) -> Belief:
    return Belief({**data})
