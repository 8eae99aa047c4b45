"""On what, and of what, figures were taken."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from service import __version__
from service.store.embedded import find_binary

ROOT = Path(__file__).parents[2]
"""Where the sources are, or the installed packages."""


def describe() -> dict[str, Any]:
    """Time, commit, machine and versions, as plain JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "commit": commit(),
        "busy": busy(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "numba", "fastapi", "uvicorn")},
            "store": said_by(str(find_binary()), "--version"),
        },
    }


def commit() -> str | None:
    """The commit of the working tree, with a ``+`` where files differ from it; ``None`` of an installed package."""
    if not (ROOT / ".git").exists():
        return None
    found = said_by("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD")
    changed = said_by("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return None if found is None else found + ("+" if changed else "")


def busy(seconds: float = 0.5) -> float | None:
    """Share of the machine's processor time that is taken just now; ``None`` where the system does not tell.

    Turns cancel what slows both sides of a pair alike. A service of several processes and a learner of one thread are
    not slowed alike where many others compete.
    """
    before = _times()
    time.sleep(seconds)
    after = _times()
    if before is None or after is None:
        return None
    idle, whole = after[0] - before[0], after[1] - before[1]
    return round(1 - idle / whole, 3) if whole else None


def said_by(*command: str) -> str | None:
    """What a command prints, without white space around it; ``None`` where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own commands
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _times() -> tuple[int, int] | None:
    """Processor time of the whole machine, idle and all, in ticks."""
    try:
        ticks = [int(part) for part in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return ticks[3] + ticks[4], sum(ticks)  # waiting for a disk is idle


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
