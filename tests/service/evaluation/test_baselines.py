"""Baselines: what they find, and that nothing breaks them."""

from __future__ import annotations

import numpy as np
import pytest

from service.evaluation.baselines import (
    Forecaster,
    Persistence,
    RecursiveLeastSquares,
    SeasonalNaive,
    find_season,
    follow,
    simple,
)
from service.evaluation.libraries import found


def season(n: int, period: int, noise: float) -> np.ndarray:
    """A cycle of random values, repeated, with noise."""
    source = np.random.default_rng(0)
    return np.resize(source.standard_normal(period), n) + noise * source.standard_normal(n)


def test_a_season_is_found() -> None:
    """Also with noise and gaps that are short of a cycle; noise alone has none."""
    assert find_season(season(400, 24, 0.2)) == 24
    assert find_season(season(600, 48, 0.2)) == 48
    assert find_season(np.random.default_rng(0).standard_normal(400)) == 1
    assert find_season(np.ones(100)) == 1
    assert find_season(np.array([1.0, np.nan])) == 1


def test_the_naive_methods_say_what_was() -> None:
    """The value before, and the value a season before once there is one; a gap is filled with what was forecast."""
    column = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    np.testing.assert_array_equal(follow(Persistence(), column)[0], [np.nan, 1, 2, 2, 4])
    np.testing.assert_array_equal(follow(SeasonalNaive(2), column)[0], [np.nan, 1, 1, 2, 1])
    long = np.arange(100.0)
    np.testing.assert_array_equal(follow(SeasonalNaive(7), long)[0][7:], long[:-7])


def test_least_squares_learns_an_autoregression() -> None:
    """Its error comes within three percent of the noise's, whatever the unit and level."""
    source = np.random.default_rng(0)
    noise = source.standard_normal(6_000)
    values = np.zeros(6_000)
    for i in range(2, len(values)):
        values[i] = 1.6 * values[i - 1] - 0.8 * values[i - 2] + noise[i]
    for unit, level in ((1.0, 0.0), (1e-9, 1e-3), (1e12, 1e15)):
        forecasts, n_replaced = follow(RecursiveLeastSquares(), level + unit * values)
        error = (level + unit * values - forecasts)[3_000:] / unit
        assert np.sqrt(np.mean(error**2)) < 1.03 * np.sqrt(np.mean(noise[3_000:] ** 2))
        assert n_replaced == 0


@pytest.mark.parametrize(
    "column",
    [
        np.full(3_000, 7.0),
        np.concatenate([np.full(50, 1.0), np.arange(2_000.0), np.full(1_000, 1.0)]),
        np.where(np.arange(3_000) % 700 == 650, 1e30, 1.0 + np.arange(3_000) % 2),
        np.where(np.arange(500) % 3 == 0, np.nan, 1.0),
    ],
)
def test_least_squares_stays_finite(column: np.ndarray) -> None:
    """On constants, ramps, spikes and gaps every forecast is a number."""
    forecaster = RecursiveLeastSquares()
    forecasts, _ = follow(forecaster, column)
    first = int(np.flatnonzero(~np.isnan(column))[0])
    assert np.isfinite(forecasts[first + 1 :]).all()
    assert np.isfinite(forecaster.covariance).all()


class Broken:
    """Forecasts what is no number."""

    def forecast(self) -> float:
        """Never finite."""
        return float("inf")

    def learn(self, value: float) -> None:
        """Nothing."""


def test_a_forecast_that_is_no_number_is_replaced_and_counted() -> None:
    """By the last value."""
    broken: Forecaster = Broken()
    forecasts, n_replaced = follow(broken, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(forecasts, [np.nan, 1, 2])
    assert n_replaced == 2


def test_libraries_forecast_a_cycle_better_than_its_spread() -> None:
    """Each that is installed; those that are not are named."""
    baselines, missing = found(12)
    installed = {"river": {"river-snarimax", "river-linear"}, "deep-river": {"deep-river-lstm"}}
    for name, those in installed.items():
        assert bool({one.name for one in baselines} & those) != any(line.startswith(f"{name} ") for line in missing)
    column = 50 + 10 * season(400, 12, 0.05)
    for baseline in baselines:
        forecasts, n_replaced = follow(baseline.make(column[:100], 0), column)
        assert n_replaced == 0
        assert np.std((column - forecasts)[300:]) < 0.9 * np.std(column), baseline.name


def test_names_are_for_the_command_line() -> None:
    """No commas, no blanks, each once."""
    names = [one.name for one in (*simple(None), *found(None)[0])]
    assert len(set(names)) == len(names)
    assert not any(set(name) & set(" ,") for name in names)
