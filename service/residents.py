"""The engines in memory: which they are, who uses them, and which may leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from service.engine import Engine


@dataclass(slots=True, eq=False)
class _Open:
    engine: Engine
    used_s: float  # when it was last asked for or released; monotonic clock
    n_bytes: int
    users: int = 0


class Residents:
    """The engines in memory, least recently used first. Opening and closing them is their owner's business.

    Args:
        most: Bound on their number; those that are being opened count.
        most_bytes: Bound on the memory of their weights and counts. It is looked at before a model is opened, when
            nobody knows yet what that one takes, so the last one opened may go over it.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._n_opening = 0
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Engine]:
        return (entry.engine for entry in list(self._open.values()))

    @property
    def bounds(self) -> dict[str, int]:
        """Their bounds, by the names of the settings."""
        return {"max_open_models": self._most, "max_models_bytes": self._most_bytes}

    @property
    def is_over(self) -> bool:
        """Whether they take more memory than they may together, and are more than one."""
        return self._n_bytes > self._most_bytes and len(self._open) > 1

    @property
    def has_room(self) -> bool:
        """Whether one more may be opened."""
        n = len(self._open) + self._n_opening
        return not n or (n < self._most and self._n_bytes < self._most_bytes)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Keep the room of one that is being opened."""
        self._n_opening += 1
        try:
            yield
        finally:
            self._n_opening -= 1

    def peek(self, model: str) -> Engine | None:
        """The model's engine, if it takes items; that does not count as a use."""
        entry = self._open.get(model)
        return entry.engine if entry is not None and entry.engine.is_open else None

    def find(self, model: str) -> Engine | None:
        """The model's engine, if it takes items; it is then the one used last."""
        engine = self.peek(model)
        if engine is not None:
            self._open.move_to_end(model)
            self._open[model].used_s = monotonic()
        return engine

    def add(self, engine: Engine) -> None:
        """Take an engine in that was opened."""
        self.remove(engine.model)
        self._open[engine.model] = _Open(engine, monotonic(), engine.n_bytes)
        self._n_bytes += engine.n_bytes

    def remove(self, model: str) -> Engine | None:
        """Leave a model's engine to the caller; ``None`` if it has none."""
        entry = self._open.pop(model, None)
        if entry is None:
            return None
        self._n_bytes -= entry.n_bytes
        return entry.engine

    @contextmanager
    def held(self, engine: Engine) -> Iterator[None]:
        """Keep an engine from being closed for its idleness."""
        entry = self._open[engine.model]
        entry.users += 1
        try:
            yield
        finally:
            entry.users -= 1
            if self._open.get(engine.model) is entry and engine.is_open:
                self._open.move_to_end(engine.model)
                entry.used_s = monotonic()

    def may_leave(self, model: str) -> bool:
        """Whether nobody uses a model's engine and it has nothing to do."""
        entry = self._open.get(model)
        return entry is not None and not entry.users and entry.engine.is_idle

    def longest_idle(self, *, before_s: float, unless: Callable[[str], bool]) -> str | None:
        """The least recently used model that may leave.

        Args:
            before_s: When it was last used at the latest, on the monotonic clock.
            unless: Whether a model is none to choose.
        """
        for model, entry in self._open.items():
            if entry.used_s > before_s:
                break
            if self.may_leave(model) and not unless(model):
                return model
        return None

    def weigh(self) -> None:
        """Look how much memory each takes by now: counts grow."""
        for entry in self._open.values():
            if entry.engine.is_open:
                n_bytes = entry.engine.n_bytes
                self._n_bytes += n_bytes - entry.n_bytes
                entry.n_bytes = n_bytes
