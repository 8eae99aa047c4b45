"""The asynchronous client: the same calls as :mod:`stepahead.client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass
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


class AsyncClient:
    """See :class:`stepahead.Client`; belongs to one event loop, whose tasks may share it."""

    def __init__(
        self,
        base_url: str = _http.DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout | None = _http.DEFAULT_TIMEOUT_S,
        retries: int = _http.DEFAULT_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_http.options(base_url, api_key, timeout), transport=transport)
        self._core = Core(RetryPolicy(retries))
        self._locks = _http.Locks(asyncio.Lock)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def health(self) -> dict[str, Any]:
        """See :meth:`stepahead.Client.health`."""
        return await self._run(self._core.health())

    async def create_model(self, name: str, fields: Mapping[str, FieldKind], **spec: Any) -> AsyncModel:
        """See :meth:`stepahead.Client.create_model`."""
        await self._run(self._core.create_model(name, fields, spec))
        return self.model(name)

    def model(self, name: str) -> AsyncModel:
        """See :meth:`stepahead.Client.model`."""
        return AsyncModel(self, name)

    async def models(self) -> list[ModelInfo]:
        """See :meth:`stepahead.Client.models`."""
        return await self._run(self._core.models())

    async def update_model(self, name: str, **changes: Any) -> ModelInfo:
        """See :meth:`stepahead.Client.update_model`."""
        return await self._run(self._core.update_model(name, changes))

    async def delete_model(self, name: str) -> None:
        """See :meth:`stepahead.Client.delete_model`."""
        await self._run(self._core.delete_model(name))

    async def _run(self, program: Program[T], model: str = "", streams: Iterable[str] = ()) -> T:
        """Drive a program; no other call that holds one of these streams runs meanwhile."""
        with closing(program):
            async with AsyncExitStack() as held:
                for lock in self._locks.of(model, streams):
                    await held.enter_async_context(lock)
                try:
                    todo = next(program)
                    while True:
                        if isinstance(todo, Pause):
                            await asyncio.sleep(todo.seconds)
                            todo = next(program)
                        else:
                            todo = program.send(await self._send(todo))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # typeshed has StopIteration.value as Any

    async def _send(self, request: Request) -> Answer | NoAnswer:
        try:
            return _http.answer(await self._http.request(**_http.arguments(request)))
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _http.no_answer(error, self._http.base_url)


class AsyncModel:
    """See :class:`stepahead.Model`."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def info(self) -> ModelInfo:
        """See :meth:`stepahead.Model.info`."""
        return await self._client._run(self._client._core.model(self.name))

    def stream(self, stream: str) -> AsyncStream:
        """See :meth:`stepahead.Model.stream`."""
        return AsyncStream(self._client, self.name, stream)

    async def streams(self) -> AsyncIterator[StreamSummary]:
        """See :meth:`stepahead.Model.streams`."""
        cursor: str | None = None
        while True:
            page, cursor = await self._client._run(self._client._core.streams(self.name, cursor, _http.PAGE))
            for summary in page:
                yield summary
            if cursor is None:
                return

    @overload
    def observe_many(
        self,
        rows: Iterable[_many.Row] | AsyncIterable[_many.Row],
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
    ) -> AsyncIterator[Reply]: ...

    @overload
    def observe_many(
        self,
        rows: Iterable[_many.Row] | AsyncIterable[_many.Row],
        *,
        errors: Literal["yield"],
        chunk: int = ...,
        experts: bool = ...,
    ) -> AsyncIterator[Reply | StepaheadError]: ...

    async def observe_many(
        self,
        rows: Iterable[_many.Row] | AsyncIterable[_many.Row],
        *,
        errors: _many.Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
    ) -> AsyncIterator[Reply | StepaheadError]:
        """See :meth:`stepahead.Model.observe_many`.

        ``rows`` may be asynchronous too. They are read while a request is under way, and whatever has arrived then
        leaves with the next one: a slow source gets its replies at once, a fast one full chunks.
        """
        async with aclosing(_arrivals(rows, errors, chunk, experts)) as chunks:
            async for pending in chunks:
                program = _many.observe(self._client._core, self.name, pending)
                await self._client._run(program, self.name, pending.streams)
                for outcome in pending.deliver():
                    yield outcome


class AsyncStream:
    """See :class:`stepahead.Stream`."""

    def __init__(self, client: AsyncClient, model: str, stream: str) -> None:
        self._client = client
        self.model = model
        self.stream = stream

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.stream!r})"

    async def observe(
        self,
        item: Mapping[str, Any] | None = None,
        /,
        *,
        timestamp: datetime | str | None = None,
        sequence: int | None = None,
        experts: bool = False,
        **fields: Any,
    ) -> Reply:
        """See :meth:`stepahead.Stream.observe`; items of tasks that share a stream leave in the order of the calls."""
        core = self._client._core
        given = {**(item or {}), **fields}
        program = core.observe(self.model, self.stream, given, timestamp, sequence, experts=experts)
        return await self._client._run(program, self.model, [self.stream])

    async def predict(self, horizon: int = 1, *, experts: bool = False) -> Forecast:
        """See :meth:`stepahead.Stream.predict`."""
        return await self._client._run(self._client._core.predict(self.model, self.stream, horizon, experts=experts))

    async def belief(self) -> Belief:
        """See :meth:`stepahead.Stream.belief`."""
        return await self._client._run(self._client._core.belief(self.model, self.stream))

    async def summary(self) -> StreamSummary:
        """See :meth:`stepahead.Stream.summary`."""
        return await self._client._run(self._client._core.summary(self.model, self.stream))

    async def delete(self) -> None:
        """See :meth:`stepahead.Stream.delete`."""
        await self._client._run(self._client._core.delete_stream(self.model, self.stream), self.model, [self.stream])


@dataclass(frozen=True, slots=True)
class _End:
    """The rows ended, by themselves or by an error of their source."""

    error: Exception | None = None


async def _arrivals(
    rows: Iterable[_many.Row] | AsyncIterable[_many.Row], errors: _many.Errors, size: int, experts: bool
) -> AsyncGenerator[_many.Chunk, None]:
    """Chunks of what has arrived, read by a task of their own; never an empty one."""
    queue: asyncio.Queue[_many.Row | _End] = asyncio.Queue(size)
    reader = asyncio.create_task(_read(rows, queue))
    try:
        end: _End | None = None
        while end is None:
            chunk, full = _many.Chunk(errors, size, experts), False
            while not full and (not chunk or not queue.empty()):
                row = await queue.get()
                if isinstance(row, _End):
                    end = row
                    break
                full = chunk.add(row)
            if chunk:
                yield chunk
        if end.error is not None:
            raise end.error
    finally:
        reader.cancel()
        await asyncio.wait([reader])


async def _read(rows: Iterable[_many.Row] | AsyncIterable[_many.Row], queue: asyncio.Queue[_many.Row | _End]) -> None:
    try:
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                await queue.put(row)
        else:
            for row in rows:
                await queue.put(row)
    except Exception as error:  # the boundary: raised again where the replies are read
        await queue.put(_End(error))
    else:
        await queue.put(_End())
