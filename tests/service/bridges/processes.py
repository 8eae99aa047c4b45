"""Brokers, a service and bridges as processes that can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0  # far more than anything takes; a test that needs it has failed


def wait_for(reached: Callable[[], bool], what: str) -> None:
    """Wait for an event in another process."""
    deadline = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


def environment() -> Mapping[str, str]:
    """Of a process that nobody has set anything for."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STEPAHEAD_")}


class RedisServer:
    """A Valkey or Redis that loses nothing when it is killed: each answer comes after its write to the log."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self.url = f"unix://{folder}/s"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it has loaded its data."""
        options = ("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--port", "0")
        self.process = subprocess.Popen(
            [self._binary, *options, "--unixsocket", self._folder / "s", "--dir", self._folder],
            stdout=subprocess.DEVNULL,
        )
        wait_for(self._answers, "the broker")

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it for good."""
        self.client.close()
        self.kill()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False


class ServiceProcess:
    """A ``stepahead serve`` that keeps its port when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "service", "serve", "--port", str(self._port)]
        with (self._folder / "service.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self._folder / "data")],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        found = re.search(r"listens on (http://\S+:(\d+))", self.process.stdout.readline())
        assert found is not None, (self._folder / "service.log").read_text()
        self.url, self._port = found[1], int(found[2])

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class BridgeProcess:
    """A ``stepahead bridge``.

    Args:
        log: What it says is added to this file.
        arguments: Of the command.
    """

    def __init__(self, log: Path, *arguments: object) -> None:
        self._log, self._arguments = log, [str(argument) for argument in arguments]
        self.start()

    def start(self) -> None:
        """Start it; nobody waits for it."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "bridge", *self._arguments],
                cwd=ROOT,
                env=environment(),
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """End it in good order; its exit status."""
        self.process.terminate()
        return self.process.wait(WAIT_S)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()


@contextmanager
def bridges(*started: BridgeProcess) -> Iterator[None]:
    """Leave none behind."""
    try:
        yield
    finally:
        for bridge in started:
            bridge.kill()
