"""What must hold for the experts whatever a stream does: finite numbers, proper weights, and no say of the company."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from model import experts
from tests.builders import mix_experts

Floats = NDArray[np.float64]

ROUNDING = 1e-12  # of a sum of three doubles
DENORMAL = 1e-300  # numbers below have too few digits to be shared out
MAX_PATH = 1e12  # scales; single precision ends at 1e38

ANYTHING = st.one_of(
    st.floats(-10, 10),
    st.floats(allow_infinity=False),  # huge, denormal, and NaN for missing
    st.sampled_from([0.0, 1.0, 1e30, -1e30, 1e100, -1.7e308, 5e-324, 1e-160, np.nan]),
)


def fresh(n: int, n_reals: int, kind: str = "all") -> np.ndarray:
    """Records of streams that have seen nothing."""
    records = np.zeros(n, experts.experts_dtype(n_reals, experts.SIZES[kind]))
    experts.fresh(records)
    return records


def play(records: np.ndarray, values: Floats, network: Floats | None = None) -> experts.Mixed:
    """Let items be observed, (T, B, R) with T above 0; the mix stands in for what is missing."""
    mean = np.full(values.shape[1:], np.nan)
    for t, item in enumerate(values):
        experts.observe(records, item, mean)
        mixed = mix_experts(records, item if network is None else network[t])
        mean = mixed.mean
    return mixed


def assert_sound(records: np.ndarray, mixed: experts.Mixed) -> None:
    """All is finite but what a field never seen would have said, and the mix is a convex combination."""
    fields = records["fields"]
    seen = fields["n_seen"] > 0
    for name in fields.dtype.names:
        known = fields[name][seen] if name in {"mixed", "forecasts"} else fields[name]
        assert np.isfinite(known).all(), name
    for name in ("coefficients", "covariance", "features", "path", "residuals", "correlations"):
        assert np.isfinite(records[name]).all(), name
    assert np.abs(records["path"]).max(initial=0) < MAX_PATH
    assert (np.isnan(mixed.mean) == ~seen).all()
    assert (np.isnan(mixed.forecasts) == ~seen[..., None]).all()
    assert (mixed.weights >= 0).all()
    assert mixed.weights.sum(-1) == pytest.approx(1, abs=ROUNDING)
    slack = DENORMAL + ROUNDING * np.abs(mixed.forecasts[seen]).max(-1, initial=0)
    assert (mixed.mean[seen] >= mixed.forecasts[seen].min(-1, initial=np.inf) - slack).all()
    assert (mixed.mean[seen] <= mixed.forecasts[seen].max(-1, initial=-np.inf) + slack).all()


@settings(deadline=None)
@given(
    values=arrays(np.float64, st.tuples(st.integers(1, 80), st.just(2), st.just(2)), elements=ANYTHING),
    said=arrays(np.float64, (2, 2), elements=st.floats()),
    stand_in=arrays(np.float64, (2, 2), elements=st.floats()),
)
def test_nothing_becomes_infinite(values: Floats, said: Floats, stand_in: Floats) -> None:
    """Any values, forecasts of the network and stand-ins leave finite records and a proper mix."""
    records = fresh(2, 2)
    for item in values:
        experts.observe(records, item, stand_in)
        assert_sound(records, mix_experts(records, said))


N_LONG = 1500


def long_streams() -> dict[str, Floats]:
    """Long streams that break things, (T,) each."""
    source = np.random.default_rng(0)
    base = np.cumsum(source.normal(0, 0.3, N_LONG)) + 5 * np.sin(np.arange(N_LONG) * 2 * np.pi / 48)
    late, rare = np.arange(N_LONG) >= N_LONG // 2, source.random(N_LONG) < 0.01
    middle = np.abs(np.arange(N_LONG) - N_LONG // 2) < N_LONG // 3
    return {
        "spikes of 1e30": np.where(rare, 1e30, base),
        "spikes of 1e100": np.where(rare, 1e100, base),
        "spikes of 1e308": np.where(rare, 1.7e308, base),
        "unit times 1e6": np.where(late, 1e6 * base, base),
        "unit times 1e-6": np.where(late, 1e-6 * base, base),
        "unit times 1e90": np.where(late, 1e90 * base, base),
        "unit times 1e-90": np.where(late, 1e-90 * base, base),
        "constant": np.full(N_LONG, 3.14),
        "zeros": np.zeros(N_LONG),
        "constant for long": np.where(middle, 7.0, base),
        "constant but once": np.where(np.arange(N_LONG) == 3, 1.0, 0.0),
        "denormal": 1e-310 * base,
        "tiny": 1e-140 * base,
        "largest": np.where(base > 0, 1.7e308, -1.7e308),
        "95 % missing": np.where(source.random(N_LONG) < 0.95, np.nan, base),
        "long gap": np.where(middle, np.nan, base),
        "never seen": np.full(N_LONG, np.nan),
        "seen once": np.where(np.arange(N_LONG) == 5, 1.0, np.nan),
        "growth": np.exp(0.1 * np.arange(N_LONG)),
        "decay": np.exp(-0.3 * np.arange(N_LONG)),
        "ramp": 2.0 * np.arange(N_LONG),
        "heavy tails": source.standard_cauchy(N_LONG),
        "scales of all sizes": base * np.exp(np.clip(np.cumsum(source.normal(0, 1, N_LONG)), -500, 500)),
    }


@pytest.mark.parametrize("kind", experts.SIZES)
def test_long_streams_stay_finite(kind: str) -> None:
    """Spikes, new units, constants, gaps and growth leave finite records, at every hundredth item."""
    values = np.stack(list(long_streams().values()), 1)[..., None]  # (T, B, 1)
    records = fresh(values.shape[1], 1, kind)
    for start in range(0, N_LONG, 100):
        part = values[start : start + 100]
        assert_sound(records, play(records, part, np.nan_to_num(part[::-1])))


@pytest.mark.parametrize("kind", experts.SIZES)
def test_ordinary_items_between_spikes_are_forecast(kind: str) -> None:
    """Away from spikes of 1e30 the mix is as good as persistence."""
    values = long_streams()["spikes of 1e30"]
    records, said = fresh(1, 1, kind), []
    mean = np.full((1, 1), np.nan)
    for value in values:
        said.append(float(mean[0, 0]))
        experts.observe(records, np.full((1, 1), value), mean)
        mean = mix_experts(records, np.full((1, 1), value)).mean
    ordinary = np.abs(values) < 1e3
    calm = ordinary[1:] & ordinary[:-1]
    errors, changes = np.abs(values - said)[1:][calm], np.abs(np.diff(values))[calm]
    assert np.median(errors) < 1.1 * np.median(changes)


def test_a_gap_is_filled_within_what_was_seen() -> None:
    """Whatever the caller lets stand in, the last value stays near the stream's own range."""
    records = fresh(1, 1)
    source = np.random.default_rng(0)
    for value in source.normal(5, 1, 200):
        experts.observe(records, np.full((1, 1), value), np.zeros((1, 1)))
    for wild in (1e300, -np.inf, np.nan):
        experts.observe(records, np.full((1, 1), np.nan), np.full((1, 1), wild))
        assert abs(records["fields"]["forecasts"][0, 0, 0] - 5) < 5


