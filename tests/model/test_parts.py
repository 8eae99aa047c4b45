"""Scale, calibration, scores, time: the parts of a step on their own."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from model import calibration, distribution, prediction, scaling, surprise, timing
from model.items import NO_TIME

SAMPLING = 0.02  # three standard errors of a share of 0.9 over 5,000 draws, and the tracker's own wobble


def observe_all(values: list[float]) -> np.void:
    """Running scale of a field after the values, each predicted by the one before."""
    records = np.zeros(1, scaling.scaling_dtype(1))
    scaling.fresh(records)
    field = records[0, 0]
    for value in values:
        error = value - field["value"] if field["count"] else np.nan
        scaling.observe(field, value, field["value"], error)
    return field


def test_scale_follows_the_unit() -> None:
    """A stream in another unit has the same scale in that unit."""
    values = np.random.default_rng(0).normal(5, 2, 300).tolist()
    small, large = observe_all(values), observe_all([1e6 * value for value in values])
    for size in (scaling.increment_size, scaling.level_size, scaling.error_size):
        assert size(large) == pytest.approx(1e6 * size(small))


def test_one_spike_moves_the_scale_little() -> None:
    """A spike of a million scales leaves the scale within a few times what it was."""
    values = np.random.default_rng(1).normal(0, 1, 300).tolist()
    before, after = observe_all(values), observe_all([*values, 1e6])
    assert scaling.increment_size(after) < 2 * scaling.increment_size(before)


def test_a_new_unit_is_adopted() -> None:
    """After a change of unit by a thousand the scale is the new one within some hundred items."""
    source = np.random.default_rng(2)
    values = source.normal(0, 1, 300).tolist() + source.normal(0, 1000, 600).tolist()
    assert scaling.increment_size(observe_all(values)) > 500


def test_a_quiet_spell_is_not_taken_for_certainty() -> None:
    """After a night of no change the error scale is still a share of the day's, and is back after a few items."""
    source = np.random.default_rng(3)
    day = source.normal(0, 1, 300).tolist()
    night = observe_all(day + [0.0] * 600)
    assert scaling.error_size(night) > 0.1
    morning = observe_all(day + [0.0] * 600 + source.normal(0, 1, 10).tolist())
    assert scaling.error_size(morning) > 0.5


def test_a_constant_stream_has_a_scale() -> None:
    """Scales are above zero where nothing ever changes."""
    for value in (0.0, 5.0, 1e100, 5e-324):
        assert scaling.increment_size(observe_all([value] * 20)) > 0


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential"])
def test_coverage_holds_whatever_the_errors_are(draw: str) -> None:
    """Tracked quantiles cover their share of normal, heavy-tailed and skewed errors alike."""
    source = np.random.default_rng(3)
    quantiles = calibration.fresh(1)[None].astype(np.float32)
    covered, below = 0, 0
    levels = np.array([0.05, 0.5, 0.95])
    errors = getattr(source, draw)(size=6000)
    for n, error in enumerate(errors):
        low, middle, high = calibration.read(quantiles, levels)[0, 0]
        if n >= 1000:
            covered += low <= error <= high
            below += error <= middle
        calibration.track(quantiles[0, 0], error, float(n))
    assert covered / 5000 == pytest.approx(0.9, abs=SAMPLING)
    assert below / 5000 == pytest.approx(0.5, abs=SAMPLING)


def test_any_level_can_be_read() -> None:
    """Levels between and beyond the grid's rise, and an untrained tracker gives the normal distribution's."""
    levels = np.array([0.001, 0.01, 0.33, 0.5, 0.9, 0.999])
    found = calibration.read(calibration.fresh(1)[None].astype(np.float32), levels)[0, 0]
    assert found == pytest.approx([-3.0902, -2.3263, -0.4399, 0, 1.2816, 3.0902], abs=1e-3)


