"""Calls that number a stream's items, or change where a stream stands.

The core numbers items itself. A stream's next sequence is forgotten before an item leaves and known again once its
reply is here: after any failure the next call asks the server.

Another writer of the same stream shows in a duplicate that answers an item's first attempt: its number was taken, and
the item is sent again under another. After an attempt whose outcome is unknown a duplicate is the expected answer; that
somebody else took the number then cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from stepahead import _wire as wire
from stepahead._calls import ARCHIVE, ARCHIVE_S, Calls, asking, snapshot_path
from stepahead._program import Answer, Pause, Program, Request, RetryPolicy, Sent, failure
from stepahead._recent import Recent
from stepahead.errors import (
    ModelExists,
    SequenceGap,
    SequenceStale,
    SequenceTaken,
    StepaheadError,
    StreamExists,
    UnknownStream,
)
from stepahead.types import ModelInfo, Reply, Snapshot, StreamSummary

__all__ = [
    "MAX_TRIES",
    "SOLE_AFTER",
    "Answer",
    "Core",
    "Pause",
    "Program",
    "Request",
    "RetryPolicy",
    "Sent",
    "asking",
    "failure",
    "forgotten",
    "taken",
    "was_taken",
]

T = TypeVar("T")

MAX_STREAMS = 20_000
"""Streams whose next sequence is known; a forgotten one costs a request."""
MAX_MODELS = 1_000
"""Models of which it is known whether others feed them."""
MAX_TRIES = 64
"""Numbers that an item is given before :class:`SequenceTaken` is raised."""
SOLE_AFTER = 16
"""Requests without another writer after which this client takes itself for a model's only one."""


class Core(Calls):
    """All calls as programs, and what is known of the sequences."""

    def __init__(self, policy: RetryPolicy) -> None:
        super().__init__(policy)
        self._next: Recent[tuple[str, str], int] = Recent(MAX_STREAMS)
        self._undisputed: Recent[str, float] = Recent(MAX_MODELS)  # requests of many; -inf once another writer was met
        self.window: tuple[int, int] | None = None
        """Most items on their way over one connection, and most of one stream; ``None`` before the server said so."""

    def delete_model(self, name: str) -> Program[None]:
        """Delete a model with all its streams."""
        return self._of_all(name, self.call(Request("DELETE", wire.path("models", name)), wire.nothing))

    def import_model(self, name: str, archive: bytes | Path) -> Program[ModelInfo]:
        """Create a model from its archive."""
        path = wire.path("models", name, "archive")
        return self._of_all(name, self._create(_upload(path, archive), wire.model))

    def delete_stream(self, model: str, stream: str) -> Program[None]:
        """Delete a stream."""
        path = wire.path("models", model, "streams", stream)
        return self._of(model, stream, self.call(Request("DELETE", path), wire.nothing))

    def fork(self, model: str, stream: str, to: str) -> Program[StreamSummary]:
        """Create a stream that goes on from where another is."""
        wire.path(to)  # refuses what cannot name a stream
        path = wire.path("models", model, "streams", stream, "fork")
        return self._of(model, to, self._create(Request("POST", path, wire.dumps({"to": to})), wire.summary))

    def restore_stream(self, model: str, stream: str, snapshot: Snapshot | str) -> Program[StreamSummary]:
        """Take a stream back to a snapshot, its sequence too."""
        path = snapshot_path(wire.path("models", model, "streams", stream), snapshot)
        return self._of(model, stream, self.call(Request("POST", f"{path}/restore"), wire.summary))

    def import_stream(self, model: str, stream: str, archive: bytes | Path) -> Program[StreamSummary]:
        """Create a stream from its archive."""
        path = wire.path("models", model, "streams", stream, "archive")
        return self._of(model, stream, self._create(_upload(path, archive), wire.summary))

    def _create(self, request: Request, parse: Callable[[Any], T]) -> Program[T]:
        """Create what must not be there yet; the error says where a lost attempt may have created it."""
        sent = Sent()
        try:
            return (yield from self.call(request, parse, sent))
        except (StreamExists, ModelExists) as error:
            error.outcome_unknown = sent.in_doubt
            raise

    def _of(self, model: str, stream: str, program: Program[T]) -> Program[T]:
        """A call after which a stream stands elsewhere, whatever came of it."""
        try:
            return (yield from program)
        finally:
            self.forget(model, [stream])

    def _of_all(self, model: str, program: Program[T]) -> Program[T]:
        """A call after which every stream of a model stands elsewhere."""
        try:
            return (yield from program)
        finally:
            self._next.drop_where(lambda key: key[0] == model)
            self._undisputed.drop(model)

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

    def take_number(self, model: str, stream: str) -> int | None:
        """The sequence that a stream's next item takes, which is forgotten here; ``None`` when it is not known."""
        known = self._next.get((model, stream))
        self._next.drop((model, stream))
        return known

    def put_number(self, model: str, stream: str, number: int) -> None:
        """Know the sequence that a stream's next item takes."""
        self._next.put((model, stream), number)

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


def _upload(path: str, archive: bytes | Path) -> Request:
    return Request("PUT", path, archive, media_type=ARCHIVE, least_read_s=ARCHIVE_S)
