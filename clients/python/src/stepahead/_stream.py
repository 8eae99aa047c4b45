"""A stream, by the synchronous client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from stepahead import _http, _tables, _ways
from stepahead import _wire as wire
from stepahead._driver import Driver
from stepahead._events import follow
from stepahead._rows import Errors, Outcome, Table, Via
from stepahead.errors import StepaheadError
from stepahead.events import Events
from stepahead.types import Belief, Forecast, HistoryEntry, Reply, Snapshot, StreamSummary


class Stream:
    """A handle on one stream of a model."""

    def __init__(self, client: Driver, model: str, stream: str) -> None:
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

    @overload
    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | Table,
        *,
        errors: Literal["raise"] = "raise",
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        timestamp_column: str | None = ...,
    ) -> Iterator[Reply]: ...

    @overload
    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | Table,
        *,
        errors: Literal["yield"],
        chunk: int = ...,
        experts: bool = ...,
        resume: bool = ...,
        via: Via | None = ...,
        timestamp_column: str | None = ...,
    ) -> Iterator[Reply | StepaheadError]: ...

    def observe_many(
        self,
        items: Iterable[Mapping[str, Any]] | Table,
        *,
        errors: Errors = "raise",
        chunk: int = _http.DEFAULT_CHUNK,
        experts: bool = False,
        resume: bool = False,
        via: Via | None = None,
        timestamp_column: str | None = None,
    ) -> Iterator[Outcome]:
        """Observe many items of this stream, and give the replies in their order.

        Args:
            items: Field name to value, or a pandas or polars ``DataFrame`` whose columns are fields. NaN, NaT and null
                are missing.
            errors: As for :meth:`Model.observe_many`, and so are the others.
            chunk: Most items in a frame.
            experts: Whether predictions are to say what each expert said.
            resume: Whether items are numbered from 1, and those that were applied already passed over.
            via: How the items travel.
            timestamp_column: The key or column that holds an item's time; it is no field then.

        Raises:
            StepaheadError: As :meth:`Model.observe_many`.
        """
        options = _ways.Options(errors, chunk, experts, resume, via)
        rows = _tables.items(items, self.stream, timestamp_column)
        return _ways.feed(self._client, self.model, rows, options)

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

    def history(self, limit: int = 20) -> list[HistoryEntry]:
        """The last items with what was predicted of them and how good that was, oldest first.

        Args:
            limit: Most entries; the service keeps 64 of a stream, or what it is set to. A fork begins without any.

        Raises:
            UnknownStream: If the stream has no item yet.
            InvalidRequest: If more are asked for than the service keeps.
        """
        return self._client._run(self._client._core.history(self.model, self.stream, limit))

    def events(self, *, after: str | None = None) -> Events:
        """Follow the stream: see :meth:`Model.events`."""
        return Events(self._client, follow(self._client._core, self.model, [self.stream], after))

    def fork(self, to: str) -> Stream:
        """Create a stream that goes on from where this one is; from then on each learns its own items.

        Its next item is the one after this stream's last.

        Args:
            to: The new stream's name.

        Raises:
            UnknownStream: If this stream has no item yet.
            StreamExists: If there is a stream of that name; with ``outcome_unknown`` an attempt of this call, whose
                answer was lost, may have created it.
        """
        self._client._run(self._client._core.fork(self.model, self.stream, to), self.model, {self.stream, to})
        return Stream(self._client, self.model, to)

    def snapshot(self, name: str | None = None) -> Snapshot:
        """Keep what the stream is now. Where an answer was lost, and the call sent again, it may be kept twice.

        Args:
            name: For people.

        Raises:
            UnknownStream: If the stream has no item yet.
            Overloaded: If as many are kept as may be; delete one.
        """
        return self._client._run(self._client._core.snapshot(self._place, name))

    def snapshots(self) -> list[Snapshot]:
        """The stream's snapshots, the newest first.

        Raises:
            UnknownStream: If the stream has no item yet.
        """
        return self._client._run(self._client._core.snapshots(self._place))

    def restore(self, snapshot: Snapshot | str) -> StreamSummary:
        """Take the stream back to a snapshot, its sequence too; the snapshot is kept.

        The model's weights keep what they have learned since.

        Args:
            snapshot: It, or its id.

        Raises:
            UnknownStream: If there is no such stream.
            UnknownSnapshot: If it has no such snapshot.
        """
        program = self._client._core.restore_stream(self.model, self.stream, snapshot)
        return self._client._run(program, self.model, [self.stream])

    def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """Keep a snapshot no longer.

        Raises:
            UnknownStream: If there is no such stream.
            UnknownSnapshot: If it has no such snapshot.
        """
        self._client._run(self._client._core.delete_snapshot(self._place, snapshot))

    @overload
    def export(self, to: None = None) -> bytes: ...

    @overload
    def export(self, to: str | PathLike[str]) -> Path: ...

    def export(self, to: str | PathLike[str] | None = None) -> bytes | Path:
        """The stream as a safetensors file, for :meth:`Model.import_stream`.

        Args:
            to: Where the file goes; one that is there is replaced once the new one is whole. ``None`` to get its bytes.

        Returns:
            The bytes, or the file that was written.

        Raises:
            UnknownStream: If the stream has no item yet.
            OSError: If the file cannot be written.
        """
        save_as = None if to is None else Path(to)
        content = self._client._run(self._client._core.export(self._place, save_as))
        return content if save_as is None else save_as

    def delete(self) -> None:
        """Delete the stream; its next item begins it anew.

        Raises:
            UnknownStream: If there is no such stream.
        """
        self._client._run(self._client._core.delete_stream(self.model, self.stream), self.model, [self.stream])

    @property
    def _place(self) -> str:
        return wire.path("models", self.model, "streams", self.stream)
