"""When a snapshot of the weights is due."""

from __future__ import annotations

import numpy as np
import pytest

from model.learner import Learner
from service.compute import ComputeThread
from service.metrics import Metrics
from service.store import Partition
from service.weights_log import REDO_TO_SNAPSHOT, WeightsLog
from tests.builders import mixed_item, redo_of, small_spec

SPEC = small_spec()


@pytest.mark.parametrize("saved", [False, True])
async def test_the_redo_log_is_bounded_by_bytes(log: WeightsLog, saved: bool) -> None:
    """A snapshot is due once the redo records exceed a multiple of its size, before the first one as well."""
    learner = await log.recover(SPEC)
    size = len(learner.encode_weights())
    if saved:
        log.count([b"redo"])
        await log.save(learner)
    log.count([bytes((REDO_TO_SNAPSHOT - 1) * size)])
    assert not log.is_due
    log.count([bytes(2 * size)])
    assert log.is_due


async def test_a_long_recovery_is_not_done_twice(
    log: WeightsLog, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many records were redone a snapshot is due at once, and after it no more."""
    learner, beliefs, source = Learner(SPEC), Learner(SPEC).fresh_beliefs(1), np.random.default_rng(0)
    while learner.version < 3:
        step = learner.step(beliefs, [mixed_item(SPEC, learner.version, source)])
        await partition.commit([], version=step.version, redo=redo_of(step), ttl_s=None)
        learner.adopt(step)
        beliefs = step.beliefs
    await log.recover(SPEC)
    assert not log.is_due
    monkeypatch.setattr("service.weights_log.MANY_REDONE", 3)
    recovered = await log.recover(SPEC)
    assert log.is_due
    await log.save(recovered)
    assert not log.is_due


async def test_the_log_is_redone_where_the_model_computes(partition: Partition, compute: ComputeThread) -> None:
    """From fresh weights and from a snapshot, to the bits of the run that wrote the log."""
    device = "cpu:0"  # torch, without a GPU
    learner, source = Learner(SPEC, device=device), np.random.default_rng(0)
    beliefs = learner.fresh_beliefs(2)
    for last in (6, 12):
        while learner.version < last:
            step = learner.step(beliefs, [mixed_item(SPEC, learner.version, source) for _ in range(2)])
            await partition.commit([], version=step.version, redo=redo_of(step), ttl_s=None)
            learner.adopt(step)
            beliefs = step.beliefs
        log = WeightsLog(partition, compute, 1_000_000, Metrics().damaged_records, device)
        recovered = await log.recover(SPEC)
        assert recovered.device == device
        assert recovered.encode_weights() == learner.encode_weights()
        await log.save(recovered)
