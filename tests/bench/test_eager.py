"""The reference that the learner is timed against does the same step as the network in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.bench.eager import Eager, Streams
from model import features, statistics
from model.belief import Beliefs
from model.items import Item, Items
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec
from model.step import Observed

CLOSE = {"rtol": 2e-4, "atol": 2e-6}
"""Single precision, summed in another order; Adam divides by the root of a small second moment."""

SPEC = ModelSpec((FieldSpec("x"), FieldSpec("y")), hidden=8, window=3)


@pytest.mark.parametrize("n_streams", [1, 5])
@pytest.mark.parametrize("n_before", [3, 12])  # the window begins with the stream's first item, and later
def test_a_step_of_the_reference_is_the_learners(n_streams: int, n_before: int) -> None:
    """Weights, corrected states and outputs after several steps in a row are the same to rounding."""
    source = np.random.default_rng(3)
    learner = Learner(SPEC)
    beliefs = learner.fresh_beliefs(n_streams)

    def items() -> list[Item]:
        return [Item(tuple(row), ()) for row in source.normal(size=(n_streams, 2)).tolist()]

    for _ in range(n_before):
        step = learner.step(beliefs, items())
        learner.adopt(step)
        beliefs = step.beliefs

    reference = Eager(features.n_dense(SPEC), SPEC.hidden, 2)
    records = beliefs.records
    streams = Streams(
        start=_pair(records["window"]["start"]),
        window=_tensor(records["window"]["dense"]),
        from_initial=torch.from_numpy(records["sequence"] <= SPEC.window),
        before=_pair(records["corrected"]),
        newest=_tensor(records["newest"]),
        rates=torch.zeros(n_streams, SPEC.hidden),
    )
    reference.take(_arrays(learner, learner.weights.flat))
    state = reference.adam.state
    moments = (learner.weights.first, learner.weights.second)
    for parameter, first, second in zip(
        reference.learned, *(_parts(reference, learner, one) for one in moments), strict=True
    ):
        state[parameter] = {
            "step": torch.tensor(float(learner.weights.n_updates)),
            "exp_avg": first,
            "exp_avg_sq": second,
        }

    for _ in range(3):
        observed = items()
        targets = _targets(beliefs, observed)
        step = learner.step(beliefs, observed)
        after = step.beliefs.records
        # The inputs made from the item, and the rates that the learner learns, are given to the reference.
        streams.rates = _tensor(after["rates"][:, 0])
        reference.adam.param_groups[0]["lr"] = _rate(learner)
        plain, carried = reference.step(
            streams, _tensor(targets), _tensor(after["window"]["dense"][:, -1]), _tensor(after["newest"])
        )
        learner.adopt(step)
        beliefs = step.beliefs
        np.testing.assert_allclose(plain.numpy(), after["outputs"], **CLOSE)
        np.testing.assert_allclose(carried.numpy(), after["corrected_outputs"], **CLOSE)
        np.testing.assert_allclose(streams.before[1].numpy(), after["corrected"][:, 0, 1], **CLOSE)
        np.testing.assert_allclose(streams.start[0].numpy(), after["window"]["start"][:, 0, 0], **CLOSE)

        expected = Eager(features.n_dense(SPEC), SPEC.hidden, 2)
        expected.take(_arrays(learner, learner.weights.flat))
        for ours, theirs in zip(expected.learned, reference.learned, strict=True):
            np.testing.assert_allclose(theirs.detach().numpy(), ours.detach().numpy(), **CLOSE)


def _rate(learner: Learner) -> float:
    from model.optimiser import learning_rate

    return learning_rate(learner.spec.learning_rate, learner.weights.n_updates)


def _targets(beliefs: Beliefs, items: list[Item]) -> np.ndarray:
    """The scaled increments that the network was to predict, (B, R)."""
    columns, slots = Items.of(SPEC, items), np.empty((len(items), 0), np.int64)
    observed = Observed(columns.reals, slots, slots, columns.timestamp_us)
    _, targets, _ = statistics.judge(beliefs.records, observed, np.empty((0, 2), np.int64), mixed=True)
    return targets


def _parts(reference: Eager, learner: Learner, flat: np.ndarray) -> list[torch.Tensor]:
    """A flat vector like the learner's parameters as tensors like the reference's."""
    holder = Eager(features.n_dense(learner.spec), learner.spec.hidden, len(learner.spec.reals))
    holder.take(_arrays(learner, flat))
    assert len(holder.learned) == len(reference.learned)
    return [one.detach().clone() for one in holder.learned]


def _arrays(learner: Learner, flat: np.ndarray) -> dict[str, np.ndarray]:
    """A flat vector like the learner's parameters by the names of its parts."""
    return learner.network.layout.arrays(flat)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _pair(states: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden and cell state of one layer, from (B, 1, 2, H)."""
    return _tensor(states[:, 0, 0]), _tensor(states[:, 0, 1])
