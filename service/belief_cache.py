"""Beliefs that were committed a moment ago, kept in memory: a stream that goes on need not be read.

The belief in the store is the truth. What is kept here names when it was committed, and whoever commits what was
computed from it has the store compare that; so one that expired, was deleted or was replaced is never built upon.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic

from prometheus_client import Gauge

ENTRY_BYTES = 600
"""What a belief takes in memory beside its bytes and its stream's name, nearly."""


@dataclass(frozen=True, slots=True)
class Met:
    """The belief that a group meets in a stream.

    Args:
        belief: As the store holds it.
        sequence: Of its last item.
        updated_us: When it was committed, by the store's clock, if it is from memory; ``None`` if it was read just now.
        expires_s: When it is forgotten at the earliest, on the monotonic clock.
    """

    belief: bytes
    sequence: int
    updated_us: int | None = None
    expires_s: float = math.inf


class BeliefCache:
    """The beliefs used last, of all partitions of the process.

    Args:
        max_bytes: Most memory that they take, nearly; 0 keeps none.
        held: Told how much that is.
    """

    def __init__(self, max_bytes: int, held: Gauge) -> None:
        self._max_bytes = max_bytes
        self._held = held
        self._entries: OrderedDict[tuple[PartitionBeliefs, str], Met] = OrderedDict()  # least recently used first
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def partition(self) -> PartitionBeliefs:
        """The part of one partition, empty."""
        return PartitionBeliefs(self)

    def find(self, key: tuple[PartitionBeliefs, str]) -> Met | None:
        """What is kept of a stream, unless it may have expired."""
        met = self._entries.get(key)
        if met is None:
            return None
        if met.expires_s <= monotonic():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return met

    def put(self, key: tuple[PartitionBeliefs, str], met: Met) -> None:
        """Keep a belief in place of the stream's last one; those used longest ago give way."""
        self.drop(key)
        n_bytes = _n_bytes(key[1], met)
        if n_bytes > self._max_bytes:
            return
        self._entries[key] = met
        self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes:
            (_, stream), oldest = self._entries.popitem(last=False)
            self.n_bytes -= _n_bytes(stream, oldest)

    def drop(self, key: tuple[PartitionBeliefs, str]) -> None:
        """Keep nothing of a stream."""
        met = self._entries.pop(key, None)
        if met is not None:
            self.n_bytes -= _n_bytes(key[1], met)

    def drop_all(self, part: PartitionBeliefs) -> None:
        """Keep nothing of a partition."""
        for key in [key for key in self._entries if key[0] is part]:
            self.drop(key)

    def tell(self) -> None:
        """Report how much is held."""
        self._held.set(self.n_bytes)


class PartitionBeliefs:
    """The beliefs of one partition that are kept in memory, for as long as its owner is sure to be the owner.

    Args:
        cache: That they are kept in.
    """

    def __init__(self, cache: BeliefCache) -> None:
        self._cache = cache

    def find(self, streams: Iterable[str]) -> dict[str, Met]:
        """Those of the streams that are kept."""
        found = ((stream, self._cache.find((self, stream))) for stream in streams)
        return {stream: met for stream, met in found if met is not None}

    def keep(self, beliefs: Iterable[tuple[str, Met]]) -> None:
        """Keep what was committed, each belief with its stream."""
        for stream, met in beliefs:
            self._cache.put((self, stream), met)
        self._cache.tell()

    def forget(self, streams: Iterable[str]) -> None:
        """Keep nothing of these streams."""
        for stream in streams:
            self._cache.drop((self, stream))
        self._cache.tell()

    def clear(self) -> None:
        """Keep nothing."""
        self._cache.drop_all(self)
        self._cache.tell()


def _n_bytes(stream: str, met: Met) -> int:
    return len(met.belief) + len(stream) + ENTRY_BYTES
