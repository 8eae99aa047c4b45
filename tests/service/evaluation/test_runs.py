"""Runs of the learner over series: what is scored, what freezes, and horizons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from model.items import NO_TIME
from model.learner import Learner
from model.spec import FieldSpec, LearnSpec, ModelSpec
from service.evaluation import measures
from service.evaluation.jobs import Job, run_job, run_jobs
from service.evaluation.outcome import Outcome
from service.evaluation.report import Report
from service.evaluation.runs import Asked, Rows, Variant
from service.evaluation.series import Series
from service.evaluation.variants import ablation
from tests.builders import wave

SPEC = ModelSpec(fields=(FieldSpec("x"),), hidden=8)
NETWORK = replace(SPEC, experts="none")


def waves(n: int, n_streams: int = 1) -> Series:
    """Noisy sines in lockstep."""
    values = np.concatenate([np.array(wave(n, seed=k)) * 10**k for k in range(n_streams)])[:, None]
    stream = np.repeat(np.arange(n_streams), n)
    names = np.empty((len(values), 0), object)
    streams = [f"s{k}" for k in range(n_streams)]
    return Series.of("waves", SPEC.fields, values, names, np.full(len(values), NO_TIME), streams, stream)


def run(variant: Variant, series: Series, asked: Asked | None = None) -> Outcome:
    """One run under seed 0."""
    return run_job(series, Job(0, variant, 0), asked or Asked(Rows()), lambda *_: None)


def test_rows_count_per_stream_in_lockstep() -> None:
    """The last three quarters of each are scored, and each stream has its own measures."""
    series = waves(40, 3)
    outcome = run(Variant("default", SPEC), series)
    cells = measures.per_stream(series, outcome, None)
    assert [cell["scored"] for cell in cells] == [30, 30, 30]
    ratios = [cell["rmse_ratio"] for cell in cells]
    found = measures.mean(cells)["rmse_ratio"]
    assert found == pytest.approx(math.prod(float(ratio or 0) for ratio in ratios) ** (1 / 3))


def test_company_does_not_change_a_frozen_stream() -> None:
    """With frozen weights a stream in lockstep is scored as it is alone."""
    frozen = Variant("frozen", replace(SPEC, learn=LearnSpec(False, True, False)))
    series = waves(30, 3)
    together = run(frozen, series)
    alone = series.rows(np.flatnonzero(series.stream == 1))
    np.testing.assert_array_equal(together.error[series.stream == 1], run(frozen, alone).error)


def test_weights_freeze_at_the_first_scored_row() -> None:
    """Until then nothing differs; from then on the weights are those the default had there."""
    series = waves(60)
    default = Variant("default", NETWORK)
    asked = Asked(Rows(first=0))
    variants = {one.name: one for one in ablation(default)[0]}
    free, late = run(default, series, asked), run(replace(default, freeze_after=20), series, asked)
    np.testing.assert_array_equal(free.error[:21], late.error[:21])  # row 20 was predicted before the freeze
    assert (free.error[21:] != late.error[21:]).any()
    scored = Asked(Rows(first=20))
    np.testing.assert_array_equal(run(variants["state"], series, scored).error[20:], late.error[20:])
    assert (run(variants["frozen"], series, scored).error[22:] != late.error[22:]).any()


def test_a_fixed_rate_is_taken() -> None:
    """Another rate gives other predictions, also where a learner only looks ahead."""
    series = waves(60)
    zero = run(Variant("zero", NETWORK, correction_rate=0.0), series)
    half = run(Variant("half", NETWORK, correction_rate=0.5), series)
    assert (half.error[30:] != zero.error[30:]).any()
    assert Learner(SPEC, correction_rate=0.5).frozen().correction_rate == 0.5


def test_every_variant_computes_on_the_device_that_was_asked_for() -> None:
    """By torch the errors are those of the kernels, up to rounding."""
    series, default = waves(40), Variant("default", NETWORK, device="cpu:0")  # torch, without a GPU
    assert {variant.device for variant in ablation(default)[0]} == {"cpu:0"}
    by_torch, by_kernels = run(default, series), run(replace(default, device="cpu"), series)
    np.testing.assert_allclose(by_torch.error, by_kernels.error, rtol=1e-2, atol=1e-3)


def test_a_horizon_changes_no_prediction() -> None:
    """Nothing is learned from a forecast or its truth: the errors one step ahead are the same to the bit."""
    series = waves(60)
    variant = Variant("default", SPEC)
    near, far = run(variant, series), run(variant, series, Asked(Rows(), horizon=4, every=7))
    np.testing.assert_array_equal(near.error, far.error)


def test_steps_ahead_are_scored_against_their_own_items() -> None:
    """Persistence's error at each step is worked from the series; the first step is the prediction that was sent."""
    series = waves(60, 2)
    variant = Variant("default", SPEC)
    asked = Asked(Rows(first=20), horizon=3, every=5)
    outcome = run(variant, series, asked)
    report = Report.of([series], asked, [Job(0, variant, 0)], [outcome], 1.0)
    steps = report.ahead("default")
    origins = [i for i in range(0, 57, 5) if i + 1 >= 20]
    columns = [series.values[rows, 0] for rows in series.by_stream()]
    for h, step in enumerate(steps, start=1):
        errors = [column[i + h] - column[i] for column in columns for i in origins]
        assert step["x"]["scored"] == len(errors)
        assert step["x"]["persistence_rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    sent = [outcome.error[rows, 0][i + 1] for rows in series.by_stream() for i in origins]
    assert steps[0]["x"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(sent))))


def test_workers_give_the_same_bits() -> None:
    """Results do not depend on where a job runs; every row is told once."""
    series = [waves(40)]
    jobs = [Job(0, Variant("default", SPEC), seed) for seed in (0, 1)]
    told: dict[int, int] = {}

    def notify(job: Job, rows: int, text: str) -> None:  # noqa: ARG001 - for a person
        told[job.seed] = told.get(job.seed, 0) + rows

    asked = Asked(Rows(), noise=0.1, missing=0.1)
    alone = run_jobs(series, jobs, asked, 1, notify)
    assert told == {0: 40, 1: 40}
    shared = run_jobs(series, jobs, asked, 2, notify)
    assert told == {0: 80, 1: 80}
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one.error, other.error)


def test_losses_are_in_units_of_persistence() -> None:
    """Persistence's own mean loss is 1 in every stream, whatever its unit; one loss per batch."""
    series = waves(40, 2)
    outcome = Outcome.empty(series)
    outcome.error = outcome.persistence_error.copy()
    losses = measures.losses(series, outcome, None)
    assert losses.shape == (40,)
    assert np.isnan(losses[0])
    assert np.nanmean(losses) == pytest.approx(1)


def test_steps_ahead_of_a_category_count_what_was_likeliest() -> None:
    """In a cycle of three the last value is right three steps ahead, and never before."""
    n = 30
    names = np.array(["abc"[i % 3] for i in range(n)], object)[:, None]
    fields = (FieldSpec("c", "category", values=("a", "b", "c")),)
    nothing = np.zeros(n, np.int64)
    series = Series.of("cycle", fields, np.empty((n, 0)), names, nothing + NO_TIME, ("s",), nothing)
    outcome = run(Variant("default", replace(SPEC, fields=fields)), series, Asked(Rows(first=5), horizon=3, every=4))
    assert [step["c"]["persistence_accuracy"] for step in outcome.ahead] == [0, 0, 1]
    assert {step["c"]["scored"] for step in outcome.ahead} == {len(range(4, 27, 4))}
