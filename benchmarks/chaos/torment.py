"""Forces the faults of a schedule on a setup under load, and takes the time until items are acknowledged again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress

from benchmarks.chaos.external import External
from benchmarks.chaos.faults import Fault, Halt, Kill, Side
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.processes import ChaosFailed
from benchmarks.chaos.proxy import NetFault
from benchmarks.chaos.setup import Setup

RECOVERY_S = 300.0
"""Far more than any recovery takes; a service that needs it has failed."""


class Torment:
    """Forces faults one after the other.

    Args:
        setup: Is disturbed.
        ledger: Tells when items are acknowledged again.
        tell: Gets a line after each fault.

    Attributes:
        is_up: Not set while no service is meant to answer.
        forced: How often each fault was forced, by label.
        recoveries_s: Seconds from each fault to the first item newly acknowledged after it, by label.
    """

    def __init__(self, setup: Setup, ledger: Ledger, tell: Callable[[str], None]) -> None:
        self._setup = setup
        self._ledger = ledger
        self.is_up = asyncio.Event()
        self.is_up.set()
        self._tell = tell
        self.forced: Counter[str] = Counter()
        self.recoveries_s: dict[str, list[float]] = defaultdict(list)

    async def run(self, faults: Iterable[Fault]) -> None:
        """Force all of them.

        Raises:
            ChaosFailed: If after one of them no item is acknowledged for ``RECOVERY_S``.
        """
        for fault in faults:
            await self.further(fault.after_items, "before")
            await asyncio.sleep(fault.delay_s)
            begin_s = time.monotonic()
            try:
                async with asyncio.timeout(RECOVERY_S):
                    await self._force(fault)
            except TimeoutError:
                raise ChaosFailed(f"{fault.label}: it met nothing; {self._setup.service_log}") from None
            await self.further(1, f"after: {fault.label}")
            took_s = time.monotonic() - begin_s
            self.forced[fault.label] += 1
            self.recoveries_s[fault.label].append(took_s)
            self._tell(f"{self._ledger.n_items:,} items; {fault.label}, {took_s:.1f} s")

    async def further(self, n_items: int, when: str) -> None:
        """Wait until so many more items are acknowledged.

        Args:
            n_items: Counted from now; none where it is not above 0.
            when: Says in an error what it was waited for.

        Raises:
            ChaosFailed: If none is for ``RECOVERY_S``.
        """
        ledger = self._ledger
        enough = ledger.n_items + n_items
        while ledger.n_items < enough:  # the bound is on standing still
            try:
                await asyncio.wait_for(ledger.reach(ledger.n_items + 1), RECOVERY_S)
            except TimeoutError:
                log = self._setup.service_log
                raise ChaosFailed(f"nothing acknowledged for {RECOVERY_S:g} s {when}; {log}") from None

    async def _force(self, fault: Fault) -> None:
        setup = self._setup
        match fault.what:
            case Kill.STORE:
                await setup.kill_store(fault.seconds / 2)
            case Kill.REWRITING:
                await setup.rewrite_log()
                await asyncio.sleep(fault.delay_s)
                await setup.kill_store(0)
            case Halt.PAUSE_SERVICE:
                await _pause(setup.service_pid, fault.seconds)
            case Halt.PAUSE_STORE:
                await _pause(setup.store_pid, fault.seconds)
            case NetFault():
                proxy = setup.front if fault.side is Side.FRONT else setup.back
                if proxy is None:
                    raise ValueError(f"{setup.name}: no connection there to break")
                await proxy.force(fault.what, fault.seconds)
            case Kill.TAKEN_OVER:
                if not isinstance(setup, External):
                    raise ValueError(f"{setup.name}: one service to a store")
                await setup.take_over(lambda: self.further(1, f"during: {fault.label}"), fault.seconds)
            case _:
                await self._stop_and_start(fault)

    async def _stop_and_start(self, fault: Fault) -> None:
        """What leaves no service for a while; the writers wait."""
        setup = self._setup
        self.is_up.clear()
        try:
            if fault.what is Kill.BOTH:
                await setup.kill_both()
            elif fault.what is Halt.DRAIN:
                await setup.end_service()
                await setup.start_service()
            else:
                await setup.kill_service()
                if fault.what is Kill.STARTING:
                    await setup.spawn_service()
                    await asyncio.sleep(fault.seconds * 1.3)
                    await setup.kill_service()
                await setup.start_service()
        finally:
            self.is_up.set()


async def _pause(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
