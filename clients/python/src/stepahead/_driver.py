"""Drives programs over a synchronous connection; :mod:`stepahead._adriver` is its sibling."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

from stepahead import _http
from stepahead._core import Answer, Core, Pause, Program, Request, RetryPolicy
from stepahead._events import Follower, Given, Open, Opened, Read
from stepahead._turns import Turn
from stepahead.errors import NoAnswer

T = TypeVar("T")
D = TypeVar("D", bound="Driver")


class Driver:
    """A connection to a service, and what is known of it; see :class:`stepahead.Client`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        timeout: float | httpx.Timeout | None,
        retries: int,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._http = httpx.Client(**_http.options(base_url, api_key, timeout), transport=transport)
        self._core = Core(RetryPolicy(retries))
        self._locks = _http.Locks(Turn)
        self._own_transport = transport is not None

    def __enter__(self: D) -> D:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_http.shown(self._http.base_url)!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _run(self, program: Program[T], model: str = "", streams: Iterable[str] = ()) -> T:
        """Drive a program; no other call that holds one of these streams runs meanwhile."""
        with closing(program), ExitStack() as held:
            for lock in self._locks.of(model, streams):
                held.enter_context(lock)
            try:
                todo = next(program)
                while True:
                    if isinstance(todo, Pause):
                        time.sleep(todo.seconds)
                        todo = next(program)
                    else:
                        todo = program.send(self._send(todo))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # typeshed has StopIteration.value as Any

    def _send(self, request: Request) -> Answer | NoAnswer:
        try:
            with ExitStack() as held:
                arguments = _http.arguments(request, self._http.timeout)
                if isinstance(request.content, Path):
                    source = held.enter_context(request.content.open("rb"))
                    arguments["content"] = iter(partial(source.read, _http.CHUNK_BYTES), b"")
                response = self._http.send(self._http.build_request(**arguments), stream=True)
                held.callback(response.close)
                if request.save_as is None or not response.is_success:
                    response.read()
                    return _http.answer(response)
                with _http.replaced(request.save_as) as target:
                    for chunk in response.iter_bytes(_http.CHUNK_BYTES):
                        target.write(chunk)
                return _http.head(response)
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url)

    def _follow(self, program: Follower) -> Generator[Given | Opened, None, None]:
        """Drive a program that gives what it reads."""
        with closing(program), ExitStack() as held:
            chunks: Iterator[bytes] = iter(())
            todo = next(program)
            while True:
                if isinstance(todo, Open):
                    held.close()
                    head, chunks = self._open(todo.request, held)
                    todo = program.send(head)
                elif isinstance(todo, Read):
                    todo = program.send(self._read(chunks))
                elif isinstance(todo, Pause):
                    held.close()
                    time.sleep(todo.seconds)
                    todo = next(program)
                else:
                    yield todo
                    todo = next(program)

    def _open(self, request: Request, held: ExitStack) -> tuple[Answer | NoAnswer, Iterator[bytes]]:
        arguments = _http.arguments(request, self._http.timeout)
        try:
            response = self._http.send(self._http.build_request(**arguments), stream=True)
            held.callback(response.close)
            if response.is_success:
                return _http.head(response), response.iter_bytes()
            response.read()
            return _http.answer(response), iter(())
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url), iter(())

    def _read(self, chunks: Iterator[bytes]) -> bytes | NoAnswer:
        try:
            return next(chunks, b"")
        except _http.LOST as error:
            return _http.no_answer(error, self._http.base_url)
