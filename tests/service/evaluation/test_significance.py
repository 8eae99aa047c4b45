"""Paired tests against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.evaluation.significance import bootstrap_means, compare, variance_of_mean


def autoregression(n: int, coefficient: float, seed: int = 0) -> np.ndarray:
    """A series whose values depend on the ones before."""
    source = np.random.default_rng(seed)
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = coefficient * values[i - 1] + source.standard_normal()
    return values


@pytest.mark.parametrize("n", [3, 50, 777])
def test_the_variance_of_a_mean_is_that_of_newey_and_west(n: int) -> None:
    """As statsmodels computes it, with the same lags."""
    statsmodels = pytest.importorskip("statsmodels.api")
    values = autoregression(n, 0.6)
    lags = min(int(4 * (n / 100) ** (2 / 9)), n - 1)
    fitted = statsmodels.OLS(values, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    assert variance_of_mean(values) == pytest.approx(float(fitted.bse[0]) ** 2)


def test_four_numbers_by_hand() -> None:
    """One lag of weight one half: (5 + 2 * 0.5 * 1.25) / 16."""
    assert variance_of_mean(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(6.25 / 16)


def test_a_better_method_is_found_and_chance_is_not() -> None:
    """A tenth less of every loss is significant; noise of mean nothing is not."""
    source = np.random.default_rng(0)
    other = 1 + source.random(2_000)
    better = compare([[0.9 * other]], [[other]])
    assert better is not None
    assert better.change == pytest.approx(-0.1)
    assert better.p_diebold_mariano is not None
    assert better.p_diebold_mariano < 1e-6
    assert better.p_bootstrap is None or better.p_bootstrap < 0.01
    assert (better.seeds_better, better.n_seeds, better.seed_deviation) == (1, 1, None)
    noise = source.standard_normal(2_000)
    same = compare([[other + noise - noise.mean()]], [[other]])
    assert same is not None
    assert same.p_diebold_mariano == pytest.approx(1)
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high


def test_dependence_widens_the_interval() -> None:
    """A mean of values that depend on their past varies more: about (1 + a) / (1 - a) times as much."""
    values = autoregression(20_000, 0.8)
    plain = values.var() / len(values)
    assert variance_of_mean(values) > 4 * plain
    resampled = bootstrap_means([values], np.ones(1), seed=0)
    if resampled is not None:
        assert resampled.var() > 4 * plain


def test_a_long_series_keeps_its_variance() -> None:
    """Resampled means of a series that is too long to resample value by value vary as much as its mean does."""
    values = np.random.default_rng(0).standard_normal(70_001)
    resampled = bootstrap_means([values], np.ones(1), seed=0)
    if resampled is None:
        pytest.skip("needs arch")
    assert resampled.mean() == pytest.approx(values.mean(), abs=0.1 / math.sqrt(len(values)))
    assert resampled.var() == pytest.approx(1 / len(values), rel=0.2)


def test_seeds_are_averaged_and_counted() -> None:
    """A change that has another sign under each seed is no change; the deviation over seeds tells."""
    other = np.ones(100)
    up, down = other + 0.1, other - 0.1
    found = compare([[up], [down]], [[other], [other]])
    assert found is not None
    assert found.change == pytest.approx(0)
    assert (found.seeds_better, found.n_seeds) == (1, 2)
    assert found.seed_deviation == pytest.approx(math.sqrt(0.02))
    assert found.p_diebold_mariano is None or found.p_diebold_mariano > 0.9


def test_items_that_one_did_not_score_are_left_out() -> None:
    """Series count alike, whatever their unit; without any common item there is nothing to compare."""
    own = np.array([0.5, np.nan, 0.5, 9.0])
    other = np.array([1.0, 1.0, 1.0, np.nan])
    large = 1e6 * np.array([1.0, 1.5, 2.0])
    found = compare([[own, large]], [[other, large]])
    assert found is not None
    assert found.change == pytest.approx(-0.25)
    assert compare([[np.array([np.nan])]], [[np.array([1.0])]]) is None


def test_copies_of_a_series_prove_no_more_than_one() -> None:
    """Series that share their time are no independent evidence."""
    source = np.random.default_rng(4)
    own, other = 1 + source.random(400), 1 + source.random(400)
    one, many = compare([[own]], [[other]]), compare([[own] * 30], [[other] * 30])
    assert one is not None
    assert many is not None
    assert many.p_diebold_mariano == pytest.approx(one.p_diebold_mariano)
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_items_missing_under_one_seed_count_under_the_others() -> None:
    """Each seed pairs the items it has: no item has to be there under all."""
    source = np.random.default_rng(5)
    own, other = source.random((10, 1, 300)), 1 + source.random((10, 1, 300))
    for run, against in zip(own, other, strict=True):
        run[0, source.random(300) < 0.5] = np.nan
        against[0, np.isnan(run[0])] = np.nan
    found = compare(list(own), list(other))
    assert found is not None
    assert found.p_diebold_mariano is not None
    assert found.p_diebold_mariano < 1e-9
    assert (found.seeds_better, found.n_seeds) == (10, 10)
