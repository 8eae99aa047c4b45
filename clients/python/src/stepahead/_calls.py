"""Calls that need no memory of the streams' sequences."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stepahead import _wire as wire
from stepahead._program import Answer, Caller, Pause, Program, Request, failure
from stepahead.types import Belief, Forecast, HistoryEntry, ModelInfo, Size, Snapshot, StreamSummary

ARCHIVE = "application/octet-stream"
ARCHIVE_S = 600.0
"""Longest silence while an archive is made or taken in, which is done before the first byte of the answer."""
HISTORY = 20
"""Items of a history where no other number is asked for."""
MAX_ASKED = 1_000
"""Streams whose sequences are asked for in one request."""


class Calls(Caller):
    """Calls that need no memory of the streams' sequences."""

    def health(self) -> Program[dict[str, Any]]:
        """Whether the service is ready."""
        return self.call(Request("GET", "/readyz"), dict)

    def wait_until_ready(self, timeout_s: float) -> Program[None]:
        """Ask until the service is ready.

        Raises:
            StepaheadError: What it last said, when the time is up; at once what waiting does not change.
        """
        deadline = time.monotonic() + timeout_s
        attempt = 0
        while True:
            left_s = max(0.1, deadline - time.monotonic())
            answer = yield Request("GET", "/readyz", most_s=left_s)
            if isinstance(answer, Answer) and answer.is_success:
                return
            error = failure(answer)
            delay_s = self.policy.backoff_s(attempt, error, random.random())
            if delay_s is None or time.monotonic() + delay_s > deadline:
                raise error
            yield Pause(delay_s)
            attempt += 1

    def size(self, fields: Mapping[str, wire.FieldKind], streams: int, spec: Mapping[str, Any]) -> Program[Size]:
        """What streams of a spec take."""
        body = {"spec": {"fields": wire.fields_to_wire(fields), **spec}, "streams": streams}
        return self.call(Request("POST", wire.path("size"), wire.dumps(body)), wire.size)

    def create_model(
        self, name: str, fields: Mapping[str, wire.FieldKind], spec: Mapping[str, Any]
    ) -> Program[ModelInfo]:
        """Create a model; the same spec again changes nothing."""
        body = {"fields": wire.fields_to_wire(fields), **spec}
        return self.call(Request("PUT", wire.path("models", name), wire.dumps(body)), wire.model)

    def update_model(self, name: str, changes: Mapping[str, Any]) -> Program[ModelInfo]:
        """Change what may change while a model runs."""
        return self.call(Request("PATCH", wire.path("models", name), wire.dumps(changes)), wire.model)

    def model(self, name: str) -> Program[ModelInfo]:
        """Describe a model."""
        return self.call(Request("GET", wire.path("models", name)), wire.model)

    def models(self) -> Program[list[ModelInfo]]:
        """Describe all models."""
        return self.call(Request("GET", wire.path("models")), wire.models)

    def snapshot(self, place: str, name: str | None) -> Program[Snapshot]:
        """Keep a stream's or a model's state; ``place`` is its path."""
        return self.call(Request("POST", f"{place}/snapshots", wire.dumps({"name": name})), wire.snapshot)

    def snapshots(self, place: str) -> Program[list[Snapshot]]:
        """What is kept of a stream or a model."""
        return self.call(Request("GET", f"{place}/snapshots"), wire.snapshots)

    def delete_snapshot(self, place: str, snapshot: Snapshot | str) -> Program[None]:
        """Keep it no longer."""
        return self.call(Request("DELETE", snapshot_path(place, snapshot)), wire.nothing)

    def restore_model(self, model: str, snapshot: Snapshot | str) -> Program[ModelInfo]:
        """Go back to kept weights; streams stay where they are."""
        path = snapshot_path(wire.path("models", model), snapshot)
        return self.call(Request("POST", f"{path}/restore"), wire.model)

    def export(self, place: str, save_as: Path | None, *, streams: bool = False) -> Program[bytes]:
        """A model's or a stream's archive; ``b""`` where it went into a file."""
        params = {"streams": "all"} if streams else {}
        answer = yield from self.fetch(
            Request("GET", f"{place}/archive", params=params, save_as=save_as, least_read_s=ARCHIVE_S)
        )
        return answer.content

    def streams(self, model: str, cursor: str | None, limit: int) -> Program[tuple[list[StreamSummary], str | None]]:
        """One page of streams and the cursor of the next, ``None`` at the end."""
        params: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            params["cursor"] = cursor
        return self.call(Request("GET", wire.path("models", model, "streams"), params=params), wire.summaries)

    def sequences(self, model: str, streams: Iterable[str]) -> Program[dict[str, int]]:
        """The last applied sequence of each stream."""
        asked = names(streams)
        path = wire.path("models", model, "sequences")
        found: dict[str, int] = {}
        for first in range(0, len(asked), MAX_ASKED):
            body = wire.dumps({"streams": asked[first : first + MAX_ASKED]})
            found |= yield from self.call(Request("POST", path, body), wire.sequences)
        return found

    def summary(self, model: str, stream: str) -> Program[StreamSummary]:
        """Where a stream stands."""
        return self.call(Request("GET", wire.path("models", model, "streams", stream)), wire.summary)

    def belief(self, model: str, stream: str) -> Program[Belief]:
        """Inspect a stream's belief."""
        return self.call(Request("GET", wire.path("models", model, "streams", stream, "belief")), _belief)

    def history(self, model: str, stream: str, limit: int) -> Program[list[HistoryEntry]]:
        """A stream's last items."""
        path = wire.path("models", model, "streams", stream, "history")
        # The service's own number is not asked for: one that keeps fewer would refuse it.
        params = {} if limit == HISTORY else {"limit": limit}
        return self.call(Request("GET", path, params=params), wire.history)

    def predict(self, model: str, stream: str, horizon: int, *, experts: bool = False) -> Program[Forecast]:
        """Predict some steps ahead."""
        path = wire.path("models", model, "streams", stream, "prediction")
        return self.call(Request("GET", path, params={"horizon": horizon, **asking(experts)}), wire.forecast)


def names(streams: Iterable[str]) -> list[str]:
    """Names of streams, each once.

    Raises:
        ValueError: If they are one text.
    """
    if isinstance(streams, str):
        raise ValueError(f"{streams!r} is one name; give a list of names")
    return list(dict.fromkeys(streams))


def asking(experts: bool) -> dict[str, str | int]:
    """The parameter that asks for what each expert said; none where it is not asked for."""
    return {"experts": "true"} if experts else {}


def snapshot_path(place: str, snapshot: Snapshot | str) -> str:
    """A snapshot's path below that of its stream or model."""
    snapshot_id = snapshot.id if isinstance(snapshot, Snapshot) else snapshot
    return f"{place}/snapshots/{wire.encode(snapshot_id)}"


def _belief(data: Mapping[str, Any]) -> Belief:
    return Belief({**data})
