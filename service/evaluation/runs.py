"""One run: a series through the learner under one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.learner import Learner
from model.prequential import prequential
from model.spec import LearnSpec, ModelSpec
from service.evaluation.horizon import Ahead
from service.evaluation.outcome import Outcome
from service.evaluation.series import Series

Tell = Callable[[int, str], None]
"""Called with the number of rows done since the last call, and how the first field stands so far, for a person."""

TELL_EVERY = 64
"""Rows between two calls."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows count, as places: see :class:`service.evaluation.series.Series`.

    Args:
        first: The first that is scored; ``None`` for a quarter of them.
        last: After the last that is read; ``None`` for the end.
        unit_rows: Errors are divided by each field's standard deviation over these first; 0 for the field's own unit.
    """

    first: int | None = None
    last: int | None = None
    unit_rows: int = 0

    def scored(self, series: Series) -> NDArray[np.bool_]:
        """Whether each row is scored, (N,)."""
        return np.asarray(series.place >= series.first_scored(self.first)[series.stream])


@dataclass(frozen=True, slots=True)
class Asked:
    """What every run of an evaluation has in common.

    Args:
        rows: Which count.
        noise: See :meth:`service.evaluation.series.Series.disturbed`.
        missing: Likewise.
        horizon: Steps ahead that are forecast and scored besides; 1 for none besides.
        every: Rows of a stream between two such forecasts.
    """

    rows: Rows
    noise: float = 0.0
    missing: float = 0.0
    horizon: int = 1
    every: int = 1


class Running:
    """How the first field stands, beside persistence, as rows are scored.

    Args:
        series: Names the field.
    """

    def __init__(self, series: Series) -> None:
        self.name, self.is_real = series.fields[0].name, series.fields[0].kind == "real"
        self.own = self.persistence = 0.0
        self.n = 0

    def add(self, outcome: Outcome, rows: NDArray[np.int64]) -> None:
        """Count these rows' scores."""
        if self.is_real:
            rows = rows[~np.isnan(outcome.error[rows, 0])]
            self.own += float(np.square(outcome.error[rows, 0]).sum())
            self.persistence += float(np.square(outcome.persistence_error[rows, 0]).sum())
        else:
            rows = rows[outcome.rank[rows, 0] > 0]
            self.own += int((outcome.rank[rows, 0] == 1).sum())
            self.persistence += int(outcome.repeated[rows, 0].sum())
        self.n += len(rows)

    @property
    def text(self) -> str:
        """In a few words; empty before anything was scored."""
        if not self.n:
            return ""
        own, persistence = self.own / self.n, self.persistence / self.n
        if self.is_real:
            return f"{self.name}: rmse {own**0.5:.4g}, persistence {persistence**0.5:.4g}"
        return f"{self.name}: accuracy {own:.4g}, persistence {persistence:.4g}"


@dataclass(frozen=True, slots=True)
class Variant:
    """The learner with some settings, under a name.

    Args:
        name: What tables call it.
        spec: The model's; fields and seed are set by the run.
        freeze_after: Place from which on the weights stay as they are: ``None`` for never, -1 for the first scored row.
        afterwards: What is learned from then on; ``None`` for all but weights and initial state.
        correction_rate: ``None`` for learned rates.
        device: Where the network computes, see :func:`model.device.network_on`.
    """

    name: str
    spec: ModelSpec
    freeze_after: int | None = None
    afterwards: LearnSpec | None = None
    correction_rate: float | None = None
    device: str = "cpu"

    def run(self, series: Series, asked: Asked, seed: int, tell: Tell) -> Outcome:
        """Pass the series through a fresh learner."""
        spec = replace(self.spec, fields=series.fields, seed=seed)
        learner = Learner(spec, correction_rate=self.correction_rate, device=self.device)
        scored = asked.rows.scored(series)
        outcome = Outcome.empty(series)
        ahead = Ahead(series, scored, asked.horizon, asked.every) if asked.horizon > 1 else None
        batches = list(series.batches())
        items = ((series.stream[rows].tolist(), [series.item(i) for i in rows]) for rows in batches)
        freeze_at = self._freeze_at(series, scored)
        told = done = 0
        running = Running(series)
        for rows, passed in zip(
            batches, prequential(learner, items, freeze_at=freeze_at, afterwards=self.afterwards), strict=True
        ):
            scores = passed.step.scores
            outcome.error[rows], outcome.crps[rows] = scores.error, scores.crps
            outcome.covered[rows] = np.where(np.isnan(scores.error), np.nan, scores.covered)
            outcome.nats[rows], outcome.rank[rows] = scores.category_nll, scores.rank
            outcome.nll[rows] = np.where(scores.scored, scores.nll, np.nan)
            outcome.cpu_s += passed.cpu_s
            outcome.n_steps += 1
            if ahead is not None:
                ahead.look(rows, passed.learner, passed.step.beliefs)
            done += len(rows)
            running.add(outcome, rows[scored[rows]])
            if done - told >= TELL_EVERY:
                tell(done - told, running.text)
                told = done
        tell(done - told, running.text)
        outcome.keep(scored)
        if ahead is not None:
            outcome.ahead = ahead.report()
        return outcome

    def _freeze_at(self, series: Series, scored: NDArray[np.bool_]) -> int | None:
        """The batch, from 0, from which on weights are frozen."""
        if self.freeze_after is None:
            return None
        reached = scored if self.freeze_after < 0 else series.place >= self.freeze_after
        if not reached.any():
            return None
        starts = np.concatenate([[0], np.flatnonzero(np.diff(series.batch)) + 1])
        return int(np.searchsorted(starts, int(reached.argmax()), side="right")) - 1
