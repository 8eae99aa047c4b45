"""The synchronous client; :mod:`stepahead.aio` is its sibling."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import httpx

from stepahead import _http
from stepahead._driver import Driver
from stepahead._model import Model
from stepahead._stream import Stream
from stepahead._wire import FieldKind
from stepahead.types import ModelInfo, Size

__all__ = ["Client", "Model", "Stream"]


class Client(Driver):
    """A connection to a service; threads may share it.

    Every call is sent again after a lost answer, an overload or an outage, with growing delays, and does no harm twice.
    Several clients may feed the same stream: an item whose number another one took is sent again under the next. Where
    an answer was lost as well, it cannot be told whose item was applied, so such streams are better fed by one client.

    Args:
        base_url: Where the service is.
        api_key: Sent as ``Authorization: Bearer``; ``None`` for a service without keys.
        timeout: Seconds for each attempt, or an ``httpx.Timeout``; ``None`` to wait for ever. Archives and events may
            keep silent for longer.
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
        super().__init__(base_url, api_key, timeout, retries, transport)

    def health(self) -> dict[str, Any]:
        """Whether the service is ready, as it says itself.

        Raises:
            StepaheadError: If it is not.
        """
        return self._run(self._core.health())

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the service takes items, as after it was started.

        Args:
            timeout: Seconds.

        Raises:
            StepaheadError: What it last said, when the time is up; at once if waiting does not change it.
        """
        self._run(self._core.wait_until_ready(timeout))

    def size(self, fields: Mapping[str, FieldKind], streams: int = 1, **spec: Any) -> Size:
        """Tell what streams of a model would take; creates nothing.

        Args:
            fields: As for :meth:`create_model`.
            streams: How many.
            spec: The rest of the spec.

        Raises:
            InvalidSpec: If the spec is out of its bounds.
        """
        return self._run(self._core.size(fields, streams, spec))

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

    def import_model(self, name: str, archive: bytes | str | PathLike[str]) -> Model:
        """Create a model from what :meth:`Model.export` gave; it goes on, to the bit, where that one stood.

        Args:
            name: Of the new model, whatever the archive calls it.
            archive: The bytes, or the file that holds them, which is sent as it is read.

        Raises:
            InvalidArchive: If it cannot be used; nothing was created.
            ModelExists: If there is a model of that name; with ``outcome_unknown`` an attempt of this call, whose
                answer was lost, may have created it.
        """
        self._run(self._core.import_model(name, _http.archive(archive)))
        return self.model(name)
