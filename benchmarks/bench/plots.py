"""A report as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.bench.report import Report
from service.bench.turns import Comparison

_STYLE = {"svg.hashsalt": "stepahead", "svg.fonttype": "none", "font.size": 9}
_GOOD, _BAD, _PLAIN = "tab:green", "tab:orange", "tab:blue"


def save(report: Report, folder: Path) -> list[tuple[str, Path]]:
    """Write an SVG for each picture that the report has rows for; titles and paths.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If a file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - heavy
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    aimed = [row for row in report.rows if row.target is not None and row.ratio is not None]
    waits = [row for row in report.rows if row.unit == "ms" and row.ours]
    watched = next((row for row in report.rows if len(row.details.get("memory_bytes", ())) > 2), None)
    wanted: list[tuple[str, str, bool, Callable[[Any], None], float]] = [
        ("ratios", "Ratios over their targets", bool(aimed), lambda axes: _ratios(axes, aimed), 1 + 0.32 * len(aimed)),
        ("latency", "Latency", bool(waits), lambda axes: _waits(axes, waits), 1 + 0.32 * len(waits)),
        ("memory", "Memory while streams are created", watched is not None, lambda axes: _memory(axes, watched), 3.2),
    ]
    written = []
    folder.mkdir(exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, title, is_there, draw, height in wanted:
            if not is_there:
                continue
            figure = Figure(figsize=(8, height), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.subplots()
            draw(axes)
            axes.set_title(title)
            figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None})
            written.append((title, folder / f"{name}.svg"))
    return written


def _ratios(axes: Any, rows: list[Comparison]) -> None:
    """Each ratio in units of its target, so that all fit one axis: to the right of 1 is reached."""
    at = range(len(rows))[::-1]
    scaled = [[_over_target(row, ratio) for ratio in (row.ratio or 0.0, *row.ratios)] for row in rows]
    axes.barh(at, [one[0] for one in scaled], color=[_GOOD if row.reached else _BAD for row in rows], alpha=0.7)
    for y, one in zip(at, scaled, strict=True):
        axes.plot([min(one), max(one)], [y, y], color="black", linewidth=1)
    axes.set_yticks(list(at), _labels(rows), fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("share of the target; lines: the rounds")


def _over_target(row: Comparison, ratio: float) -> float:
    target = row.target or 1.0
    return target / ratio if row.less_is_better else ratio / target


def _waits(axes: Any, rows: list[Comparison]) -> None:
    at = range(len(rows))[::-1]
    for shift, values, label in (
        (0.2, [row.ours for row in rows], "stepahead"),
        (-0.2, [row.theirs for row in rows], "against"),
    ):
        middles = [sorted(one)[len(one) // 2] for one in values]
        axes.barh([y + shift for y in at], middles, height=0.4, label=label, color=_PLAIN if shift > 0 else "lightgrey")
    axes.set_yticks(list(at), _labels(rows), fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("ms")
    axes.legend()


def _labels(rows: list[Comparison]) -> list[str]:
    return [f"{row.title}\nagainst {row.against}" for row in rows]


def _memory(axes: Any, row: Comparison | None) -> None:
    if row is None:
        return
    axes.plot(row.details["seconds"], [value / 2**20 for value in row.details["memory_bytes"]], color=_PLAIN)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"seconds; {row.details['streams']:,} streams are created")
    axes.set_ylabel("memory of the service (PSS), MB")
