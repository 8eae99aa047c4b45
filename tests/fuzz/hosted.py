"""The application on an event loop of its own, so that code without one can call it in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings

ANSWER_S = 60.0
"""Longest wait for a reply or its next piece, far more than any needs; one that takes longer hangs."""

LASTING = b"text/event-stream"
"""Type of a reply that lasts."""

Message = MutableMapping[str, Any]


class Hosted:
    """An ASGI application that may be called from any loop; each request runs on the loop that the real one lives on.

    A request's body is read whole before. A reply is passed on piece by piece, and each may take ``ANSWER_S``. Of one
    that lasts for as long as its caller likes the first piece is all there is: the caller goes then.
    """

    def __init__(self, app: FastAPI, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self._loop = loop

    def call(self, made: Awaitable[Any]) -> Any:
        """Run a coroutine on the application's loop, from another thread, and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(_bounded(made), self._loop).result()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request; the lifespan is not the caller's."""
        if scope["type"] == "lifespan":
            raise RuntimeError("the lifespan is entered already")
        received = [await receive()]
        while received[-1].get("more_body"):
            received.append(await receive())
        waiting, here = iter(received), asyncio.get_running_loop()
        sent: asyncio.Queue[Message | None] = asyncio.Queue()

        async def replay() -> Message:
            for message in waiting:
                return message
            await gone.wait()  # the caller stays until the reply has ended, or goes without a word
            return {"type": "http.disconnect"}

        gone, lasts = asyncio.Event(), False

        async def forward(message: Message | None) -> None:
            nonlocal lasts
            if message is not None and message["type"] == "http.response.start":
                lasts = any(LASTING in value for _, value in message["headers"])
            elif message is not None and lasts:
                message = {**message, "more_body": False}
                gone.set()
            here.call_soon_threadsafe(sent.put_nowait, message)

        async def answer() -> None:
            try:
                await self.app(scope, replay, forward)
            finally:
                await forward(None)

        answered = asyncio.run_coroutine_threadsafe(answer(), self._loop)
        try:
            while (message := await asyncio.wait_for(sent.get(), ANSWER_S)) is not None:
                await send(message)
            await asyncio.wrap_future(answered)
        finally:
            answered.cancel()


async def _bounded(made: Awaitable[Any]) -> Any:
    async with asyncio.timeout(ANSWER_S):
        return await made


@contextmanager
def hosted(**settings: Any) -> Iterator[Hosted]:
    """Run the application with these settings in a thread; at the end it has drained."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="hosted")
    thread.start()
    app = create_app(Settings(**settings))
    lifespan = app.router.lifespan_context(app)
    host = Hosted(app, loop)
    try:
        host.call(lifespan.__aenter__())
        yield host
        host.call(lifespan.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
