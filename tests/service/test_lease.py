"""Standing back after another service took the partition over."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import LeaseLost, TakenOver
from service.lease import FIRST_WAIT_S, MAX_WAIT_S, Lease


class Acquired:
    """A partition of which only the lease is of interest."""

    def __init__(self) -> None:
        self.times = 0

    async def acquire(self) -> None:
        """Count."""
        self.times += 1


async def test_the_wait_doubles_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each loss soon after the last doubles the wait up to its bound; after a time in peace it is short again."""
    now_s = 0.0
    monkeypatch.setattr("service.lease.monotonic", lambda: now_s)
    partition: Any = Acquired()
    lease = Lease("m", partition)
    waits = []
    for _ in range(7):
        lost = LeaseLost("m:0")
        lease.lost(lost)
        with pytest.raises(TakenOver) as refused:
            await lease.acquire()
        assert refused.value.retry_after_s == lost.retry_after_s
        waits.append(lost.retry_after_s)
        now_s += waits[-1]
        await lease.acquire()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert partition.times == len(waits)
    now_s += 2 * MAX_WAIT_S + 1
    lost = LeaseLost("m:0")
    lease.lost(lost)
    assert lost.retry_after_s == FIRST_WAIT_S
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert "STEPAHEAD_INSTANCE" in caplog.text
