"""What the experts learn: the regression against a textbook, seasons that are found, a mix that follows the best."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model import experts
from model.experts import regression
from tests.builders import mix_experts

Floats = NDArray[np.float64]

SINGLE = 2e-3  # of the largest: single precision against double over a hundred items
NEAR = 1.05  # times the best expert's error, while the same one stays the best
NEAR_SWITCH = 1.1  # likewise, over a stretch that begins some time after another was the best

PERSISTENCE, REGRESSION, NETWORK = range(3)


def play(values: Floats, network: Floats, kind: str = "all") -> tuple[np.ndarray, Floats, Floats]:
    """Let one field of one stream be observed.

    Returns:
        The record at the end, and per item (T,) what the mix and (T, E) the experts had said of it.
    """
    record = np.zeros(1, experts.experts_dtype(1, experts.SIZES[kind]))
    experts.fresh(record)
    mixed, forecasts = np.full(len(values) + 1, np.nan), np.full((len(values) + 1, 3), np.nan)
    for t, value in enumerate(values):
        experts.observe(record, np.full((1, 1), value), mixed[t].reshape(1, 1))
        found = mix_experts(record, np.full((1, 1), network[t + 1] if t + 1 < len(values) else 0.0))
        mixed[t + 1], forecasts[t + 1] = found.mean[0, 0], found.forecasts[0, 0]
    return record, mixed[:-1], forecasts[:-1]


def rms(values: Floats, forecasts: Floats, part: slice) -> float:
    """Root mean squared error over a part of a stream."""
    return float(np.sqrt(np.mean(np.square(values - forecasts)[part])))


def noise(n: int, seed: int = 0) -> Floats:
    """White noise of size one."""
    return np.random.default_rng(seed).standard_normal(n)


def walk(n: int) -> Floats:
    """A random walk: nothing is better than its last value."""
    return np.cumsum(noise(n))


def swing(n: int) -> Floats:
    """A noisy second-order autoregression: a linear model is the best there is."""
    values, shocks = np.zeros(n), noise(n)
    for t in range(2, n):
        values[t] = 1.6 * values[t - 1] - 0.9 * values[t - 2] + shocks[t]
    return values


@pytest.mark.parametrize("kind", experts.SIZES)
def test_the_regression_is_regularised_least_squares(kind: str) -> None:
    """The packed single-precision recursion has the coefficients of the information form in double precision."""
    record = np.zeros(1, experts.experts_dtype(1, experts.SIZES[kind]))
    experts.fresh(record)
    n = record.dtype["features"].shape[1]
    information, moment = np.eye(n) / regression.PRIOR, np.zeros(n)
    forgetting = 1 - 1 / regression.MEMORY
    n_learned = 0
    for value in swing(95):
        field, features = record["fields"][0, 0].copy(), record["features"][0, 0].astype(np.float64)
        experts.observe(record, np.full((1, 1), value), np.zeros((1, 1)))
        if field["change"] > 0:
            n_learned += 1
            expected = features @ np.linalg.solve(information, moment)
            scale = np.sqrt(field["change"])
            error = np.clip((value - field["last"]) / scale, -4, 4) - expected
            size = np.sqrt(field["noise"]) if field["noise"] > 0 else abs(error)
            target = expected + np.clip(error, -4 * size, 4 * size)
            information = forgetting * information + np.outer(features, features)
            moment = forgetting * moment + features * target
            information[n_learned % n, n_learned % n] += n / (regression.MEMORY * regression.PRIOR)
    coefficients = np.linalg.solve(information, moment)
    assert record["fields"]["n_learned"][0, 0] == n_learned
    assert record["coefficients"][0, 0] == pytest.approx(coefficients, abs=SINGLE * np.abs(coefficients).max())
    upper = np.linalg.inv(information)[np.triu_indices(n)]
    assert record["covariance"][0, 0] == pytest.approx(upper, abs=SINGLE * upper.max())


def test_a_season_is_found_without_a_clock() -> None:
    """A pattern of 48 items that the regression's own lags cannot tell is found, and forecast."""
    values = np.tile(3 * noise(48, seed=1), 50) + 0.3 * noise(2400)
    record, _, forecasts = play(values, np.zeros(2400))
    periods = record["periods"][0, 0]
    assert (np.abs((periods + 24) % 48 - 24) <= 1)[periods > 0].any()
    late = slice(1200, None)
    assert rms(values, forecasts[:, REGRESSION], late) < 0.2 * rms(values, forecasts[:, PERSISTENCE], late)


