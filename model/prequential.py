"""Test, then train: the honest way to evaluate a stream, and the same step as the service takes.

Each item is predicted, observed, scored and learned, in this order; nothing is seen before its time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.belief import Beliefs
from model.items import Item
from model.learner import Learner
from model.spec import LearnSpec
from model.step import Step


@dataclass(frozen=True, slots=True)
class Passed:
    """One micro-batch that went through the learner.

    Args:
        learner: Its weights are those after the step.
        streams: Of the micro-batch, (B,).
        step: What it led to; adopted.
        cpu_s: Processor seconds that the step took.
    """

    learner: Learner
    streams: Sequence[int]
    step: Step
    cpu_s: float


def prequential(
    learner: Learner,
    batches: Iterable[tuple[Sequence[int], Sequence[Item]]],
    *,
    freeze_at: int | None = None,
    afterwards: LearnSpec | None = None,
) -> Iterator[Passed]:
    """Run micro-batches through the learner, each stream with a belief of its own.

    Args:
        learner: Learns from every batch.
        batches: Streams, each at most once, and the next item of each.
        freeze_at: Batch, from 0, from which on only ``afterwards`` is learned; ``None`` for never.
        afterwards: ``None`` for what the learner's spec says, but neither weights nor the initial state.

    Yields:
        Each batch once it has passed.
    """
    beliefs: dict[int, Beliefs] = {}
    for number, (streams, items) in enumerate(batches):
        if number == freeze_at:
            frozen = afterwards or replace(learner.spec.learn, weights=False, initial_state=False)
            learner = learner.with_spec(replace(learner.spec, learn=frozen))
        started = time.process_time()
        before = [beliefs.get(stream) or learner.fresh_beliefs(1) for stream in streams]
        step = learner.step(_stack(before), items)
        learner.adopt(step)
        for i, stream in enumerate(streams):
            beliefs[stream] = step.beliefs if len(streams) == 1 else step.beliefs[i : i + 1]
        yield Passed(learner, streams, step, time.process_time() - started)


def _stack(beliefs: Sequence[Beliefs]) -> Beliefs:
    """One batch of the beliefs of one stream each."""
    return beliefs[0] if len(beliefs) == 1 else Beliefs(np.concatenate([belief.records for belief in beliefs]))
