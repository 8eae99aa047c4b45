"""Which methods an evaluation runs, and which are compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from service.evaluation import libraries
from service.evaluation.baselines import Baseline, simple
from service.evaluation.jobs import Job, Method
from service.evaluation.runs import Asked, Variant
from service.evaluation.series import Series
from service.evaluation.variants import ablation


@dataclass(frozen=True, slots=True)
class Contest:
    """The methods of an evaluation.

    Args:
        default: The learner as it was asked for.
        baselines: Beside it.
        variants: Of it.
        compared: Variants, and what each is compared with.
    """

    default: Variant
    baselines: tuple[Baseline, ...] = ()
    variants: tuple[Variant, ...] = ()
    compared: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, default: Variant, *, with_baselines: bool, season: int | None, ablate: bool, only: Sequence[str]
    ) -> Contest:
        """Choose the methods; what cannot run is named on standard error.

        Raises:
            click.UsageError: If ``only`` names what there is not.
        """
        baselines: list[Baseline] = []
        if with_baselines:
            others, missing = libraries.found(season)
            baselines = [*simple(season), *others]
            for line in missing:
                click.echo(line, err=True)
        variants, compared = ablation(default) if ablate else ([], [])
        methods: list[Method] = [*baselines, *variants]
        names = {method.name for method in methods}
        unknown = sorted(set(only) - names)
        if unknown:
            there = f"there are {', '.join(sorted(names))}" if names else "it needs --baselines or --ablate"
            raise click.UsageError(f"--only {', '.join(unknown)}: {there}")
        kept = set(only) or names
        return cls(
            default,
            tuple(one for one in baselines if one.name in kept),
            tuple(one for one in variants if one.name in kept),
            tuple(pair for pair in compared if kept | {default.name} >= set(pair)),
        )

    @property
    def others(self) -> list[str]:
        """Names of all methods but the default."""
        return [one.name for one in self.baselines] + [one.name for one in self.variants]

    def pairs(self, series: Sequence[Series]) -> list[tuple[str, str]]:
        """Methods, and what each is compared with; baselines have nothing to say of categories."""
        comparable = not any(one.categories for one in series)
        beside = [(one.name, self.default.name) for one in self.baselines] if comparable else []
        return [*beside, *self.compared]

    def jobs(self, n_series: int, seeds: Sequence[int], asked: Asked) -> list[Job]:
        """Every run; what depends on no seed runs once, unless the series are disturbed."""
        disturbed = bool(asked.noise or asked.missing)
        plans: list[tuple[Method, Sequence[int]]] = [
            (self.default, seeds),
            *((one, seeds if disturbed or one.uses_seed else seeds[:1]) for one in self.baselines),
            *((one, seeds) for one in self.variants),
        ]
        return [Job(at, method, seed) for method, own in plans for seed in own for at in range(n_series)]
