"""Between a client and its connections: whatever answer arrives is written into the ledger as it is."""

from __future__ import annotations

import re
from urllib.parse import unquote

import httpx
import orjson

from benchmarks.chaos.ledger import Ledger

_OBSERVED = re.compile(r"/v1/models/([^/]+)/(?:streams/[^/]+/)?observations")


class Recording(httpx.AsyncBaseTransport):
    """A transport that tells the ledger of every answer to observations, and of every one that did not come.

    Args:
        ledger: Is written into.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and note its whole answer."""
        try:
            response = await self._inner.handle_async_request(request)
            content = await response.aread()
        except httpx.TransportError as error:
            self._ledger.errors[type(error).__name__] += 1
            raise
        observed = _OBSERVED.fullmatch(request.url.path)
        if observed is not None:
            self._note(unquote(observed[1]), response.status_code, content)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    def _note(self, model: str, status: int, content: bytes) -> None:
        body = orjson.loads(content)
        results = body.get("results", [body])
        if status == httpx.codes.OK:
            # What is written down below are these very bytes, but for ``duplicate``.
            written = b",".join(orjson.dumps(result) for result in results)
            if written not in (content, content.removeprefix(b'{"results":[').removesuffix(b"]}")):
                self._ledger.troubles.append(f"{model}: an answer that is not as the service writes it: {content!r}")
        for result in results:
            self._ledger.take(model, result)
