"""A report as a picture: the running error of every method, and the ablation as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.evaluation import measures
from service.evaluation.report import Report

_MAX_POINTS = 2_000
_SKIP = 0.02  # share of the items at the start whose running error says nothing yet


def save(report: Report, names: Sequence[str], pairs: Sequence[tuple[str, str]], path: Path) -> None:
    """Write a PNG.

    Args:
        report: Of all methods.
        names: Methods whose running error is drawn.
        pairs: Methods, and what each is compared with; a bar each.
        path: Where to.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - heavy, and optional
    from matplotlib.figure import Figure  # noqa: PLC0415

    found = [(f"{method} / {other}", report.compare(method, other)) for method, other in pairs]
    bars = [(label, one) for label, one in found if one is not None]
    figure = Figure(figsize=(9, 4.5 + 0.35 * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    upper, *lower = figure.subplots(2 if bars else 1, 1, squeeze=False, height_ratios=[4, len(bars)] if bars else [1])[
        :, 0
    ]
    for name in names:
        items, error = running(report, name)
        upper.plot(items, error, label=name, linewidth=1)
    upper.set_xlabel("scored items" if report.n_streams == len(report.series) else "micro-batches")
    upper.set_ylabel("running loss")
    upper.set_title(", ".join(one.name for one in report.series[:4]) + (" …" if len(report.series) > 4 else ""))
    upper.legend(fontsize="small", ncols=2)
    for axes in lower:
        at = np.arange(len(bars))[::-1]
        change = np.array([one.change for _, one in bars])
        ends = np.array([[one.change if end is None else end for end in (one.low, one.high)] for _, one in bars])
        axes.barh(at, 100 * change, color=["tab:green" if value < 0 else "tab:red" for value in change], alpha=0.6)
        axes.errorbar(100 * change, at, xerr=100 * np.abs(ends.T - change), fmt="none", ecolor="black", capsize=3)
        axes.set_yticks(at, [label for label, _ in bars], fontsize="small")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel("change of loss in %, with its 95 % interval; left is better")
    figure.savefig(path, format="png", dpi=120)


def running(report: Report, method: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Mean loss up to each scored item or batch, over series and seeds: places and values, at most so many."""
    curves = []
    for seed in report.seeds(method):
        for run in report.runs(method, seed):
            loss = measures.losses(*run)
            loss = loss[~np.isnan(loss)]
            if len(loss):
                curves.append(np.cumsum(loss) / np.arange(1, len(loss) + 1))
    n = min(map(len, curves), default=0)
    at = np.unique(np.linspace(int(_SKIP * n), max(n - 1, 0), min(n, _MAX_POINTS)).astype(np.int64))
    mean = np.mean([curve[at] for curve in curves], axis=0) if n else np.zeros(0)
    return at[: len(mean)], mean
