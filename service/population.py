"""How many streams a model holds: the bound on new ones, and forgetting those that expired."""

from __future__ import annotations

import math
import random
import time

from model.spec import ModelSpec
from service.errors import Overloaded
from service.store import Partition

RESWEEP_S = 1.0
"""Least time between two sweeps that a full model asks for; a sweep looks at every stream."""

SWEEP_EVERY_S = 60.0
"""Time between sweeps of a model whose streams expire."""


class Population:
    """The streams of one partition, as a number.

    Args:
        partition: Holds them.
    """

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        # Some time in the past: a model that is never open for long is swept as often, counted in the time it is open.
        self._swept_s = time.monotonic() - random.uniform(0, SWEEP_EVERY_S)

    async def room(self, wanted: int, spec: ModelSpec) -> float:
        """How many of the streams that are wanted may be created, or more."""
        if spec.max_streams is None or not wanted:
            return math.inf
        return await self._room(wanted, spec.max_streams)

    async def require_room(self, spec: ModelSpec) -> None:
        """Return if there is room for a new stream.

        Raises:
            Overloaded: If the model holds ``max_streams``.
        """
        if spec.max_streams is not None and not await self._room(1, spec.max_streams):
            raise full(spec.max_streams)

    async def sweep(self, spec: ModelSpec) -> None:
        """Now and then forget the expired streams of a model whose streams expire."""
        if spec.ttl_s is not None:
            await self._forget_expired(SWEEP_EVERY_S)

    async def _room(self, wanted: int, max_streams: int) -> int:
        """New streams that may come, at least 0."""
        room = max_streams - await self._partition.count_streams()
        if room < wanted and await self._forget_expired(RESWEEP_S):
            room = max_streams - await self._partition.count_streams()
        return max(room, 0)

    async def _forget_expired(self, after_s: float) -> int:
        now = time.monotonic()
        if now - self._swept_s < after_s:
            return 0
        self._swept_s = now
        return await self._partition.forget_expired()


def full(max_streams: int | None) -> Overloaded:
    """What a new stream is answered that is one too many."""
    return Overloaded(f"the model holds its {max_streams} streams", max_streams=max_streams)
