"""The verdict, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.chaos.run import Outcome


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All figures of all setups, and their sums."""
    return {
        "kills": sum(o.kills for o in outcomes),
        "items": sum(o.items for o in outcomes),
        "lost": sum(o.verdict.lost for o in outcomes),
        "doubled": sum(o.verdict.doubled for o in outcomes),
        "differing_bits": sum(o.verdict.differing for o in outcomes),
        "setups": [asdict(o) for o in outcomes],
    }


def lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The figures as Markdown: a table of setups, and one of faults."""
    yield "| setup | kills | faults | items | lost | doubled | differing bits | items/s | load | replay |"
    yield "|---|" + "---:|" * 9
    for o in outcomes:
        rate = o.items / o.load_s if o.load_s else 0.0
        verdict = f"{o.verdict.lost} | {o.verdict.doubled} | {o.verdict.differing}"
        numbers = f"{o.kills} | {o.forced.total()} | {o.items:,} | {verdict} | {rate:,.0f}"
        yield f"| {o.setup} | {numbers} | {o.load_s:.0f} s | {o.replay_s:.0f} s |"
    yield ""
    yield "| fault | forced | recovered in, median | longest |"
    yield "|---|---:|---:|---:|"
    recoveries_s: dict[str, list[float]] = {}
    for o in outcomes:
        for label, found in o.recoveries_s.items():
            recoveries_s.setdefault(label, []).extend(found)
    for label, found in sorted(recoveries_s.items(), key=lambda pair: -len(pair[1])):
        yield f"| {label} | {len(found)} | {median(found):.2f} s | {max(found):.2f} s |"
    yield ""
    errors: Counter[str] = sum((o.errors for o in outcomes), Counter())
    yield "Errors met by clients: " + (", ".join(f"{n:,} {code}" for code, n in errors.most_common()) or "none") + "."
    duplicates, rescued = sum(o.duplicates for o in outcomes), sum(o.rescued for o in outcomes)
    yield (
        f"{duplicates:,} duplicates, of which {rescued:,} answered an item for the first time: it had been applied, "
        "and its answer was lost."
    )
    yield f"{sum(o.streams for o in outcomes):,} streams, {sum(o.updates for o in outcomes):,} weight updates."
    for o in outcomes:
        for line in [*o.verdict.notes, *o.troubles]:
            yield f"{o.setup}: {line}"
    sums = as_json(outcomes)
    yield (
        f"{sums['kills']} kills, {sums['items']:,} items acknowledged: {sums['lost']} lost, "
        f"{sums['doubled']} doubled, {sums['differing_bits']} bits differ."
    )
