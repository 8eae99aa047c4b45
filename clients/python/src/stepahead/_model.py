"""A model, by the synchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from stepahead import _http, _tables, _ways
from stepahead import _wire as wire
from stepahead._driver import Driver
from stepahead._events import follow
from stepahead._rows import Errors, Outcome, Row, Table, Via
from stepahead._stream import Stream
from stepahead.errors import StepaheadError
from stepahead.events import Events
from stepahead.types import ModelInfo, Reply, Snapshot, StreamSummary


class Model:
    """A handle on one model."""

    def __init__(self, client: Driver, name: str) -> None:
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

    def update(self, **changes: Any) -> ModelInfo:
        """See :meth:`Client.update_model`."""
        return self._client._run(self._client._core.update_model(self.name, changes))

    def delete(self) -> None:
        """See :meth:`Client.delete_model`."""
        self._client._run(self._client._core.delete_model(self.name))

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

    def sequences(self, streams: Iterable[str]) -> dict[str, int]:
        """The last applied sequence of each stream, 0 where there is no such stream.

        Raises:
            UnknownModel: If there is no such model.
        """
        return self._client._run(self._client._core.sequences(self.name, streams))

    def events(self, streams: Iterable[str] | None = None, *, after: str | None = None) -> Events:
        """Follow the model: every reply as it is made, whoever sent the item, with that item.

        Gives an :class:`Event` for each, and :class:`Missed` in the place of those that were missed: a slow reader
        holds nobody up. A lost connection is sought again for a minute (never with ``retries=0``), and goes on where it
        was.

        Args:
            streams: Those to follow, up to 1000; ``None`` for all.
            after: The ``id`` of the last event that is known; ``None`` to begin with the next one.

        Raises:
            ValueError: If ``streams`` names none.
            UnknownModel: While it is read, if there is no such model, or no longer.
        """
        return Events(self._client, follow(self._client._core, self.name, streams, after))

    @overload
    def observe_many(
        self,
        rows: Iterable[Row] | Table,
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        stream_column: str | None = ...,
        timestamp_column: str | None = ...,
    ) -> Iterator[Reply]: ...

    @overload
    def observe_many(
        self,
        rows: Iterable[Row] | Table,
        *,
        errors: Literal["yield"],
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        stream_column: str | None = ...,
        timestamp_column: str | None = ...,
    ) -> Iterator[Reply | StepaheadError]: ...

    def observe_many(
        self,
        rows: Iterable[Row] | Table,
        *,
        errors: Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
        resume: bool = False,
        via: Via | None = None,
        stream_column: str | None = None,
        timestamp_column: str | None = None,
    ) -> Iterator[Outcome]:
        """Observe many items of any number of streams, and give the replies in the same order.

        Rows leave over one connection while earlier ones are still being answered. When it breaks it is opened again,
        and what was unanswered is sent again under the same sequences: every item is learned once, in its order. A
        source that takes longer for a row than the service gets the replies to all earlier rows first.

        Args:
            rows: Pairs of stream and item, or mappings with ``stream``, ``item`` and perhaps ``timestamp`` and
                ``sequence``. A row without ``sequence`` is numbered on its stream's last item. With ``stream_column``
                also a pandas or polars ``DataFrame``, or flat mappings such as those of ``csv.DictReader``.
            errors: What becomes of a refused row: ``"raise"`` ends there, and rows that followed may have been applied
                if they were on their way; ``"yield"`` gives the error in the row's place and goes on.
            chunk: Most rows in a frame, or in a request. Of one stream one row at a time is on its way until some
                frames have met no other writer of the model, and then up to 64; rows with ``sequence`` are never held
                back.
            experts: As for :meth:`Stream.observe`.
            resume: Number rows by their place in their stream, from 1, and pass over those that were applied already,
                which then have no reply: a program that was interrupted begins with its first row again and goes on
                exactly. A row that the service refuses leaves a gap, and those of its stream after it are refused too.
            via: ``"websocket"``, ``"ndjson"`` (one request that goes on), or ``"requests"``, one after the other.
                ``None`` for a WebSocket, or for requests where the service or a proxy on the way does not take one,
                and where the client was given a ``transport``.
            stream_column: The column that names a row's stream; all others are fields. NaN, NaT and null are missing.
            timestamp_column: The column that holds a row's time.

        Raises:
            SequenceTaken: If another writer took a row's number while later rows of its stream were applied; it would
                come out of order, and so was not sent again.
            NoAnswer: If no attempt got any further; ``error.data["in_doubt"]`` names the rows that may have been
                applied.
            StepaheadError: If a row was refused, or no row can be sent.
        """
        options = _ways.Options(errors, chunk, experts, resume, via)
        given = _tables.rows(rows, stream_column, timestamp_column)
        return _ways.feed(self._client, self.name, given, options)

    def snapshot(self, name: str | None = None) -> Snapshot:
        """Keep what the model has learned so far; its streams are not part of it.

        Where an answer was lost, and the call sent again, it may be kept twice.

        Args:
            name: For people.

        Raises:
            UnknownModel: If there is no such model.
            Overloaded: If as many are kept as may be; delete one.
        """
        return self._client._run(self._client._core.snapshot(self._place, name))

    def snapshots(self) -> list[Snapshot]:
        """The model's snapshots, the newest first.

        Raises:
            UnknownModel: If there is no such model.
        """
        return self._client._run(self._client._core.snapshots(self._place))

    def restore(self, snapshot: Snapshot | str) -> ModelInfo:
        """Go on with what the model had learned then; all streams stay where they are, and the snapshot is kept.

        Args:
            snapshot: It, or its id.

        Raises:
            UnknownSnapshot: If there is no such snapshot.
            DamagedSnapshot: If it cannot be read; nothing was changed.
        """
        return self._client._run(self._client._core.restore_model(self.name, snapshot))

    def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """Keep a snapshot no longer.

        Raises:
            UnknownSnapshot: If there is no such snapshot.
        """
        self._client._run(self._client._core.delete_snapshot(self._place, snapshot))

    @overload
    def export(self, to: None = None, *, streams: bool = ...) -> bytes: ...

    @overload
    def export(self, to: str | PathLike[str], *, streams: bool = ...) -> Path: ...

    def export(self, to: str | PathLike[str] | None = None, *, streams: bool = False) -> bytes | Path:
        """The model as a safetensors file, for :meth:`Client.import_model`.

        Args:
            to: Where the file goes as it arrives; one that is there is replaced once the new one is whole. ``None``
                to get its bytes.
            streams: Whether all streams go with it; nothing is learned while they are read.

        Returns:
            The bytes, or the file that was written.

        Raises:
            UnknownModel: If there is no such model.
            ArchiveTooLarge: If it would be over the service's limit.
            OSError: If the file cannot be written.
        """
        save_as = None if to is None else Path(to)
        content = self._client._run(self._client._core.export(self._place, save_as, streams=streams))
        return content if save_as is None else save_as

    def import_stream(self, stream: str, archive: bytes | str | PathLike[str]) -> Stream:
        """Create a stream from what :meth:`Stream.export` gave, here or of a model like this one.

        Args:
            stream: Its name here, whatever the archive calls it.
            archive: The bytes, or the file that holds them.

        Raises:
            InvalidArchive: If it cannot be used, or does not fit the model; nothing was created.
            StreamExists: If there is a stream of that name; with ``outcome_unknown`` an attempt of this call, whose
                answer was lost, may have created it.
        """
        core = self._client._core
        self._client._run(core.import_stream(self.name, stream, _http.archive(archive)), self.name, [stream])
        return self.stream(stream)

    @property
    def _place(self) -> str:
        return wire.path("models", self.name)
