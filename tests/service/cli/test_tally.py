"""Measures of replies, by hand."""

from __future__ import annotations

import pytest

from model.spec import FieldSpec
from service.cli.tally import CategoryMeasures, RealMeasures, Tally
from stepahead import CategoryScore, RealScore, Score

SPECS = (FieldSpec("x"), FieldSpec("c", "category", capacity=8))


def test_measures_are_those_of_the_scores() -> None:
    """Errors of 3 and 4 where persistence erred by 5 and 5; one hit, one miss of a category."""
    tally = Tally(SPECS)
    real, category = RealScore(3.0, covered=True), CategoryScore(0.0, rank=1)
    tally.add(Score(1.0, 0.5, {"x": real, "c": category}), {"x": 6.0, "c": "a"}, {"x": 1.0, "c": "a"})
    real, category = RealScore(-4.0, covered=False), CategoryScore(1.3862943611198906, rank=2)
    tally.add(Score(1.0, 0.5, {"x": real, "c": category}), {"x": 1.0, "c": "b"}, {"x": 6.0, "c": "a"})
    measures = tally.measures()
    assert measures["x"] == RealMeasures(2, pytest.approx(12.5**0.5), 5.0, pytest.approx(0.5**0.5), 0.5)
    assert measures["c"] == CategoryMeasures(2, 0.5, 0.5, pytest.approx(1.0))


def test_both_are_measured_on_the_same_values() -> None:
    """What was missing, not predicted, or has no value before it counts for neither."""
    tally = Tally(SPECS)
    score = Score(1.0, 0.5, {"x": RealScore(3.0)})
    tally.add(None, {"x": 1.0}, {})
    tally.add(score, {"x": 1.0}, {})
    tally.add(score, {"x": None}, {"x": 1.0})
    tally.add(Score(None, None, {}), {"x": 1.0}, {"x": 1.0})
    assert tally.to_dict()["x"] == dict.fromkeys(("rmse", "persistence_rmse", "ratio", "coverage")) | {"scored": 0}


def test_values_that_never_change_have_no_ratio() -> None:
    """Persistence is then without error."""
    tally = Tally(SPECS)
    tally.add(Score(1.0, 0.5, {"x": RealScore(0.0)}), {"x": 1.0}, {"x": 1.0})
    assert tally.to_dict()["x"]["ratio"] is None
