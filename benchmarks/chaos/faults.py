"""Which faults there are, and in what order they come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from benchmarks.chaos.proxy import NetFault

T = TypeVar("T")

OTHERS_PER_KILL = 0.6
"""Faults that kill nothing, for each kill."""


class Kill(StrEnum):
    """What is ended by SIGKILL; each member is one moment at which that is done, and counts as one kill."""

    SERVICE = "service killed"
    STARTING = "service killed while it starts"
    STORE = "store killed"
    REWRITING = "store killed while it rewrites its log"
    BOTH = "service and store killed"
    TAKEN_OVER = "service paused, replaced, woken and killed"


class Halt(StrEnum):
    """What stops a process and kills none."""

    PAUSE_SERVICE = "service paused"
    PAUSE_STORE = "store paused"
    DRAIN = "service ended and started"


class Side(StrEnum):
    """Where a connection breaks."""

    FRONT = "client to service"
    BACK = "service to store"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        what: Is done.
        after_items: Items to be acknowledged before it, counted from the last recovery.
        delay_s: From then to the fault, so that it may meet any moment of a batch.
        seconds: How long it lasts, where it does.
        side: Of a network fault; None for all others.
    """

    what: Kill | Halt | NetFault
    after_items: int
    delay_s: float
    seconds: float
    side: Side | None = None

    @property
    def label(self) -> str:
        """What the report calls it."""
        return str(self.what) if self.side is None else f"{self.side}: {self.what}"


KILLS = {
    "embedded": {Kill.SERVICE: 6, Kill.STARTING: 2, Kill.STORE: 7, Kill.REWRITING: 2, Kill.BOTH: 3},
    "external": {Kill.SERVICE: 5, Kill.STARTING: 2, Kill.STORE: 7, Kill.REWRITING: 2, Kill.BOTH: 3, Kill.TAKEN_OVER: 1},
}
"""How often each kind comes among twenty, by setup."""

SIDES = {"embedded": (Side.FRONT,), "external": (Side.FRONT, Side.BACK, Side.BACK)}


def schedule(setup: str, kills: int, items: int, source: random.Random) -> Iterator[Fault]:
    """The faults of a run.

    Args:
        setup: Its name.
        kills: How many there are to be.
        items: How many the run is to acknowledge at least; the faults are spread over them.
        source: Decides everything.
    """
    others = [*Halt, *((fault, side) for fault in NetFault for side in SIDES[setup])]
    kinds: list[Kill | Halt | tuple[NetFault, Side]] = [
        *_drawn([kind for kind, times in KILLS[setup].items() for _ in range(times)], kills, source),
        *_drawn(others, round(kills * OTHERS_PER_KILL), source),
    ]
    source.shuffle(kinds)
    mean_items = items / len(kinds) if kinds else 0
    for kind in kinds:
        what, side = kind if isinstance(kind, tuple) else (kind, None)
        yield Fault(
            what=what,
            after_items=min(round(source.expovariate(1.0) * mean_items), round(4 * mean_items)),
            delay_s=source.uniform(0, 0.1),
            seconds=source.uniform(0.1, 3.0),
            side=side,
        )


def _drawn(kinds: Sequence[T], n: int, source: random.Random) -> list[T]:
    """``n`` of the kinds, each as often as any other but for one."""
    drawn: list[T] = []
    while len(drawn) < n:
        drawn += source.sample(kinds, min(len(kinds), n - len(drawn)))
    return drawn
