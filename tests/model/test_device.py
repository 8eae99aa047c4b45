"""Where the network computes: the same learning by torch as by the compiled kernels, and a setting that says which."""

from __future__ import annotations

from collections.abc import Iterator
from os import environ

import numpy as np
import pytest
import torch

from model.compiled.network import CompiledNetwork
from model.device import DeviceSetting, choose, network_on
from model.learner import Learner
from model.tensor_network import TensorNetwork
from tests.builders import feed, frozen, mixed_item, small_spec

TORCH_ON_CPU = "cpu:0"
TORCH = [
    TORCH_ON_CPU,
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
    ),
]


@pytest.fixture(autouse=True)
def _determinism_as_before() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("device", TORCH)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "fused"])
def test_steps_on_a_device_are_those_of_the_kernels(cell: str, device: str) -> None:
    """Of thirty steps scores, predictions, beliefs and weights are the same, up to what rounding grows to."""
    kernels = Learner(small_spec(cell=cell, layers=2))
    by_torch = Learner(kernels.spec, device=device)
    assert isinstance(kernels.network, CompiledNetwork)
    assert isinstance(by_torch.network, TensorNetwork)
    source = np.random.default_rng(3)
    beliefs = [learner.fresh_beliefs(3) for learner in (kernels, by_torch)]
    for n in range(30):
        items = [mixed_item(kernels.spec, n, source, missing=0.2) for _ in range(3)]
        expected, made = (learner.step(own, items) for learner, own in zip((kernels, by_torch), beliefs, strict=True))
        np.testing.assert_allclose(made.scores.nll, expected.scores.nll, rtol=1e-2, atol=1e-2)
        for name in ("state", "corrected", "outputs", "corrected_outputs"):
            found, wanted = made.beliefs.records[name], expected.beliefs.records[name]
            np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=2e-3)
        kernels.adopt(expected)
        by_torch.adopt(made)
        beliefs = [expected.beliefs, made.beliefs]
    assert by_torch.version == kernels.version > 0
    for part, wanted in zip(by_torch.weights.arrays, kernels.weights.arrays, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("device", TORCH)
def test_redo_on_a_device_ends_in_the_same_bits(device: str) -> None:
    """A snapshot and the log after it lead to the weights of the run that wrote them."""
    learner = Learner(small_spec(layers=2), device=device)
    beliefs = feed(learner, learner.fresh_beliefs(3), 5)
    snapshot, log, source = learner.encode_weights(), [], np.random.default_rng(9)
    for n in range(5, 40):
        step = learner.step(beliefs, [mixed_item(learner.spec, n, source, missing=0.2) for _ in range(3)])
        learner.adopt(step)
        beliefs = step.beliefs
        if step.redo is not None:
            log.append(step.redo)
    again = Learner.from_snapshot(learner.spec, snapshot, device)
    for record in log:
        again.redo(record)
    assert len(log) > 30
    assert again.encode_weights() == learner.encode_weights()


@pytest.mark.parametrize("device", TORCH)
def test_learners_made_of_a_learner_compute_where_it_does(device: str) -> None:
    """Under another spec, frozen, and gone back; with the weights that it has."""
    learner = Learner(small_spec(), device=device)
    beliefs = feed(learner, learner.fresh_beliefs(2), 10)
    other, still = learner.with_spec(frozen(learner.spec)), learner.frozen()
    back = learner.going_back(learner.encode_weights())
    for made in (other, still, back):
        assert made.device == device
        assert made.weights.flat.device.type == torch.device(device).type
        assert np.array_equal(made.weights.arrays[0], learner.weights.arrays[0])
        feed(made, beliefs, 3)
    assert back.version == learner.version + 4


@pytest.mark.parametrize("device", TORCH)
def test_a_snapshot_is_of_no_device(device: str) -> None:
    """What either path stores the other reads, to the bit."""
    for wrote, reads in (("cpu", device), (device, "cpu")):
        learner = Learner(small_spec(), device=wrote)
        feed(learner, learner.fresh_beliefs(2), 10)
        snapshot = learner.encode_weights()
        read = Learner.from_snapshot(learner.spec, snapshot, reads)
        assert (read.device, read.encode_weights()) == (reads, snapshot)


@pytest.mark.parametrize(
    ("setting", "has_cuda", "device"),
    [
        ("cpu", False, "cpu"),
        ("cpu", True, "cpu"),
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_setting_names_a_device(
    setting: DeviceSetting, has_cuda: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA is used where it is asked for, or where there is some and the choice is left."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert choose(setting) == device


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that says what is missing."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^there is no CUDA here: [^\n]+$"):
        choose("cuda")


def test_cuda_is_made_to_repeat_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything computes there; a workspace that was chosen stays. Torch on the CPU needs neither."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that what is set below is taken back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    torch.use_deterministic_algorithms(False)
    network_on(small_spec(), TORCH_ON_CPU)
    assert not torch.are_deterministic_algorithms_enabled()
    network_on(small_spec(), "cuda")
    assert torch.are_deterministic_algorithms_enabled()
    assert environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    network_on(small_spec(), "cuda")
    assert environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
