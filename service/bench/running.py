"""Servers of one's own, as processes: the service, and an empty route to compare it with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.bench.machine import ROOT
from service.settings import ENV_PREFIX

LISTENS = " listens on "
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Args:
        url: Where it answers.
        pid: Its process.
        data_dir: Where the service keeps its data.
    """

    url: str
    pid: int
    data_dir: Path

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def create_model(self, name: str, spec: dict[str, Any]) -> None:
        """Create a model.

        Raises:
            httpx.HTTPStatusError: If it is refused.
        """
        httpx.put(f"{self.url}/v1/models/{name}", json=spec, timeout=_TIMEOUT_S).raise_for_status()

    def delete_model(self, name: str) -> None:
        """Delete a model.

        Raises:
            httpx.HTTPStatusError: If it is refused.
        """
        httpx.delete(f"{self.url}/v1/models/{name}", timeout=_TIMEOUT_S).raise_for_status()


@contextmanager
def running(*flags: str) -> Iterator[Server]:
    """The service on a free port, with settings from ``flags`` alone; its data is thrown away in the end.

    Raises:
        RuntimeError: If it does not start; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data_dir = Path(folder) / "data"
        command = ("service", "serve", "--port", "0", "--data-dir", str(data_dir), *flags)
        with _process(command, Path(folder)) as server:
            yield server


@contextmanager
def empty_route(reply: str) -> Iterator[Server]:
    """A FastAPI route that takes the service's bodies and answers ``reply``; see :mod:`service.bench.empty`.

    Raises:
        RuntimeError: If it does not start; the message is what it said.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _process(("service.bench.empty", reply), Path(folder)) as one,
    ):
        yield one


@contextmanager
def _process(module: Sequence[str], folder: Path) -> Iterator[Server]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    with (
        (folder / "log").open("w+") as log,
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", *module], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            said = process.stdout or ()
            url = next((line.rpartition(LISTENS)[2].split()[0] for line in said if LISTENS in line), None)
            if url is None:
                log.seek(0)
                raise RuntimeError(log.read())
            yield Server(url, process.pid, folder / "data")
        finally:
            process.terminate()
            process.communicate()
