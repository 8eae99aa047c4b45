"""A model, by the asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from stepahead import _http, _tables, _ways
from stepahead import _wire as wire
from stepahead._adriver import AsyncDriver
from stepahead._astream import AsyncStream
from stepahead._events import follow
from stepahead._rows import Errors, Outcome, Row, Table, Via
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
        rows: Iterable[Row] | AsyncIterable[Row] | Table,
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        stream_column: str | None = ...,
        timestamp_column: str | None = ...,
    ) -> AsyncIterator[Reply]: ...

    @overload
    def observe_many(
        self,
        rows: Iterable[Row] | AsyncIterable[Row] | Table,
        *,
        errors: Literal["yield"],
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        stream_column: str | None = ...,
        timestamp_column: str | None = ...,
    ) -> AsyncIterator[Reply | StepaheadError]: ...

    def observe_many(
        self,
        rows: Iterable[Row] | AsyncIterable[Row] | Table,
        *,
        errors: Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
        resume: bool = False,
        via: Via | None = None,
        stream_column: str | None = None,
        timestamp_column: str | None = None,
    ) -> AsyncIterator[Outcome]:
        """See :meth:`stepahead.Model.observe_many`.

        ``rows`` may be asynchronous too. A task reads them while others are on their way, and whatever has arrived
        leaves at once: a slow source gets its replies as they come, a fast one fills its frames. Leave the replies
        early through ``contextlib.aclosing``.
        """
        options = _ways.Options(errors, chunk, experts, resume, via)
        return _ways.async_feed(
            self._client, self.name, _tables.async_rows(rows, stream_column, timestamp_column), options
        )

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
