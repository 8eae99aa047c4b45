"""Outcomes of all runs, gathered into measures per method: the mean over seeds and its deviation."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service import __version__
from service.evaluation import measures
from service.evaluation.jobs import Job
from service.evaluation.measures import Measures
from service.evaluation.outcome import Outcome
from service.evaluation.runs import Asked
from service.evaluation.series import Series
from service.evaluation.significance import Comparison, compare

_LIBRARIES = ("torch", "numpy", "numba", "river", "deep-river", "arch")


@dataclass(frozen=True, slots=True)
class Summary:
    """What one method came to, over all series.

    Args:
        fields: Measures per field, means over seeds.
        mean: Means over streams and fields; of ratios the geometric mean.
        field_deviations: Standard deviations of ``fields`` over seeds, ``None`` for one seed.
        mean_deviations: Likewise of ``mean``.
        nll: Nats per item; ``None`` if the method gives no distribution.
        item_us: Processor time per item in microseconds, predicting and learning.
        n_replaced: Forecasts that were not finite.
    """

    fields: dict[str, Measures]
    mean: Measures
    field_deviations: dict[str, Measures]
    mean_deviations: Measures
    nll: float | None
    item_us: float
    n_replaced: int

    def to_dict(self, *, with_deviations: bool) -> dict[str, Any]:
        """As plain JSON values."""
        found: dict[str, Any] = {
            "nll": self.nll,
            "item_us": self.item_us,
            "mean": self.mean,
            "fields": self.fields,
        }
        if with_deviations:
            found["deviation"] = {"mean": self.mean_deviations, "fields": self.field_deviations}
        if self.n_replaced:
            found["replaced"] = self.n_replaced
        return found


@dataclass(slots=True)
class Report:
    """All outcomes of an evaluation.

    Args:
        series: As they were read, without the rows after the last.
        asked: What the runs had in common.
        outcomes: By method, seed and place among the series.
        elapsed_s: Seconds that all runs took.
    """

    series: Sequence[Series]
    asked: Asked
    outcomes: dict[tuple[str, int, int], Outcome]
    elapsed_s: float = 0.0
    units: list[NDArray[np.float64] | None] = field(init=False)

    def __post_init__(self) -> None:
        self.units = [measures.units(one, self.asked.rows.unit_rows) for one in self.series]

    @classmethod
    def of(
        cls, series: Sequence[Series], asked: Asked, jobs: Sequence[Job], outcomes: Sequence[Outcome], elapsed_s: float
    ) -> Report:
        """Gather what the jobs led to."""
        found = {(job.method.name, job.seed, job.at): one for job, one in zip(jobs, outcomes, strict=True)}
        return cls([one.until(asked.rows.last) for one in series], asked, found, elapsed_s)

    @property
    def n_rows(self) -> int:
        """Rows of all series."""
        return sum(map(len, self.series))

    @property
    def n_streams(self) -> int:
        """Streams of all series."""
        return sum(one.n_streams for one in self.series)

    @property
    def first(self) -> int | None:
        """Place of the first scored row; ``None`` where streams differ in it."""
        found = {int(first) for one in self.series for first in one.first_scored(self.asked.rows.first)}
        return found.pop() if len(found) == 1 else None

    def seeds(self, method: str) -> list[int]:
        """Under which the method ran."""
        return sorted({seed for name, seed, _ in self.outcomes if name == method})

    def runs(self, method: str, seed: int) -> Iterator[tuple[Series, Outcome, NDArray[np.float64] | None]]:
        """Each series with what the method said of it and the unit of errors."""
        for at, one in enumerate(self.series):
            yield one, self.outcomes[method, seed, at], self.units[at]

    def summary(self, method: str) -> Summary:
        """What a method came to."""
        seeds = self.seeds(method)
        fields = [self._fields(method, seed) for seed in seeds]
        means = [self._mean(method, seed) for seed in seeds]
        over = {name: measures.over_seeds([run[name] for run in fields]) for name in fields[0]}
        mean, deviations = measures.over_seeds(means)
        outcomes = [self.outcomes[method, seed, at] for seed in seeds for at in range(len(self.series))]
        nats = np.concatenate([one.nll for one in outcomes])
        return Summary(
            fields={name: both[0] for name, both in over.items()},
            mean=mean,
            field_deviations={name: both[1] for name, both in over.items()},
            mean_deviations=deviations,
            nll=None if np.isnan(nats).all() else float(np.nanmean(nats)),
            item_us=1e6 * sum(one.cpu_s for one in outcomes) / max(len(seeds) * self.n_rows, 1),
            n_replaced=sum(one.n_replaced for one in outcomes),
        )

    def ahead(self, method: str) -> list[dict[str, Measures]]:
        """Measures per step ahead, means over seeds; empty where the method made no such forecasts."""
        steps = []
        for h in range(min(len(one.ahead) for (name, _, _), one in self.outcomes.items() if name == method)):
            runs = [self._labelled(seed, method, h) for seed in self.seeds(method)]
            steps.append({name: measures.over_seeds([run[name] for run in runs])[0] for name in runs[0]})
        return steps

    def label(self, at: int, field_name: str) -> str:
        """What a field is called among those of all series: by its own name, where no other has it."""
        if sum(field_name == spec.name for one in self.series for spec in one.fields) == 1:
            return field_name
        name = self.series[at].name
        return name if name.endswith(f":{field_name}") else f"{name}:{field_name}"

    def compare(self, method: str, other: str) -> Comparison | None:
        """A method's losses beside another's, under the seeds that both ran."""
        seeds = sorted(set(self.seeds(method)) & set(self.seeds(other)))
        return compare([self._losses(method, seed) for seed in seeds], [self._losses(other, seed) for seed in seeds])

    def to_dict(self, method: str, others: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """All measures, and what was asked, as plain JSON values.

        Args:
            method: Whose measures come first.
            others: Beside it.
            pairs: Methods, and which each is compared with.
        """
        seeds = self.seeds(method)
        return {
            "seeds": seeds,
            "rows": self.n_rows,
            "streams": self.n_streams,
            "first": self.first,
            "noise": self.asked.noise,
            "missing": self.asked.missing,
            "elapsed_s": self.elapsed_s,
            **self.summary(method).to_dict(with_deviations=len(seeds) > 1),
            **({"horizon": self.ahead(method), "every": self.asked.every} if self.asked.horizon > 1 else {}),
            **({"methods": {other: self._other(other) for other in others}} if others else {}),
            **({"comparisons": [self._comparison(*pair) for pair in pairs]} if pairs else {}),
            "versions": versions(),
        }

    def _other(self, method: str) -> dict[str, Any]:
        seeds = self.seeds(method)
        ahead = self.ahead(method)
        found = {"seeds": seeds, **self.summary(method).to_dict(with_deviations=len(seeds) > 1)}
        return {**found, "horizon": ahead} if ahead else found

    def _comparison(self, method: str, other: str) -> dict[str, Any]:
        found = self.compare(method, other)
        return {"method": method, "with": other, **({} if found is None else asdict(found))}

    def _losses(self, method: str, seed: int) -> list[NDArray[np.float64]]:
        return [measures.losses(*run) for run in self.runs(method, seed)]

    def _fields(self, method: str, seed: int) -> dict[str, Measures]:
        return {
            self.label(at, name): found
            for at, run in enumerate(self.runs(method, seed))
            for name, found in measures.per_field(*run).items()
        }

    def _mean(self, method: str, seed: int) -> Measures:
        """Over the real fields of every stream, and the category fields of every series."""
        reals, categories = [], []
        for one, outcome, unit in self.runs(method, seed):
            reals += measures.per_stream(one, outcome, unit)
            found = measures.per_field(one, outcome, unit)
            categories += [found[name] for name in one.categories]
        return {**measures.mean(reals), **measures.mean(categories)}

    def _labelled(self, seed: int, method: str, step: int) -> dict[str, Measures]:
        return {
            self.label(at, name): found
            for at in range(len(self.series))
            for name, found in self.outcomes[method, seed, at].ahead[step].items()
        }


def versions() -> dict[str, str]:
    """Of everything that the figures depend on and that is installed."""
    found = {"stepahead": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
