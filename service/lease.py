"""The right to write to a partition, and how long to stand back after it was lost."""

from __future__ import annotations

import logging
import math
from time import monotonic

from service.errors import LeaseLost, TakenOver
from service.store import Partition

log = logging.getLogger("stepahead")

FIRST_WAIT_S = 1.0
"""From losing the lease to taking it back."""

MAX_WAIT_S = 30.0
"""The wait doubles up to this while the lease is lost again and again; twice this in peace, and it begins anew."""


class Lease:
    """The lease on one partition, as this process has it.

    Another instance takes it only where this one showed no sign of life, or goes by the same name. Two of one name
    would take it from each other with every batch, each redoing what the other wrote. So who lost it stands back before
    trying to take it again, and longer every time.

    Args:
        model: Whose partition it is.
        partition: The partition.
    """

    def __init__(self, model: str, partition: Partition) -> None:
        self._model = model
        self._partition = partition
        self._wait_s = 0.0
        self._lost_s = -math.inf  # on the monotonic clock

    async def acquire(self) -> None:
        """Take the lease; after it no other owner can write.

        Raises:
            TakenOver: If another instance has it and shows life, or it was lost too short a time ago.
            StoreUnavailable: If the store did not answer.
        """
        left_s = self._lost_s + self._wait_s - monotonic()
        if left_s > 0:
            raise TakenOver(self._model, math.ceil(left_s))
        await self._partition.acquire()

    def lost(self, error: LeaseLost) -> None:
        """Take note that another owner has it; ``error`` then tells callers how long to wait."""
        now_s = monotonic()
        in_peace = now_s - self._lost_s > 2 * MAX_WAIT_S
        self._wait_s = FIRST_WAIT_S if in_peace else min(2 * self._wait_s, MAX_WAIT_S)
        self._lost_s = now_s
        error.retry_after_s = max(1, math.ceil(self._wait_s))
        log.error(
            "model %s: another service on the same store took it over (%s); trying again in %g s. Was this one held up "
            "for longer than STEPAHEAD_LEASE_S, or does another one go by the same STEPAHEAD_INSTANCE?",
            self._model,
            "; ".join([str(error), *getattr(error, "__notes__", ())]),
            self._wait_s,
        )
