"""A model, by the asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from stepahead import _http, _many
from stepahead import _wire as wire
from stepahead._adriver import AsyncDriver
from stepahead._astream import AsyncStream
from stepahead._events import follow
from stepahead.errors import StepaheadError
from stepahead.events import AsyncEvents
from stepahead.types import ModelInfo, Reply, Snapshot, StreamSummary


class AsyncModel:
    """See :class:`stepahead.Model`."""

    def __init__(self, client: AsyncDriver, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def info(self) -> ModelInfo:
        """See :meth:`stepahead.Model.info`."""
        return await self._client._run(self._client._core.model(self.name))

    async def update(self, **changes: Any) -> ModelInfo:
        """See :meth:`stepahead.Model.update`."""
        return await self._client._run(self._client._core.update_model(self.name, changes))

    async def delete(self) -> None:
        """See :meth:`stepahead.Model.delete`."""
        await self._client._run(self._client._core.delete_model(self.name))

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

    async def sequences(self, streams: Iterable[str]) -> dict[str, int]:
        """See :meth:`stepahead.Model.sequences`."""
        return await self._client._run(self._client._core.sequences(self.name, streams))

    def events(self, streams: Iterable[str] | None = None, *, after: str | None = None) -> AsyncEvents:
        """See :meth:`stepahead.Model.events`.

        Raises:
            ValueError: At once, if the transport is ``httpx.ASGITransport``, which gives no answer before its end.
        """
        return AsyncEvents(self._client, follow(self._client._core, self.name, streams, after))

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

    async def snapshot(self, name: str | None = None) -> Snapshot:
        """See :meth:`stepahead.Model.snapshot`."""
        return await self._client._run(self._client._core.snapshot(self._place, name))

    async def snapshots(self) -> list[Snapshot]:
        """See :meth:`stepahead.Model.snapshots`."""
        return await self._client._run(self._client._core.snapshots(self._place))

    async def restore(self, snapshot: Snapshot | str) -> ModelInfo:
        """See :meth:`stepahead.Model.restore`."""
        return await self._client._run(self._client._core.restore_model(self.name, snapshot))

    async def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """See :meth:`stepahead.Model.delete_snapshot`."""
        await self._client._run(self._client._core.delete_snapshot(self._place, snapshot))

    @overload
    async def export(self, to: None = None, *, streams: bool = ...) -> bytes: ...

    @overload
    async def export(self, to: str | PathLike[str], *, streams: bool = ...) -> Path: ...

    async def export(self, to: str | PathLike[str] | None = None, *, streams: bool = False) -> bytes | Path:
        """See :meth:`stepahead.Model.export`."""
        save_as = None if to is None else Path(to)
        content = await self._client._run(self._client._core.export(self._place, save_as, streams=streams))
        return content if save_as is None else save_as

    async def import_stream(self, stream: str, archive: bytes | str | PathLike[str]) -> AsyncStream:
        """See :meth:`stepahead.Model.import_stream`."""
        core = self._client._core
        await self._client._run(core.import_stream(self.name, stream, _http.archive(archive)), self.name, [stream])
        return self.stream(stream)

    @property
    def _place(self) -> str:
        return wire.path("models", self.name)


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
