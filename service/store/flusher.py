"""Forces what the embedded store has appended to disk, once a second.

The server itself is told never to: with its own ``everysec`` it puts off writing, and answers all the same, while the
disk is busy, and what was answered is lost if the process is then killed. Without, every answer comes after its write,
so that only the failure of the whole machine can lose anything: the seconds that were not forced to disk yet.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

PERIOD_S = 1.0

log = logging.getLogger(__name__)


async def keep_flushing(directory: Path) -> None:
    """Force the append-only files in ``directory`` to disk every second, until cancelled."""
    failing = False
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await asyncio.to_thread(flush, directory)
        except OSError as error:
            if not failing:
                log.warning("what the store wrote cannot be forced to disk: %s", error)
            failing = True
        else:
            failing = False


def flush(directory: Path) -> None:
    """Force the append-only files in ``directory`` to disk; those that are replaced meanwhile are passed over.

    Raises:
        OSError: If the disk refuses.
    """
    for path in directory.glob("*.aof"):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(file)
        finally:
            os.close(file)