def test_light_experts_find_no_long_season() -> None:
    """They do as well on what the regression's own lags tell, and no better than these on a longer season."""
    tiled = np.tile(3 * noise(48, seed=1), 50) + 0.3 * noise(2400)
    late = slice(1200, None)
    errors = {
        (name, kind): rms(values, play(values, np.zeros(len(values)), kind)[2][:, REGRESSION], late)
        for name, values in (("swing", swing(2400)), ("tiled", tiled))
        for kind in experts.SIZES
    }
    assert errors["swing", "light"] == pytest.approx(errors["swing", "all"], rel=0.02)
    assert errors["tiled", "light"] > 3 * errors["tiled", "all"]


def test_a_sine_is_forecast() -> None:
    """A sine of period 48 is forecast to a twentieth of persistence's error after ten rounds."""
    values = 7 + 5 * np.sin(np.arange(960) * 2 * np.pi / 48)
    _, _, forecasts = play(values, np.zeros(960))
    late = slice(480, None)
    assert rms(values, forecasts[:, REGRESSION], late) < 0.05 * rms(values, forecasts[:, PERSISTENCE], late)


@pytest.mark.parametrize("unit", [1e-90, 1e-6, 1e6, 1e90])
def test_the_unit_does_not_matter(unit: float) -> None:
    """A stream in another unit has the same forecasts in that unit."""
    values = 10 + swing(500)
    _, plain, _ = play(values, values + 1)
    _, scaled, _ = play(values * unit, (values + 1) * unit)
    assert scaled[5:] / unit == pytest.approx(plain[5:], rel=1e-3)


def test_fields_are_regressed_on_each_other() -> None:
    """A field that follows another by one item is forecast from it."""
    leader = noise(1001)
    values = np.stack([leader[1:], leader[:-1]], 1)[:, None]  # (T, 1, 2)
    record = np.zeros(1, experts.experts_dtype(2, experts.SIZES["all"]))
    experts.fresh(record)
    errors = []
    for item in values:
        errors.append(abs(item[0, 1] - record["fields"]["forecasts"][0, 1, 1]))
        experts.observe(record, item, item)
    assert np.mean(errors[500:]) < 0.2


@pytest.mark.parametrize(
    ("values", "network", "best"),
    [
        (walk(2000), walk(2000) + 3 * noise(2000, seed=2), PERSISTENCE),
        (swing(2000), swing(2000) + 3 * noise(2000, seed=2), REGRESSION),
        (swing(2000), swing(2000) + 0.2 * noise(2000, seed=2), NETWORK),
    ],
    ids=["persistence", "regression", "network"],
)
def test_the_mix_is_near_the_best(values: Floats, network: Floats, best: int) -> None:
    """Whichever expert is the best, the mix is hardly worse."""
    _, mixed, forecasts = play(values, network)
    late = slice(500, None)
    errors = [rms(values, forecasts[:, e], late) for e in range(3)]
    assert rms(values, mixed, late) < NEAR * min(errors)
    # On a random walk the regression learns to be persistence.
    assert np.argmin(errors) == best or errors[best] < 1.02 * min(errors)


def test_the_mix_follows_a_switch() -> None:
    """When the best expert turns useless, and when it comes back, the mix is soon near the best again."""
    values = swing(3000)
    good, useless = values + 0.2 * noise(3000, seed=2), 5 * noise(3000, seed=3)
    turn = (np.arange(3000) // 1000) % 2 == 1
    network = np.where(turn, useless, good)
    _, mixed, forecasts = play(values, network)
    for start, best in ((0, NETWORK), (1000, REGRESSION), (2000, NETWORK)):
        settled = slice(start + 300, start + 1000)
        assert rms(values, mixed, settled) < NEAR_SWITCH * rms(values, forecasts[:, best], settled)


def test_a_useless_network_costs_little_from_the_start() -> None:
    """A network that knows nothing does not spoil the first hundred items."""
    values = 100 + walk(100)
    _, mixed, forecasts = play(values, np.zeros(100))
    early = slice(10, None)
    assert rms(values, mixed, early) < 1.3 * rms(values, forecasts[:, PERSISTENCE], early)
