"""The synchronous client; :mod:`stepahead.aio` is its sibling."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import httpx

from stepahead import _http, _many
from stepahead._core import Answer, Core, Pause, Program, Request, RetryPolicy
from stepahead._wire import FieldKind
from stepahead.errors import NoAnswer, StepaheadError
from stepahead.types import Belief, Forecast, ModelInfo, Reply, StreamSummary

T = TypeVar("T")


class Client:
    """A connection to a service; threads may share it.

    Every call is sent again after a lost answer, an overload or an outage, with growing delays, and does no harm twice.
    Several clients may feed the same stream: an item whose number another one took is sent again under the next. Where
    an answer was lost as well, it cannot be told whose item was applied, so such streams are better fed by one client.

    Args:
        base_url: Where the service is.
        api_key: Sent as ``Authorization: Bearer``; ``None`` for a service without keys.
        timeout: Seconds for each attempt, or an ``httpx.Timeout``; ``None`` to wait for ever.
        retries: How often a failed call is sent again.
        transport: What carries the requests; ``None`` for the network.

    Raises:
        ValueError: If ``base_url`` is no http or https URL.
    """

    def __init__(
        self,
        base_url: str = _http.DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout | None = _http.DEFAULT_TIMEOUT_S,
        retries: int = _http.DEFAULT_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**_http.options(base_url, api_key, timeout), transport=transport)
        self._core = Core(RetryPolicy(retries))
        self._locks = _http.Locks(threading.Lock)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """Whether the service is ready, as it says itself.

        Raises:
            StepaheadError: If it is not.
        """
        return self._run(self._core.health())

    def create_model(self, name: str, fields: Mapping[str, FieldKind], **spec: Any) -> Model:
        """Create a model, or take the one that exists with the same spec.

        Args:
            name: 1 to 64 letters, digits, ``_``, ``.`` or ``-``.
            fields: Name to kind: ``"real"``, a list of values, or ``{"capacity": N}`` for a category whose values
                are not known beforehand.
            spec: The rest of the spec, such as ``hidden=64`` or ``learn={"weights": False}``; absent parts take the
                service's defaults.

        Raises:
            ModelExists: If a model of that name has another spec.
            InvalidSpec: If the spec is out of its bounds.
        """
        self._run(self._core.create_model(name, fields, spec))
        return self.model(name)

    def model(self, name: str) -> Model:
        """A handle on a model; asks nothing of the service."""
        return Model(self, name)

    def models(self) -> list[ModelInfo]:
        """Describe all models."""
        return self._run(self._core.models())

    def update_model(self, name: str, **changes: Any) -> ModelInfo:
        """Change ``learn``, ``learning_rate``, ``tails``, ``quantiles``, ``max_streams`` or ``ttl_s``.

        Takes effect from the next item on.

        Raises:
            UnknownModel: If there is no such model.
            InvalidSpec: If something else is to change, or beyond its bounds.
        """
        return self._run(self._core.update_model(name, changes))

    def delete_model(self, name: str) -> None:
        """Delete a model with all its streams.

        Raises:
            UnknownModel: If there is no such model.
        """
        self._run(self._core.delete_model(name))

    def _run(self, program: Program[T], model: str = "", streams: Iterable[str] = ()) -> T:
        """Drive a program; no other call that holds one of these streams runs meanwhile."""
        with closing(program), ExitStack() as held:
            for lock in self._locks.of(model, streams):
                held.enter_context(lock)
            try:
                todo = next(program)
                while True:
                    if isinstance(todo, Pause):
                        time.sleep(todo.seconds)
                        todo = next(program)
                    else:
                        todo = program.send(self._send(todo))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # typeshed has StopIteration.value as Any

    def _send(self, request: Request) -> Answer | NoAnswer:
        try:
            return _http.answer(self._http.request(**_http.arguments(request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _http.no_answer(error, self._http.base_url)


class Model:
    """A handle on one model."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def info(self) -> ModelInfo:
        """Describe the model.

        Raises:
            UnknownModel: If there is no such model.
        """
        return self._client._run(self._client._core.model(self.name))

    def stream(self, stream: str) -> Stream:
        """A handle on a stream, which begins with its first item; asks nothing of the service."""
        return Stream(self._client, self.name, stream)

    def streams(self) -> Iterator[StreamSummary]:
        """Summarise every stream, by name; read page by page.

        Raises:
            UnknownModel: If there is no such model.
        """
        cursor: str | None = None
        while True:
            page, cursor = self._client._run(self._client._core.streams(self.name, cursor, _http.PAGE))
            yield from page
            if cursor is None:
                return

    @overload
    def observe_many(
        self,
        rows: Iterable[_many.Row],
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
    ) -> Iterator[Reply]: ...

    @overload
    def observe_many(
        self, rows: Iterable[_many.Row], *, errors: Literal["yield"], chunk: int = ..., experts: bool = ...
    ) -> Iterator[Reply | StepaheadError]: ...

    def observe_many(
        self,
        rows: Iterable[_many.Row],
        *,
        errors: _many.Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
    ) -> Iterator[Reply | StepaheadError]:
        """Observe many items of any number of streams, and give the replies in the same order.

        Rows are read and sent in chunks: replies begin once a chunk is full or the rows end.

        Args:
            rows: Pairs of stream and item, or mappings with ``stream``, ``item`` and perhaps ``timestamp`` and
                ``sequence``. A row without ``sequence`` is numbered on its stream's last item.
            errors: What becomes of a refused row: ``"raise"`` ends there, and rows that followed in its chunk may have
                been applied; ``"yield"`` gives the error in the row's place and goes on.
            chunk: Most rows per request. Of one stream a request holds one row until some requests have met no other
                writer of the model, and then up to 64; rows with ``sequence`` are never held back.
            experts: As for :meth:`Stream.observe`.

        Raises:
            SequenceTaken: If another writer took a row's number while later rows of its stream were applied; it would
                come out of order, and so was not sent again.
            StepaheadError: If a row was refused, or a whole request failed for good.
        """
        pending = _many.Chunk(errors, chunk, experts)
        for row in rows:
            if pending.add(row):
                yield from self._observe(pending)
                pending = _many.Chunk(errors, chunk, experts)
        yield from self._observe(pending)

    def _observe(self, chunk: _many.Chunk) -> Iterator[_many.Outcome]:
        core = self._client._core
        self._client._run(_many.observe(core, self.name, chunk), self.name, chunk.streams)
        return chunk.deliver()


