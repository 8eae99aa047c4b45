"""What calls are made of, without I/O.

A call is a *program*: a generator that yields what is to be done (send a :class:`Request`, wait a :class:`Pause`) and
is sent what came of it. The clients only drive programs, so that numbering, retries and errors exist once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stepahead import _wire as wire
from stepahead.errors import NoAnswer, StepaheadError

T = TypeVar("T")

JSON = "application/json"
Params = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Args:
        method: In capitals.
        path: Percent-encoded.
        content: The body, or the file that holds it; ``None`` for none.
        params: The query.
        headers: Besides those that every request has.
        media_type: Of the body.
        save_as: Where the body of a good answer goes instead of into memory; what was there is replaced once it is
            whole.
        least_read_s: The answer's first byte, and each after it, may take this long whatever the client's timeout.
        most_s: Seconds that each part of the call may take, where the client's timeout is longer; ``None`` for that.
    """

    method: str
    path: str
    content: bytes | Path | None = None
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    save_as: Path | None = None
    least_read_s: float = 0.0
    most_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300


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
        if attempt >= self.retries or asked_s > self.patience_s:
            return None
        return self.backoff_s(attempt, error, jitter)

    def backoff_s(self, attempt: int, error: StepaheadError, jitter: float) -> float | None:
        """The same for a call that is sent again however often; ``None`` where that is of no use."""
        if not error.retried or "max_snapshots" in error.data:  # room for a snapshot is made by deleting one
            return None
        asked_s = error.retry_after_s or 0.0
        backoff_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt, 64)) * (1 + jitter) / 2
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


class Caller:
    """Sends requests by a policy."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    def call(self, request: Request, parse: Callable[[Any], T], sent: Sent | None = None) -> Program[T]:
        """Send one request until it is answered or the policy gives up.

        Args:
            request: Sent again as it is.
            parse: Reads the answer's JSON.
            sent: Is told of attempts that are in doubt; ``None`` where nobody asks.

        Raises:
            StepaheadError: The last failure.
        """
        answer = yield from self.fetch(request, sent)
        return wire.read(parse, answer.content)

    def fetch(self, request: Request, sent: Sent | None = None) -> Program[Answer]:
        """The same, for an answer that is not JSON."""
        attempt = 0
        while True:
            answer = yield request
            if isinstance(answer, Answer) and answer.is_success:
                return answer
            error = failure(answer)
            if attempt and request.method == "DELETE" and error.status == 404:
                return Answer(204, {}, b"")  # an attempt whose answer was lost has done it
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