def test_normal_scores_are_the_textbooks() -> None:
    """Log score and CRPS of the standard normal distribution at 0 and at 1."""
    # CRPS(N(0,1), 0) = (sqrt(2) - 1) / sqrt(pi); at one sigma 0.602442; it scales with sigma.
    for error, std, nll, crps in (
        (0.0, 1.0, 0.918939, 0.233695),
        (1.0, 1.0, 1.418939, 0.602441),
        (2.0, 2.0, 2.112086, 2 * 0.602441),
    ):
        assert distribution.normal_nll(error, std) == pytest.approx(nll, abs=1e-6)
        assert distribution.normal_crps(error, std) == pytest.approx(crps, abs=1e-5)


@pytest.mark.parametrize("size", [1e-300, 1e30, 1e100])
def test_scores_of_any_error_are_finite(size: float) -> None:
    """However far off or however sure the prediction was."""
    for error in (size, -size):
        for std in (1e-100, 1.0, 1e100):
            assert math.isfinite(distribution.normal_nll(error, std))
            assert distribution.normal_crps(error, std) >= 0


def test_probabilities_are_floored_and_sum_to_one() -> None:
    """Every slot that can be taken has at least the floor, also where another one is sure; the others have nothing."""
    logits = np.array([[0.0, 200.0, 300.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    found = prediction.category_probabilities(logits, 2, is_open=True)
    assert found.sum(1) == pytest.approx([1, 1])
    assert found[0, [0, 4]] == pytest.approx(distribution.FLOOR)
    assert (found[:, [2, 3]] == 0).all()
    assert found[1, [0, 1, 4]] == pytest.approx(1 / 3)


def test_rank_counts_the_likelier() -> None:
    """Ties take the middle of their places."""
    for probabilities, slot, place in (([0.5, 0.3, 0.2], 1, 2), ([0.4, 0.4, 0.2], 0, 1), ([1 / 3] * 3, 2, 2)):
        assert distribution.rank(np.array(probabilities), slot) == place


def test_anomaly_is_the_share_that_was_less_surprising() -> None:
    """Uniformly over past items, whatever their distribution."""
    counts = np.zeros(surprise.N_BINS, np.uint32)
    past = np.random.default_rng(4).normal(1.5, 0.7, 4000)
    for value in past:
        surprise.count(counts, value)
    for level in (0.1, 0.5, 0.9, 0.99):
        asked = np.quantile(past, level)
        assert surprise.share_below(counts, asked) == pytest.approx(level, abs=0.03)  # bins are wide
    assert surprise.share_below(counts, 1e9) == 1
    assert surprise.share_below(np.zeros(surprise.N_BINS, np.uint32), 0.0) == 0


def test_the_calendar_turns_daily_and_weekly() -> None:
    """Midnight on a Monday is the origin; noon is opposite; no time is zeros."""
    monday = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    found = np.full((3, timing.N_CALENDAR), np.nan)
    for time, row in zip((monday, monday + 43_200_000_000, NO_TIME), found, strict=True):
        timing.calendar(time, row)
    day_sin, week_sin, day_cos, week_cos = found[0]
    assert (day_sin, day_cos, week_sin, week_cos) == pytest.approx((0, 1, 0, 1), abs=1e-6)
    assert found[1, 2] == pytest.approx(-1)
    assert found[2].tolist() == [0, 0, 0, 0]


def test_time_that_runs_back_is_no_interval() -> None:
    """The last step forward says when the next item is expected."""
    records = np.zeros(1, [("timestamp_us", np.int64), ("interval_us", np.int64)])
    records["timestamp_us"] = NO_TIME
    assert timing.expected_us(records)[0] == NO_TIME
    for time, expected in ((100, 100), (160, 220), (150, 210), (NO_TIME, 210), (210, 270)):
        timing.tell(records["timestamp_us"], records["interval_us"], 0, time)
        assert timing.expected_us(records)[0] == expected
    row = np.empty(timing.N_CALENDAR)
    timing.calendar(np.iinfo(np.int64).max, row)
    assert np.isfinite(row).all()
