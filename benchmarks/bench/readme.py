"""The part of ``benchmarks/README.md`` that is written by the command, and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import plots
from service.bench.report import Report

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench: begin; written by make bench -->", "<!-- bench: end -->"


def write(files: Sequence[Path], readme: Path = README) -> list[Path]:
    """Write tables and plots; what was written.

    Args:
        files: Figures; rows of later ones replace those of the same name, and rows keep the order of the first.
        readme: Where the tables go, between two markers; the plots go to ``plots`` beside it.

    Raises:
        ValueError: If a file is no report, or the markers are not there.
    """
    reports = [Report.load(path) for path in files]
    rows = {row.name: row for report in reports for row in report.rows}
    whole = Report(reports[-1].about, reports[-1].plan, tuple(rows.values()))
    pictures = plots.save(whole, readme.parent / "plots")
    told = [*whole.lines(), "", *(f"![{title}](plots/{path.name})" for title, path in pictures)]
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} has not the two markers once each")
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    readme.write_text("\n".join((head + BEGIN, "", *told, "", END + tail)))
    return [readme, *(path for _, path in pictures)]
