"""A stream, by the asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from stepahead import _http, _tables, _ways
from stepahead import _wire as wire
from stepahead._adriver import AsyncDriver
from stepahead._events import follow
from stepahead._rows import Errors, Outcome, Table, Via
from stepahead.errors import StepaheadError
from stepahead.events import AsyncEvents
from stepahead.types import Belief, Forecast, HistoryEntry, Reply, Snapshot, StreamSummary


class AsyncStream:
    """See :class:`stepahead.Stream`."""

    def __init__(self, client: AsyncDriver, model: str, stream: str) -> None:
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

    @overload
    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | Table,
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        timestamp_column: str | None = ...,
    ) -> AsyncIterator[Reply]: ...

    @overload
    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | Table,
        *,
        errors: Literal["yield"],
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        timestamp_column: str | None = ...,
    ) -> AsyncIterator[Reply | StepaheadError]: ...

    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | Table,
        *,
        errors: Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
        resume: bool = False,
        via: Via | None = None,
        timestamp_column: str | None = None,
    ) -> AsyncIterator[Outcome]:
        """See :meth:`stepahead.Stream.observe_many`; ``items`` may be asynchronous too."""
        options = _ways.Options(errors, chunk, experts, resume, via)
        rows = _tables.async_items(items, self.stream, timestamp_column)
        return _ways.async_feed(self._client, self.model, rows, options)

    async def predict(self, horizon: int = 1, *, experts: bool = False) -> Forecast:
        """See :meth:`stepahead.Stream.predict`."""
        return await self._client._run(self._client._core.predict(self.model, self.stream, horizon, experts=experts))

    async def belief(self) -> Belief:
        """See :meth:`stepahead.Stream.belief`."""
        return await self._client._run(self._client._core.belief(self.model, self.stream))

    async def summary(self) -> StreamSummary:
        """See :meth:`stepahead.Stream.summary`."""
        return await self._client._run(self._client._core.summary(self.model, self.stream))

    async def history(self, limit: int = 20) -> list[HistoryEntry]:
        """See :meth:`stepahead.Stream.history`."""
        return await self._client._run(self._client._core.history(self.model, self.stream, limit))

    def events(self, *, after: str | None = None) -> AsyncEvents:
        """See :meth:`stepahead.Stream.events`."""
        return AsyncEvents(self._client, follow(self._client._core, self.model, [self.stream], after))

    async def fork(self, to: str) -> AsyncStream:
        """See :meth:`stepahead.Stream.fork`."""
        program = self._client._core.fork(self.model, self.stream, to)
        await self._client._run(program, self.model, {self.stream, to})
        return AsyncStream(self._client, self.model, to)

    async def snapshot(self, name: str | None = None) -> Snapshot:
        """See :meth:`stepahead.Stream.snapshot`."""
        return await self._client._run(self._client._core.snapshot(self._place, name))

    async def snapshots(self) -> list[Snapshot]:
        """See :meth:`stepahead.Stream.snapshots`."""
        return await self._client._run(self._client._core.snapshots(self._place))

    async def restore(self, snapshot: Snapshot | str) -> StreamSummary:
        """See :meth:`stepahead.Stream.restore`."""
        program = self._client._core.restore_stream(self.model, self.stream, snapshot)
        return await self._client._run(program, self.model, [self.stream])

    async def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """See :meth:`stepahead.Stream.delete_snapshot`."""
        await self._client._run(self._client._core.delete_snapshot(self._place, snapshot))

    @overload
    async def export(self, to: None = None) -> bytes: ...

    @overload
    async def export(self, to: str | PathLike[str]) -> Path: ...

    async def export(self, to: str | PathLike[str] | None = None) -> bytes | Path:
        """See :meth:`stepahead.Stream.export`."""
        save_as = None if to is None else Path(to)
        content = await self._client._run(self._client._core.export(self._place, save_as))
        return content if save_as is None else save_as

    async def delete(self) -> None:
        """See :meth:`stepahead.Stream.delete`."""
        await self._client._run(self._client._core.delete_stream(self.model, self.stream), self.model, [self.stream])

    @property
    def _place(self) -> str:
        return wire.path("models", self.model, "streams", self.stream)
