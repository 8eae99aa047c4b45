"""The bounds on a whole model, beside those on its parts."""

import pytest

from model.size import check_size, n_weights
from model.spec import MAX_FIELDS, MAX_HIDDEN, MAX_LAYERS, MAX_VALUES, MAX_WINDOW, CellKind, FieldSpec, ModelSpec
from tests.builders import small_spec

REALS = tuple(FieldSpec(f"r{i}") for i in range(MAX_FIELDS))
TEXTS = tuple(FieldSpec(f"c{i}", "category", capacity=MAX_VALUES) for i in range(MAX_FIELDS))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "fused"])
def test_the_largest_network_of_numbers_is_allowed(cell: CellKind) -> None:
    """All bounds of a spec at once, with real fields, make a model that can be served."""
    check_size(ModelSpec(REALS, cell=cell, hidden=MAX_HIDDEN, layers=MAX_LAYERS, window=MAX_WINDOW))


def test_the_largest_vocabulary_is_allowed() -> None:
    """One field of as many values as there may be fits the default network."""
    check_size(ModelSpec(TEXTS[:1]))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (ModelSpec(TEXTS, hidden=MAX_HIDDEN), "weights"),
        (ModelSpec(TEXTS[:1], hidden=MAX_HIDDEN), "weights"),
        (ModelSpec(TEXTS[:12], hidden=1), "belief"),
    ],
)
def test_a_model_that_no_machine_holds_is_refused(spec: ModelSpec, why: str) -> None:
    """Fields that are each within their bounds may together be too much, which is said without making any of it."""
    with pytest.raises(ValueError, match=why):
        check_size(spec)


def test_weights_are_counted_as_they_are() -> None:
    """The count is that of the network that is made."""
    from model.learner import Learner

    spec = small_spec(layers=2)
    assert n_weights(spec) == Learner(spec).weights.parameters.flat.numel()
