"""Ends a server that a killed service left running on its socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

POLL_S = 0.02

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_LOCAL_PEERPID = 2  # of macOS, <sys/un.h>

log = logging.getLogger(__name__)


def connect(path: Path, timeout_s: float) -> Redis:
    """Make a client for a socket that gives up after ``timeout_s`` and tries nothing twice."""
    return Redis(
        unix_socket_path=str(path),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )


def listening_pid(path: Path) -> int | None:
    """Ask the kernel which process listens on a unix socket.

    Returns:
        Its pid, 0 if it runs where this process cannot see it, None if nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(1)
        try:
            peer.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except (TimeoutError, BlockingIOError):  # its queue is full: somebody listens and does not come round to it
            return 0
        if sys.platform == "linux":
            pid, _, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        else:
            pid = peer.getsockopt(0, _LOCAL_PEERPID)
        return int(pid)


async def end_leftover(path: Path, *, timeout_s: float) -> None:
    """End the server on ``path``, if there is one; its socket may stay, with nobody behind it.

    It is asked to shut down, which writes all it holds; then terminated; then killed. A signal is sent only to a
    process that the kernel names as the listener on ``path`` at that moment.

    Args:
        path: A socket that only servers of this data directory listen on.
        timeout_s: How long each of the three may take.

    Raises:
        OSError: If it is still there after all three.
    """
    pid = listening_pid(path)
    if pid is None:
        return
    log.warning("ending the store that an earlier service left running (pid %d)", pid)
    await _ask_to_shut_down(path, timeout_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if await _wait_gone(path, pid, timeout_s):
            return
        if pid > 0 and listening_pid(path) == pid:
            os.kill(pid, number)
    if not await _wait_gone(path, pid, timeout_s):
        raise OSError(f"the store that an earlier service left running (pid {pid}) does not end")


async def _ask_to_shut_down(path: Path, timeout_s: float) -> None:
    client = connect(path, timeout_s)
    try:
        await client.shutdown(nosave=True)
    except (RedisError, OSError):  # whether it ends is seen by the process, not by the answer
        pass
    finally:
        await client.aclose()


async def _wait_gone(path: Path, pid: int, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            while _is_running(pid) or listening_pid(path) is not None:  # noqa: ASYNC110  not our child: no event
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return False
    return True


def _is_running(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
        # One that has ended and that nobody waits for stays in the table as a zombie.
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here
        return True
