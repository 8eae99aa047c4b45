"""A bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The ``size`` entries that were written last; threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What is known; ``None`` when nothing is, or no longer."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Know this now; the entry that was written longest ago gives way."""
        with self._guard:
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        """Know nothing of this."""
        with self._guard:
            self._entries.pop(key, None)

    def drop_where(self, matches: Callable[[K], bool]) -> None:
        """Know nothing of all keys that match."""
        with self._guard:
            for key in [key for key in self._entries if matches(key)]:
                del self._entries[key]
