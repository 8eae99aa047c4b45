"""What a replay has come to so far: a bar with a line per field in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from service.cli.tally import Measures, RealMeasures

LINE_EVERY_S = 10.0
"""Between two lines where there is no terminal."""
RATE_OVER_S = 10.0
"""Over which the rate is taken."""
MAX_FIELDS = 8
MAX_NAME = 16
WIDE = 100
"""Columns of a terminal from which there is room for the share done beside the bar."""
REFRESH_PER_S = 5


@dataclass(slots=True)
class Progress:
    """How far a replay is.

    Args:
        name: What is replayed.
        total: Its rows; ``None`` where only the end will tell.
        n_replies: Rows that the service has answered.
        n_skipped: Rows that it had before.
    """

    name: str
    total: int | None
    n_replies: int = 0
    n_skipped: int = 0


class Scoreboard:
    """Shows a replay on standard error, so that standard output holds the result alone; a context manager.

    Args:
        progress: Looked at whenever something is drawn.
        measures: Gives each field's measures so far.
        console: Where to draw; ``None`` for standard error.
    """

    def __init__(
        self, progress: Progress, measures: Callable[[], dict[str, Measures]], console: Console | None = None
    ) -> None:
        self._progress = progress
        self._measures = measures
        self._console = console or Console(stderr=True)
        self._started_s = self._line_s = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._started_s, 0)])
        self._live: Live | None = None

    def __enter__(self) -> Scoreboard:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.render, console=self._console, refresh_per_second=REFRESH_PER_S, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Say a line if there is no terminal and it is time to."""
        now_s = time.monotonic()
        if self._live is None and now_s - self._line_s >= LINE_EVERY_S:
            self._line_s = now_s
            self._console.print(self.line(), soft_wrap=True, highlight=False)

    def line(self) -> str:
        """Everything in one line."""
        p, rate, _, elapsed_s = self._now()
        of = "" if p.total is None else f" of {p.total:,}"
        parts = [f"{p.name}: {p.n_replies + p.n_skipped:,}{of} rows in {clock(elapsed_s)}, {rate:,.0f} items/s"]
        parts += [f"{name} {' '.join(said)}" for name, said in self._fields()]
        return "; ".join(parts)

    def render(self) -> RenderableType:
        """A bar, or a count where the total is not known, and below it a line per field."""
        p, rate, left_s, elapsed_s = self._now()
        done = p.n_replies + p.n_skipped
        first = Grid.grid(padding=(0, 2, 0, 0), expand=p.total is not None)
        first.add_column(no_wrap=True)
        cells: list[RenderableType] = [_short(p.name)]
        if p.total is None:
            cells.append(Text(f"{done:,} rows", "progress.download"))
        else:
            first.add_column(ratio=1, min_width=6)
            cells.append(ProgressBar(max(p.total, 1), done))
            if self._console.width >= WIDE:
                cells.append(Text(f"{100 * done / max(p.total, 1):.0f} %", "progress.percentage"))
            cells.append(Text(f"{done:,}/{p.total:,}", "progress.download"))
        cells += [Text(f"{rate:,.0f} items/s", "progress.data.speed"), Text(clock(elapsed_s), "progress.elapsed")]
        if p.total is not None:
            cells.append(Text(f"ETA {'-:--' if left_s is None else clock(left_s)}", "progress.remaining"))
        while len(first.columns) < len(cells):
            first.add_column(no_wrap=True, justify="right")
        first.add_row(*cells)
        fields = Grid.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            fields.add_column(no_wrap=True)
        found = self._fields()
        room = max(1, min(MAX_FIELDS, self._console.height - 4))
        for name, said in found[:room]:
            fields.add_row(f"  {_short(name)}", *said)
        rest = [f"  and {len(found) - room} more fields"] if len(found) > room else []
        if p.n_skipped:
            rest.append(f"  {p.n_skipped:,} rows skipped, the server has them")
        return Group(first, fields, *(Text(line, "dim") for line in rest))

    def _now(self) -> tuple[Progress, float, float | None, float]:
        """The progress, items per second of late, seconds left (``None`` if that cannot be told), seconds so far."""
        p, now_s = self._progress, time.monotonic()
        self._seen.append((now_s, p.n_replies))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= RATE_OVER_S:
            self._seen.popleft()
        then_s, then = self._seen[0]
        rate = (p.n_replies - then) / max(now_s - then_s, 1.0)  # no more than is known in the first second
        left = None if p.total is None else p.total - p.n_replies - p.n_skipped
        return p, rate, None if left is None or rate == 0 else left / rate, now_s - self._started_s

    def _fields(self) -> list[tuple[str, tuple[str, str, str]]]:
        return [(name, _said(measures)) for name, measures in self._measures().items()]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, no more of them than it takes."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def number(value: float | None) -> str:
    """A measure to four digits, ``-`` where there is none."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _said(found: Measures) -> tuple[str, str, str]:
    if isinstance(found, RealMeasures):
        return (
            f"RMSE {number(found.rmse)}",
            f"persistence {number(found.persistence_rmse)}",
            f"ratio {_two(found.ratio)}",
        )
    accuracy, persistence = _percent(found.accuracy), _percent(found.persistence_accuracy)
    return f"accuracy {accuracy}", f"persistence {persistence}", f"bits {_two(found.bits)}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _short(name: str) -> Text:
    text = Text(name)
    text.truncate(MAX_NAME, overflow="ellipsis")
    return text
