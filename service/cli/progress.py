"""Progress of work."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status


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


def working(what: str) -> Status:
    """A sign that something is under way whose length is not known, on standard error."""
    return Console(stderr=True).status(what)
