"""A process's memory over time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_PERIOD_S = 0.5
_KB = 1024


class Watch:
    """Samples the memory of a process while its block runs; Linux only.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        """Of each sample, since the first."""
        self.sampled_bytes: list[int] = []

    @property
    def first_bytes(self) -> int:
        """At the beginning."""
        return self.sampled_bytes[0]

    @property
    def most_bytes(self) -> int:
        """The most at any time."""
        return max(self.sampled_bytes)

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self._sample()

    def _sample(self) -> None:
        self.seconds.append(round(time.perf_counter() - self._begin, 3))
        self.sampled_bytes.append(memory_bytes(self._pid))


def memory_bytes(pid: int) -> int:
    """The memory that a process has to itself, and its share of what it has with others (PSS).

    Raises:
        OSError: If there is no such process, or the system does not tell.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KB
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")
