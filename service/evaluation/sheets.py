"""A report as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.table import Table as Sheet

from service.evaluation.measures import Measures
from service.evaluation.report import Report, Summary

HEADINGS = {
    "rmse_ratio": "rmse ratio",
    "persistence_rmse": "persistence",
    "persistence_mse": "persistence",
    "persistence_accuracy": "persistence",
}
DEVIATING = frozenset({"mse", "rmse", "rmse_ratio", "accuracy", "bits"})
"""Measures that are shown with their deviation over seeds; all others' are in the JSON."""

MAX_FIELDS = 40
"""Fields that get a row each; of more only the mean is shown."""


def number(value: float | None) -> str:
    """Four figures; ``-`` for none."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def kinds(report: Report) -> list[tuple[str, ...]]:
    """The measures that are shown: of real fields, if there are any, and of categories, if there are any."""
    found: list[tuple[str, ...]] = []
    if any(one.reals for one in report.series):
        kind = "mse" if report.asked.rows.unit_rows else "rmse"
        found.append((kind, f"persistence_{kind}", "rmse_ratio", "mae", "crps", "coverage"))
    if any(one.categories for one in report.series):
        found.append(("scored", "accuracy", "persistence_accuracy", "bits"))
    return found


def sheet(first: str, names: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Sheet:
    """A table whose first column is text and whose others are numbers."""
    made = Sheet(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column(first, no_wrap=True)
    for name in names:
        made.add_column(HEADINGS.get(name, name), justify="right", no_wrap=True)
    for label, cells in rows.items():
        made.add_row(label, *cells)
    return made


def fields(report: Report, summary: Summary) -> Iterator[Sheet]:
    """One method's measures per field, and their mean."""
    for names in kinds(report):
        chosen = {name: found for name, found in summary.fields.items() if names[-1] in found}
        rows = {name: _cells(found, summary.field_deviations[name], names) for name, found in chosen.items()}
        if "rmse_ratio" in names and (len(chosen) > 1 or report.n_streams > 1):
            rows = {} if len(rows) > MAX_FIELDS else rows
            label = "mean" if report.n_streams == len(report.series) else f"mean of {report.n_streams} streams"
            rows[label] = _cells(summary.mean, summary.mean_deviations, names)
        yield sheet("field", names, rows)


def ahead(report: Report, method: str) -> Iterator[Sheet]:
    """Measures per step ahead, one table per field."""
    steps = report.ahead(method)
    for name in steps[0] if steps else ():
        names = [measure for measure in steps[0][name] if measure != "scored"]
        rows = {str(h): [number(step[name][measure]) for measure in names] for h, step in enumerate(steps, start=1)}
        made = sheet("step", names, rows)
        made.title = f"{name}, {steps[0][name]['scored']} forecasts"
        yield made


def _cells(found: Measures, deviations: Measures, names: Sequence[str]) -> list[str]:
    """Numbers, with their deviation over seeds where there are several."""
    texts = []
    for name in names:
        deviation = deviations.get(name)
        text = number(found.get(name))
        texts.append(text if deviation is None or name not in DEVIATING else f"{text} ±{deviation:.2g}")
    return texts


def methods(report: Report, default: str, others: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[Sheet]:
    """Methods side by side: means over streams and fields, and what they cost."""
    for names in kinds(report):
        shown = [name for name in names if not name.startswith("persistence_") and name != "scored"]
        rows = {}
        for method in (default, *others):
            summary = report.summary(method)
            cost = f"{summary.item_us:.0f}"
            rows[method] = [*_cells(summary.mean, summary.mean_deviations, shown), cost]
        yield sheet("method", [*shown, "µs"], rows)
    rows = {}
    for method, other in pairs:
        found = report.compare(method, other)
        if found is not None:
            ends = (
                "-" if found.low is None or found.high is None else f"{_percent(found.low)} to {_percent(found.high)}"
            )
            deviation = "" if found.seed_deviation is None else f" ±{100 * found.seed_deviation:.1f}"
            rows[f"{method} / {other}"] = [
                f"{_percent(found.change)}{deviation}",
                ends,
                _chance(found.p_diebold_mariano),
                _chance(found.p_bootstrap),
                f"{found.seeds_better}/{found.n_seeds}",
            ]
    if rows:
        yield sheet("loss / loss of", ["change, %", "95 %", "p DM", "p boot", "won"], rows)


def _percent(share: float) -> str:
    """A change in per cent, without its sign for the unit."""
    return f"{100 * share:+.2f}" if abs(share) < 0.1 else f"{100 * share:+.0f}"


def _chance(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return "-"
    return "<.0001" if p < 1e-4 else f"{p:.4f}"
