"""Bounds over all models of the process: what is taken of each, and whether more fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import Overloaded


class Bound:
    """A number of things that may be at once.

    Args:
        most: Of them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def has_room(self, n: int = 1) -> bool:
        """Whether ``n`` more fit."""
        return self.taken + n <= self.most

    def count(self, n: int) -> None:
        """Take note of ``n`` more; of fewer if it is negative."""
        self.taken += n


@dataclass(frozen=True, slots=True)
class SharedBounds:
    """What all models of a process share.

    Args:
        waiting: Accepted items that are in no micro-batch yet.
        reads: Looks at streams that are in progress or wait for the thread that looks.
    """

    waiting: Bound
    reads: Bound

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One look at streams, from its acceptance to its end.

        Raises:
            Overloaded: If as many as may be are in progress or wait.
        """
        if not self.reads.has_room():
            raise Overloaded(f"{self.reads.taken} reads wait, at most {self.reads.most} may", max_reads=self.reads.most)
        self.reads.count(1)
        try:
            yield
        finally:
            self.reads.count(-1)
