"""A lease in Redis that is held as long as the process lives."""

from __future__ import annotations

import uuid
from threading import Event, Thread

import redis

from service.bridges.scripts import Scripts

RENEWALS = 4
"""Signs of life within the time that a lease lasts without one."""


class Lease:
    """The right to be the one active consumer; others wait until it is released, or gives no sign of life.

    Args:
        scripts: Its own connection is used in a second thread.
        key: Where the lease is.
        holder: Who holds it, for a person who looks at the key.
        lasts_ms: Without a sign of life.
    """

    def __init__(self, scripts: Scripts, key: str, holder: str, lasts_ms: int) -> None:
        self._scripts, self._key = scripts, key
        self.token = f"{holder} {uuid.uuid4().hex}"
        self.lasts_ms = lasts_ms
        self._end: Event | None = None
        self._thread: Thread | None = None

    def acquire(self, stop: Event) -> bool:
        """Wait until it is free, and take it; ``False`` if ``stop`` is set before.

        Raises:
            redis.RedisError: If Redis does not answer.
        """
        poll_s = min(1.0, self.lasts_ms / 1000 / RENEWALS)
        while not self._scripts.client.set(self._key, self.token, nx=True, px=self.lasts_ms):
            if stop.wait(poll_s):
                return False
        self._end = Event()
        self._thread = Thread(target=self._live, args=(self._end,), name="lease", daemon=True)
        self._thread.start()
        return True

    def release(self) -> None:
        """Let it go, if it is held; an answer is not waited for in vain."""
        if self._end is None or self._thread is None:
            return
        self._end.set()
        self._thread.join()
        self._end = self._thread = None
        try:
            self._scripts.run("release", [self._key], [self.token])
        except redis.RedisError:  # it ends by itself
            return

    def _live(self, end: Event) -> None:
        while not end.wait(self.lasts_ms / 1000 / RENEWALS):
            try:
                if not self._scripts.run("renew", [self._key], [self.token, self.lasts_ms]):
                    return  # every script checks the lease: whoever goes on is told there
            except redis.RedisError:
                continue
