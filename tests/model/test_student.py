"""Student's t in place of the normal distribution: its scores, and how its degrees of freedom are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from model import distribution, student
from model.forecast import forecast
from model.items import Item
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec

T = tuple(k for k in student.CANDIDATES if k != student.NORMAL)
HEAVY = ModelSpec(fields=(FieldSpec("x"),), hidden=8, experts="none", tails="student")
QUADRATURE = 1e-7  # what the oracle's integrals are good for


def scores(error: float, std: float, degrees: int) -> tuple[float, float]:
    """Nats and CRPS of one error."""
    return student.nll(error, std, degrees), student.crps(error, std, degrees)


@pytest.mark.parametrize("degrees", T)
@given(error=st.floats(-1e6, 1e6), std=st.floats(1e-3, 1e3))
def test_the_log_score_is_scipys(degrees: int, error: float, std: float) -> None:
    """The nats are those of scipy's t distribution of the same standard deviation."""
    scaled = stats.t(degrees, scale=std * np.sqrt((degrees - 2) / degrees))
    assert scaled.std() == pytest.approx(std)
    assert scores(error, std, degrees)[0] == pytest.approx(-scaled.logpdf(error), abs=1e-9)


@pytest.mark.parametrize("degrees", T)
@pytest.mark.parametrize("error", [-40.0, -3.0, -0.5, 0.0, 0.1, 2.0, 7.0, 300.0])
def test_the_crps_is_the_integral_that_defines_it(degrees: int, error: float) -> None:
    """The closed form is the integral of the squared distance between the distribution and the item's step."""
    std = 2.5
    scaled = stats.t(degrees, scale=std * np.sqrt((degrees - 2) / degrees))
    below, _ = integrate.quad(lambda x: scaled.cdf(x) ** 2, -np.inf, error, limit=500)
    above, _ = integrate.quad(lambda x: scaled.sf(x) ** 2, error, np.inf, limit=500)
    assert scores(error, std, degrees)[1] == pytest.approx(below + above, abs=QUADRATURE)


def test_a_normal_distribution_keeps_its_scores() -> None:
    """Where no t was sent nats and CRPS are the normal's."""
    normal = distribution.normal_nll(1.5, 2.0), distribution.normal_crps(1.5, 2.0)
    assert scores(1.5, 2.0, student.NORMAL) == normal
    assert scores(1.5, 2.0, 3) != normal


@pytest.mark.parametrize(("truth", "allowed"), [(3, {3, 4}), (6, {4, 6, 10}), (10**6, {student.NORMAL, 20})])
def test_the_tails_of_the_stream_are_found(truth: int, allowed: set[int]) -> None:
    """After 3,000 errors of a t distribution the choice is the candidate that is nearest to it, or its neighbour."""
    n = 40
    drawn = np.random.default_rng(1).standard_t(truth, (3_000, n)) * np.sqrt((truth - 2) / truth)
    gains = np.zeros((n, len(student.CANDIDATES)))
    for row in drawn:
        for own, error in zip(gains, row, strict=True):
            student.score_candidates(own, error, 1.0)
    chosen = [student.best(own) for own in gains]
    assert np.isin(chosen, list(allowed)).mean() >= 0.9


@given(errors=st.lists(st.sampled_from([0.0, 5e-324, 1e-100, 1.0, 1e100, 1e200, float("nan")]), max_size=60),
       std=st.sampled_from([1e-100, 1.0, 1e100]))  # fmt: skip
def test_no_error_makes_a_score_infinite(errors: list[float], std: float) -> None:
    """The running scores stay finite whatever the errors, and so do nats and CRPS of any candidate."""
    gains = np.zeros(len(student.CANDIDATES))
    for error in errors:
        student.score_candidates(gains, error, std)
        if not np.isnan(error):
            assert all(np.isfinite(scores(error, std, degrees)).all() for degrees in T)
    assert np.isfinite(gains).all()


def test_a_heavy_tailed_stream_is_sent_a_t_and_scored_by_it() -> None:
    """The reply names degrees of freedom, the next score is that of what was sent, and mean and interval stay."""
    heavy, normal = Learner(HEAVY), Learner(ModelSpec.from_dict({**HEAVY.to_dict(), "tails": "normal"}))
    beliefs = [heavy.fresh_beliefs(1), normal.fresh_beliefs(1)]
    source, gained = np.random.default_rng(2), 0.0
    for n in range(500):
        item, sent = Item((float(source.standard_t(3)),), ()), beliefs[0].records["pending"][0].copy()
        steps = [learner.step(belief, [item]) for learner, belief in zip((heavy, normal), beliefs, strict=True)]
        for learner, step in zip((heavy, normal), steps, strict=True):
            learner.adopt(step)
        beliefs = [step.beliefs for step in steps]
        t, plain = (step.results[0] for step in steps)
        field = t["prediction"]["fields"]["x"]
        assert {k: v for k, v in field.items() if k != "degrees_of_freedom"} == plain["prediction"]["fields"]["x"]
        if n > 200:
            assert field["degrees_of_freedom"] in T
            expected = scores(item.reals[0] - sent["mean"][0], sent["std"][0], int(sent["degrees"][0]))
            assert (t["score"]["nll"], t["score"]["fields"]["x"]["crps"]) == pytest.approx(expected)
            gained += plain["score"]["nll"] - t["score"]["nll"]
    assert gained / 300 > 0.02


def test_tails_can_change_while_a_model_runs() -> None:
    """Beliefs are laid out alike under both, and the new shape is sent from the next item on."""
    learner = Learner(ModelSpec.from_dict({**HEAVY.to_dict(), "tails": "normal"}))
    belief, source = learner.fresh_beliefs(1), np.random.default_rng(3)
    for _ in range(150):
        step = learner.step(belief, [Item((float(source.standard_t(3)),), ())])
        learner.adopt(step)
        belief = step.beliefs
    assert "degrees_of_freedom" not in step.results[0]["prediction"]["fields"]["x"]
    changed = learner.with_spec(HEAVY)
    belief = changed.decode_beliefs(belief.encode())
    assert "degrees_of_freedom" not in forecast(changed, belief, 1)[0]["fields"]["x"]  # as it was sent
    sent = changed.step(belief, [Item((0.5,), ())]).results[0]["prediction"]["fields"]["x"]
    assert sent["degrees_of_freedom"] in T


def test_unknown_tails_are_refused() -> None:
    """A shape that is none of those there are is an error that names them."""
    with pytest.raises(ValueError, match="tails 'cauchy' is none of normal, student"):
        ModelSpec.from_dict({**HEAVY.to_dict(), "tails": "cauchy"})