def mixed_company(n_reals: int = 3) -> tuple[np.ndarray, Floats]:
    """Streams of different ages that miss values, and the next items of all, (T, B, R)."""
    source = np.random.default_rng(1)
    records = fresh(4, n_reals)
    for b, age in enumerate((0, 1, 30, 500)):
        if age:
            alone = records[b : b + 1]
            play(alone, np.cumsum(source.normal(size=(age, 1, n_reals)), 0))
    values = np.cumsum(source.normal(size=(40, 4, n_reals)), 0)
    return records, np.where(source.random(values.shape) < 0.2, np.nan, values)


def test_company_does_not_change_a_stream() -> None:
    """A stream gets the same bits alone as in any batch, whatever the ages."""
    together, values = mixed_company()
    alone = [together[b : b + 1].copy() for b in range(len(together))]
    play(together, values)
    for b, record in enumerate(alone):
        play(record, values[:, b : b + 1])
        assert record.tobytes() == together[b : b + 1].tobytes()


def test_the_same_items_give_the_same_bits() -> None:
    """Nothing depends on chance or on what ran before."""
    (first, values), (second, _) = mixed_company(), mixed_company()
    play(first, values)
    play(second, values)
    assert first.tobytes() == second.tobytes()


def test_records_may_lie_within_larger_ones() -> None:
    """A view into a belief is changed as a record of its own would be."""
    records, values = mixed_company()
    larger = np.zeros(len(records), [("before", np.int64), ("experts", records.dtype), ("after", np.float32)])
    larger["experts"] = records
    play(records, values)
    play(larger["experts"], values)
    assert larger["experts"].tobytes() == records.tobytes()
    assert not larger["after"].any()


def test_arguments_are_not_changed() -> None:
    """Values, stand-ins and the network's forecasts are the caller's."""
    records, values = mixed_company()
    arguments = [values[0].copy(), values[1].copy(), values[2].copy()]
    experts.observe(records, arguments[0], arguments[1])
    mixed = mix_experts(records, arguments[2])
    for given_array, kept in zip(arguments, values, strict=False):
        assert given_array.tobytes() == kept.tobytes()
    before = mixed.mean.copy()
    experts.observe(records, values[3], values[3])
    assert mixed.mean.tobytes() == before.tobytes()


def undefined_bytes(dtype: np.dtype[np.void]) -> int:
    """Bytes of a layout that no part covers, down to the innermost."""
    names: Sequence[str] = dtype.names or ()
    covered = 0
    for name in names:
        base, shape = dtype[name].subdtype or (dtype[name], ())
        covered += dtype[name].itemsize
        covered -= undefined_bytes(base) * int(np.prod(shape)) if base.names else 0
    return dtype.itemsize - covered


@pytest.mark.parametrize(
    ("kind", "n_reals", "per_field"),
    [
        ("all", 1, 10_152),
        ("all", 2, 10_372),
        ("all", 9, 12_024),
        ("all", 12, 12_024),
        ("light", 1, 2_808),
        ("light", 9, 4_040),
    ],
)
def test_the_layout_has_no_undefined_bytes(kind: str, n_reals: int, per_field: int) -> None:
    """Every byte of a record belongs to a part, parts are aligned, and the size is as documented."""
    dtype = experts.experts_dtype(n_reals, experts.SIZES[kind])
    assert undefined_bytes(dtype) == 0
    assert dtype.itemsize % 8 == 0
    assert dtype.itemsize - 8 - dtype["filler"].itemsize == n_reals * per_field


def test_a_model_without_real_fields_has_empty_experts() -> None:
    """No fields, no forecasts, no error."""
    records = fresh(3, 0)
    mixed = play(records, np.zeros((2, 3, 0)))
    assert mixed.mean.shape == (3, 0)
    assert mixed.forecasts.shape == (3, 0, 3)
    assert records["items"].tolist() == [2, 2, 2]
