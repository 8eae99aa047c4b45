"""The asynchronous client: the same calls as :mod:`stepahead.client`, awaited."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import httpx

from stepahead import _http
from stepahead._adriver import AsyncDriver
from stepahead._amodel import AsyncModel
from stepahead._astream import AsyncStream
from stepahead._wire import FieldKind
from stepahead.types import ModelInfo, Size

__all__ = ["AsyncClient", "AsyncModel", "AsyncStream"]


class AsyncClient(AsyncDriver):
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
        super().__init__(base_url, api_key, timeout, retries, transport)

    async def health(self) -> dict[str, Any]:
        """See :meth:`stepahead.Client.health`."""
        return await self._run(self._core.health())

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """See :meth:`stepahead.Client.wait_until_ready`."""
        await self._run(self._core.wait_until_ready(timeout))

    async def size(self, fields: Mapping[str, FieldKind], streams: int = 1, **spec: Any) -> Size:
        """See :meth:`stepahead.Client.size`."""
        return await self._run(self._core.size(fields, streams, spec))

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

    async def import_model(self, name: str, archive: bytes | str | PathLike[str]) -> AsyncModel:
        """See :meth:`stepahead.Client.import_model`."""
        await self._run(self._core.import_model(name, _http.archive(archive)))
        return self.model(name)
