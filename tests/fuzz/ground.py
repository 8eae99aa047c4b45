"""What a campaign stands on: a model whose streams have items and a snapshot each, and files of both."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx

from tests.fuzz.files import mutated

MODEL = "boiler"
"""Is made again whenever it was deleted. Named as in the document's examples, which are sent as they are."""

STREAMS = ("site-7", "t", "Ж 7")
STATES = ("idle", "busy")
FIELDS = ("load", "state", "activity")
SPEC: dict[str, Any] = {
    "fields": [
        {"name": "load"},
        {"name": "state", "kind": "category", "values": [*STATES]},
        {"name": "activity", "kind": "category", "capacity": 3},
    ],
    "hidden": 4,
    "window": 2,
}
N_ITEMS = 3
MAX_KEPT = 8
"""Snapshots that a stream or the model has before the older ones go: at ``max_snapshots`` no more could be made."""

Send = Callable[..., httpx.Response]
"""Sends a request, as :meth:`httpx.Client.request` does."""


class Ground:
    """Keeps what generated requests can be steered to.

    Args:
        send: To the service that the campaign is about.
        seed: Of what is chosen.
    """

    def __init__(self, send: Send, seed: int) -> None:
        self._send = send
        self._source = random.Random(seed)
        self._names, self._files, self._made = count(1), count(1), count(1)

    def prepare(self) -> None:
        """Make the model, its streams, their items and snapshots where they are not there."""
        self._do("PUT", _path(), json=SPEC)
        self._do("PATCH", _path(), json={"max_streams": None, "ttl_s": None})
        for stream in STREAMS:
            if self._send("GET", _path(stream)).status_code == 404:
                for n in range(N_ITEMS):
                    item = {"load": n, "state": STATES[n % len(STATES)], "activity": f"a{n % 3}"}
                    self._do("POST", f"{_path(stream)}/observations", json={"item": item})
        for stream in (None, *STREAMS):
            self.snapshot(stream)

    def snapshot(self, stream: str | None) -> str:
        """The newest snapshot of a stream that is kept, or of the model; if there is none it is made."""
        path = f"{_path(stream)}/snapshots"
        answer = self._send("GET", path)
        kept = answer.json()["snapshots"] if answer.status_code == 200 else []  # the stream may be gone
        for old in kept[MAX_KEPT:]:
            self._do("DELETE", f"{path}/{old['id']}")
        if kept or answer.status_code != 200:
            return str(kept[0]["id"]) if kept else "1"
        return str(self._do("POST", path).json()["id"])

    def file(self, *, of_stream: bool) -> bytes:
        """A file just exported, of the model with its streams or of one of these; every other time a mutated one."""
        path = f"{_path(STREAMS[0] if of_stream else None)}/archive"
        data = self._do("GET", path, params=None if of_stream else {"streams": "all"}).content
        return data if next(self._files) % 2 else mutated(self._source, data)

    def new_name(self) -> str:
        """One that nothing has."""
        return f"new-{next(self._names)}"

    def has_named(self, name: object) -> bool:
        """Whether a name is one that was new once: it is sent again where an answer held it."""
        return isinstance(name, str) and name.startswith("new-")

    def new_or(self, name: str) -> str:
        """The first and every other time a name that nothing has in the place of one."""
        return self.new_name() if next(self._made) % 2 else name

    def _do(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send what must succeed."""
        answer = self._send(method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer


def _path(stream: str | None = None) -> str:
    return f"/v1/models/{MODEL}" + (f"/streams/{quote(stream)}" if stream else "")
