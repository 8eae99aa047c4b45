"""What there is to measure, by name, and measuring it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from service.bench import frames, rest
from service.bench.plan import Plan
from service.bench.report import Report
from service.bench.turns import Comparison, Tell

Measure = Callable[[Plan, Tell], list[Comparison]]

SERVICE: Mapping[str, Measure] = {
    "rest": rest.rest,
    "frames": frames.many,
    "backfill": frames.backfill,
    "durability": rest.durability,
}
"""What needs nothing but an installation."""


def measure(rows: Mapping[str, Measure], plan: Plan, tell: Tell, path: Path | None = None) -> Report:
    """Measure all of these, one after the other.

    Args:
        rows: By name.
        plan: How much.
        tell: Gets what is under way.
        path: Where the figures go after each row, so that a run that is ended early leaves those that it has; ``None``
            for nowhere.

    Raises:
        OSError: If a server cannot be started or the file not be written.
        RuntimeError: If a server ends or refuses what it is sent.
    """
    report = Report.of(plan, ())  # of the commit as it is now, and not when all is measured
    for i, (name, one) in enumerate(rows.items(), start=1):
        begin = time.perf_counter()
        tell(f"[{i} of {len(rows)}] {name}")
        report = replace(report, rows=(*report.rows, *one(plan, tell)))
        tell(f"[{i} of {len(rows)}] {name}: {time.perf_counter() - begin:.0f} s")
        if path is not None:
            report.save(path)
    return report
