"""A run as a file, and as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from service.bench.machine import describe
from service.bench.plan import Plan
from service.bench.turns import Comparison

FORMAT = 1
HEAD = ("what", "", "against", "", "ratio", "lowest to highest", "target")


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, on what, and of what.

    Args:
        about: See :func:`service.bench.machine.describe`.
        plan: How much was measured.
        rows: What came out.
    """

    about: dict[str, Any]
    plan: dict[str, Any]
    rows: tuple[Comparison, ...]

    @classmethod
    def of(cls, plan: Plan, rows: Iterable[Comparison]) -> Self:
        """What was just measured here."""
        return cls(describe(), asdict(plan), tuple(rows))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that :meth:`save` wrote.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is none.
        """
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"{path} is no report of format {FORMAT}")
        return cls(data["about"], data["plan"], tuple(Comparison.from_dict(row) for row in data["rows"]))

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            OSError: If it cannot be written.
        """
        rows = [row.to_dict() for row in self.rows]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"format": FORMAT, "about": self.about, "plan": self.plan, "rows": rows}, indent=1) + "\n"
        )

    def lines(self) -> Iterator[str]:
        """The machine, and the table in Markdown."""
        machine = self.about["machine"]
        commit = self.about["commit"] or f"version {self.about['version']}"
        yield f"Commit {commit}, {self.about['date'][:10]}; {self.plan['rounds']} rounds of {self.plan['turn_s']:g} s."
        versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "fastapi", "uvicorn"))
        yield f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions};"
        busy = self.about.get("busy")
        yield f"{machine['store']}." + (
            "" if busy is None else f" {100 * busy:.0f} % of it was busy with other things before."
        )
        yield ""
        yield f"| {' | '.join(HEAD)} |"
        yield "|---|---:|---|---:|---:|---:|---|"
        for row in self.rows:
            yield f"| {' | '.join(cells(row))} |"


def comparison(old: Report, new: Report) -> Iterator[str]:
    """What changed between two runs, as a table in Markdown.

    The ratios were each measured on the machine as it was then; between the figures themselves the machine may differ.
    """
    before = {row.name: row for row in old.rows}
    yield f"{old.about['commit']} ({old.about['date']}) → {new.about['commit']} ({new.about['date']})"
    if old.about["machine"] != new.about["machine"]:
        yield "The machines or versions differ."
    yield ""
    yield "| what | ratio before | after | after / before | ours, after / before | theirs, after / before |"
    yield "|---|---:|---:|---:|---:|---:|"
    for row in new.rows:
        was = before.get(row.name)
        if was is None or not (was.ours and row.ours):
            continue
        parts = [_number(was.ratio), _number(row.ratio), _over(row.ratio, was.ratio)]
        parts += [_over(median(row.ours), median(was.ours)), _over(_middle(row.theirs), _middle(was.theirs))]
        yield f"| {row.title} | {' | '.join(parts)} |"


def cells(row: Comparison) -> tuple[str, ...]:
    """A row's text under each of ``HEAD``."""
    if row.skipped is not None:
        return (row.title, "", row.against, "", "skipped", row.skipped, "")
    spread = f"{_number(min(row.ratios))} to {_number(max(row.ratios))}" if len(row.ratios) > 1 else ""
    figures = (_with_unit(row.ours, row.unit), row.against, _with_unit(row.theirs, row.unit))
    return (row.title, *figures, _number(row.ratio), spread, _target(row))


def _target(row: Comparison) -> str:
    if row.target is None:
        return ""
    said = f"{'at most ' if row.less_is_better else ''}{row.target:g}"
    return said if row.reached is None else f"{said}: {'reached' if row.reached else 'missed'}"


def _with_unit(values: Sequence[float], unit: str) -> str:
    return f"{_number(median(values))} {unit}" if values else ""


def _middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _over(new: float | None, old: float | None) -> str:
    return "" if new is None or not old else _number(new / old)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
