"""A model's events over connections that come and go, as a program: no I/O.

Unlike a call it gives what it reads while it goes on, and its answers arrive in parts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from stepahead import _wire as wire
from stepahead._calls import names
from stepahead._program import Answer, Caller, Params, Pause, Request, failure
from stepahead._sse import Parser
from stepahead.errors import BadAnswer, NoAnswer, StepaheadError
from stepahead.types import Event, Missed

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "Accept": MEDIA_TYPE,
    "Accept-Encoding": "identity",  # whatever packs events holds some back
    "Cache-Control": "no-store",
}
SILENCE_S = 60.0
"""Silence after which a connection is taken for lost; the service sends a heartbeat every 15 seconds."""
AWAY_S = 60.0
"""Waiting for a service that was followed before, as while it is started anew."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request in place of the one before; the answer has a body only where the status is not 200."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Wait for more of what :class:`Open` opened: bytes, ``b""`` at its end."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The service follows for this reader from here on."""


Given = Event | Missed
Follower = Generator[Open | Read | Pause | Opened | Given, Any, None]
"""Sent what came of :class:`Open` (an answer) and :class:`Read` (bytes), or :class:`NoAnswer`; it never returns."""


def follow(caller: Caller, model: str, streams: Iterable[str] | None, after: str | None) -> Follower:
    """Give a model's events until an error that waiting does not change.

    Args:
        caller: Its policy says how often the first connection is sought, and whether one that was lost is sought again:
            that is done for ``AWAY_S`` at least.
        model: Its name.
        streams: Those whose events are given; ``None`` for all.
        after: The id of the last event that is known; ``None`` to begin with the next one.

    Raises:
        StepaheadError: See above.
        ValueError: At once, if ``streams`` names none.
    """
    path = wire.path("models", model, "events")
    params = {} if streams is None else {"stream": names(streams)}
    if streams is not None and not params["stream"]:
        raise ValueError("no stream is named; None stands for all")
    return _follow(caller, path, params, _Standing(after))


@dataclass(slots=True)
class _Standing:
    """What outlasts a connection."""

    last_id: str | None
    was_open: bool = False
    attempt: int = 0
    """How often in a row a connection was sought in vain."""
    waited_s: float = 0.0
    """Since the last one that was of use."""
    retry_s: float = 0.0
    """How long the service asks to wait before the next one."""

    def begin_anew(self) -> None:
        """Have as much patience as at first."""
        self.attempt, self.waited_s = 0, 0.0


def _follow(caller: Caller, path: str, params: Params, standing: _Standing) -> Follower:
    while True:
        headers = dict(HEADERS)
        if standing.last_id is not None:
            headers["Last-Event-ID"] = standing.last_id
        head: Answer | NoAnswer = yield Open(
            Request("GET", path, params=params, headers=headers, least_read_s=SILENCE_S)
        )
        if isinstance(head, Answer) and head.is_success:
            _check(head)
            error = yield from _read(standing)
        else:
            error = failure(head)
        is_due_back = standing.was_open and standing.waited_s < AWAY_S
        attempt = min(standing.attempt, max(0, caller.policy.retries - 1)) if is_due_back else standing.attempt
        delay_s = caller.delay_s(attempt, error)
        if delay_s is None:
            raise error
        pause_s = max(delay_s, standing.retry_s)
        yield Pause(pause_s)
        standing.attempt += 1
        standing.waited_s += pause_s


def _read(standing: _Standing) -> Generator[Read | Opened | Given, Any, StepaheadError]:
    """Give what one connection brings; return why it ended."""
    parser = Parser(standing.last_id)
    is_open = False
    while True:
        chunk: bytes | NoAnswer = yield Read()
        if not chunk or isinstance(chunk, NoAnswer):
            if is_open:
                standing.begin_anew()
            return chunk or NoAnswer("the events broke off")
        frames = parser.feed(chunk)
        if not is_open:  # not before: what comes first has the id by which the next connection goes on
            is_open = True
            yield Opened()
            if standing.was_open and standing.last_id is None:  # there was nothing to go on from
                yield Missed(None)
            standing.was_open = True
        standing.last_id = parser.last_id
        standing.retry_s = parser.retry_s or standing.retry_s
        for frame in frames:
            content = frame.data.encode()
            if frame.event == "end":
                return wire.read(wire.end, content)
            if frame.event == "message":
                yield wire.read(partial(wire.event, event_id=frame.id), content)
            elif frame.event == "missed":
                yield wire.read(wire.missed, content)
            standing.begin_anew()
        if parser.n_comments:
            standing.begin_anew()


def _check(head: Answer) -> None:
    media_type = head.headers.get("content-type", "")
    if not media_type.startswith(MEDIA_TYPE):
        raise BadAnswer(f"the events come as {media_type!r}, not {MEDIA_TYPE!r}: some other server answers here")
