"""The service and an external store as processes that can be started, paused and killed."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError, ResponseError

from service.store.embedded import find_binary
from service.store.leftover import connect

ROOT = Path(__file__).parents[2]
START_S = 120.0
"""Far more than any start takes; one that needs it has failed."""
POLL_S = 0.01
LOG_LINES = 30


class ChaosFailed(Exception):
    """The run cannot go on: something did not come back. The message ends with the last lines of a log."""


class Service:
    """A ``stepahead serve``, on whichever port is free.

    Args:
        log: File that everything it says is added to.
        flags: Of the command.
    """

    def __init__(self, log: Path, flags: tuple[str, ...]) -> None:
        self._log = log
        self._flags = flags
        self._process: Process | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return _running(self._process).pid

    async def spawn(self) -> None:
        """Start the process, and do not wait until it listens."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPAHEAD_")}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service", "serve", "--port", "0", *self._flags),
                cwd=ROOT,
                env=environment,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
            )

    async def listens(self) -> None:
        """Wait until it listens.

        Raises:
            ChaosFailed: If it ends instead, or takes too long.
        """
        stdout = _running(self._process).stdout
        line = b""
        if stdout is not None:
            with suppress(TimeoutError):
                line = await asyncio.wait_for(stdout.readline(), START_S)
        if b" listens on " not in line:
            raise ChaosFailed(f"the service did not start; {tail(self._log)}")
        self.port = int(line.rpartition(b":")[2])

    async def kill(self) -> None:
        """End it without a word."""
        await _kill(self._process)

    async def end(self) -> None:
        """End it in good order.

        Raises:
            ChaosFailed: If it does not end, or not with status 0.
        """
        process = _running(self._process)
        process.terminate()
        try:
            status = await asyncio.wait_for(process.wait(), START_S)
        except TimeoutError:
            status = None
        if status != 0:
            raise ChaosFailed(f"the service ended with status {status}; {tail(self._log)}")


class ExternalStore:
    """A Valkey with an append-only file that nobody but this program starts and ends.

    Args:
        directory: Of its files and its socket; not too deep, as a socket's path is bounded.
    """

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self.socket = directory / "s"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return _running(self._process).pid

    async def start(self) -> None:
        """Start it, and wait until it has loaded its data.

        Raises:
            ChaosFailed: If it ends instead, or takes too long.
        """
        self._dir.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        # Each answer then comes after its write, so that the kill of the process loses nothing; see decision 3.
        options = ("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--port", "0")
        with (self._dir / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                find_binary(),
                *(*options, "--unixsocket", str(self.socket), "--dir", str(self._dir)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        client = connect(self.socket, 1.0)
        try:
            async with asyncio.timeout(START_S):
                while self._process.returncode is None:
                    try:
                        await client.ping()
                        return
                    except (RedisError, OSError):
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            pass
        finally:
            await client.aclose()
        raise ChaosFailed(f"the store did not start; {tail(self._dir / 'log')}")

    async def kill(self) -> None:
        """End it without a word."""
        await _kill(self._process)


async def rewrite_log(path: Path) -> None:
    """Have the store that listens on a socket begin to write its log anew.

    Raises:
        ChaosFailed: If it does not.
    """
    client = connect(path, START_S)
    try:
        await client.bgrewriteaof()
    except ResponseError as error:  # one is under way
        if "in progress" not in str(error):
            raise ChaosFailed(f"the store does not write its log anew: {error}") from error
    finally:
        await client.aclose()


def tail(log: Path) -> str:
    """The last lines of a log."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return f"the last lines of {log}:\n" + "\n".join(lines[-LOG_LINES:])


def _running(process: Process | None) -> Process:
    if process is None:
        raise RuntimeError("it was not started")
    return process


async def _kill(process: Process | None) -> None:
    if process is None:
        return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
