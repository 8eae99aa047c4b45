"""Progress of work over rows."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def rows_progress() -> Progress:
    """A bar with rate and running measures, on standard error, so that standard output holds the result alone."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} items/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[measures]}"),
        console=Console(stderr=True),
    )
