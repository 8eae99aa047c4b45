"""Service and store under load, killed and cut off from each other: the short form of ``make chaos``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from benchmarks.chaos.faults import Fault, Halt, Kill, Side
from benchmarks.chaos.proxy import NetFault
from benchmarks.chaos.run import run

ITEMS, STREAMS = 1_500, 24

FAULTS = {
    "embedded": [
        Fault(Kill.SERVICE, 300, 0.02, 0.0),
        Fault(NetFault.LOST_ANSWER, 50, 0.0, 0.0, Side.FRONT),
        Fault(NetFault.LOST_ANSWER, 50, 0.0, 0.0, Side.FRONT),
        Fault(Kill.STORE, 200, 0.01, 0.0),
        Fault(NetFault.LATE, 50, 0.0, 0.2, Side.FRONT),
    ],
    "external": [
        Fault(NetFault.LOST_ANSWER, 200, 0.0, 0.0, Side.FRONT),
        Fault(NetFault.LOST_ANSWER, 50, 0.0, 0.0, Side.FRONT),
        Fault(NetFault.LOST_ANSWER, 200, 0.0, 0.0, Side.BACK),
        Fault(NetFault.LATE, 50, 0.0, 0.5, Side.BACK),
        Fault(NetFault.HALF_REQUEST, 50, 0.0, 0.0, Side.BACK),
        Fault(Kill.STORE, 200, 0.01, 0.2),
        Fault(Halt.PAUSE_STORE, 50, 0.0, 1.8),
        Fault(Kill.TAKEN_OVER, 200, 0.02, 0.3),
    ],
}


@pytest.mark.parametrize("setup", list(FAULTS))
async def test_faults_under_load_lose_double_and_change_nothing(setup: str) -> None:
    """After kills and broken connections every acknowledged item is held once, to the bit as a replay has it."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:  # short: a socket's path is bounded
        outcome = await run(setup, Path(directory), FAULTS[setup], items=ITEMS, streams=STREAMS, seed=7, tell=print)
    assert outcome.items >= ITEMS
    assert outcome.forced.total() == len(FAULTS[setup])
    assert outcome.rescued > 0, "no fault met an item between its commit and its answer"
    verdict = outcome.verdict
    assert (verdict.lost, verdict.doubled, verdict.differing) == (0, 0, 0), verdict.notes
    assert outcome.troubles == []