class Stream:
    """A handle on one stream of a model."""

    def __init__(self, client: Client, model: str, stream: str) -> None:
        self._client = client
        self.model = model
        self.stream = stream

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.stream!r})"

    def observe(
        self,
        item: Mapping[str, Any] | None = None,
        /,
        *,
        timestamp: datetime | str | None = None,
        sequence: int | None = None,
        experts: bool = False,
        **fields: Any,
    ) -> Reply:
        """Observe the stream's next item: score what was predicted of it, learn, and predict the one after.

        ``observe(temperature=61.5)`` and ``observe({"temperature": 61.5})`` are the same.

        Args:
            item: Field name to number, text, or ``None`` for a missing value.
            timestamp: When it was measured, ISO 8601 or a ``datetime`` with time zone.
            sequence: Its position in the stream, from 1; ``None`` for the one after the last. Whoever numbers items
                himself can send one again at any time, and gets the same reply.
            experts: Whether the prediction is to say what each expert and the network alone said of a field, in
                ``experts``. A reply that was first sent without does not tell it later.
            fields: Instead of ``item``, or added to it; one named as an argument here goes into ``item``.

        Raises:
            ValueError: If a number is NaN or infinite, or a ``datetime`` has no time zone.
            InvalidItem: If the item does not fit the model.
            SequenceTaken: If other writers took every number that was tried; the item was not applied.
            NoAnswer: If no attempt was answered; ``error.data["sequence"]`` can be sent again.
        """
        core = self._client._core
        given = {**(item or {}), **fields}
        program = core.observe(self.model, self.stream, given, timestamp, sequence, experts=experts)
        return self._client._run(program, self.model, [self.stream])

    def predict(self, horizon: int = 1, *, experts: bool = False) -> Forecast:
        """Predict the next ``horizon`` items; changes nothing.

        Args:
            horizon: Items.
            experts: Whether the first step is to say what each expert and the network alone said of a field.

        Raises:
            UnknownStream: If the stream has no item yet.
        """
        return self._client._run(self._client._core.predict(self.model, self.stream, horizon, experts=experts))

    def belief(self) -> Belief:
        """Inspect the belief.

        Raises:
            UnknownStream: If the stream has no item yet.
        """
        return self._client._run(self._client._core.belief(self.model, self.stream))

    def summary(self) -> StreamSummary:
        """Where the stream stands and how well it is predicted.

        Raises:
            UnknownStream: If the stream has no item yet.
        """
        return self._client._run(self._client._core.summary(self.model, self.stream))

    def delete(self) -> None:
        """Delete the stream; its next item begins it anew.

        Raises:
            UnknownStream: If there is no such stream.
        """
        self._client._run(self._client._core.delete_stream(self.model, self.stream), self.model, [self.stream])
