"""Drives programs over an asynchronous connection; :mod:`stepahead._driver` is its sibling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

import httpx

from stepahead import _http
from stepahead._core import Answer, Core, Pause, Program, Request, RetryPolicy
from stepahead._events import Follower, Given, Open, Opened, Read
from stepahead._turns import AsyncTurn
from stepahead.errors import NoAnswer

T = TypeVar("T")
D = TypeVar("D", bound="AsyncDriver")


class AsyncDriver:
    """A connection to a service, and what is known of it; see :class:`stepahead.AsyncClient`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        timeout: float | httpx.Timeout | None,
        retries: int,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._http = httpx.AsyncClient(**_http.options(base_url, api_key, timeout), transport=transport)
        self._core = Core(RetryPolicy(retries))
        self._locks = _http.Locks(AsyncTurn)
        self._own_transport = transport is not None
        self._streams = not isinstance(transport, httpx.ASGITransport)

    async def __aenter__(self: D) -> D:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_http.shown(self._http.base_url)!r})"

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _run(self, program: Program[T], model: str = "", streams: Iterable[str] = ()) -> T:
        """Drive a program; no other call that holds one of these streams runs meanwhile."""
        with closing(program):
            async with AsyncExitStack() as held:
                for lock in self._locks.of(model, streams):
                    await held.enter_async_context(lock)
                try:
                    todo = next(program)
                    while True:
                        if isinstance(todo, Pause):
                            await asyncio.sleep(todo.seconds)
                            todo = next(program)
                        else:
                            todo = program.send(await self._send(todo))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # typeshed has StopIteration.value as Any

    async def _send(self, request: Request) -> Answer | NoAnswer:
        try:
            async with AsyncExitStack() as held:
                arguments = _http.arguments(request, self._http.timeout)
                if isinstance(request.content, Path):
                    source = held.enter_context(await asyncio.to_thread(request.content.open, "rb"))
                    arguments["content"] = _chunks(source)
                response = await self._http.send(self._http.build_request(**arguments), stream=True)
                held.push_async_callback(response.aclose)
                if request.save_as is None or not response.is_success:
                    await response.aread()
                    return _http.answer(response)
                with _http.replaced(request.save_as) as target:
                    async for chunk in response.aiter_bytes(_http.CHUNK_BYTES):
                        await asyncio.to_thread(target.write, chunk)
                return _http.head(response)
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url)

    async def _follow(self, program: Follower) -> AsyncGenerator[Given | Opened, None]:
        """Drive a program that gives what it reads."""
        with closing(program):
            async with AsyncExitStack() as held:
                chunks: AsyncIterator[bytes] | None = None
                todo = next(program)
                while True:
                    if isinstance(todo, Open):
                        await held.aclose()
                        head, chunks = await self._open(todo.request, held)
                        todo = program.send(head)
                    elif isinstance(todo, Read):
                        todo = program.send(await self._read(chunks))
                    elif isinstance(todo, Pause):
                        await held.aclose()
                        await asyncio.sleep(todo.seconds)
                        todo = next(program)
                    else:
                        yield todo
                        todo = next(program)

    async def _open(
        self, request: Request, held: AsyncExitStack
    ) -> tuple[Answer | NoAnswer, AsyncIterator[bytes] | None]:
        arguments = _http.arguments(request, self._http.timeout)
        try:
            response = await self._http.send(self._http.build_request(**arguments), stream=True)
            held.push_async_callback(response.aclose)
            if response.is_success:
                return _http.head(response), response.aiter_bytes()
            await response.aread()
            return _http.answer(response), None
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url), None

    async def _read(self, chunks: AsyncIterator[bytes] | None) -> bytes | NoAnswer:
        if chunks is None:
            return b""
        try:
            return await anext(chunks, b"")
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url)


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(source.read, _http.CHUNK_BYTES):
        yield chunk
