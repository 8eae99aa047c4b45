"""A route that does nothing, for comparison: ``python -m service.bench.empty REPLY``.

It takes the same paths and bodies as the service's, checks them by a pydantic model as FastAPI does, and answers
``REPLY``, which is not even rendered. Uvicorn runs it as it does at its fastest: uvloop where it is installed,
httptools, no logs, no headers of proxies.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel


class Observation(BaseModel):
    """An item of one stream."""

    item: dict[str, float | str | None]
    sequence: int | None = None
    timestamp: str | None = None


def create_app(reply: str) -> FastAPI:
    """The application with its one route."""
    app, content = FastAPI(), reply.encode()

    @app.post("/v1/models/{model}/streams/{stream}/observations")
    async def observe(model: str, stream: str, body: Observation) -> Response:  # noqa: ARG001 - taken and not used
        return Response(content, media_type="application/json")

    return app


def main(reply: str) -> None:
    """Serve on a free port until a signal ends it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setblocking(False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        create_app(reply),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    print(f"an empty route listens on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main(sys.argv[1])
