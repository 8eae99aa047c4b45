"""The learner against the same step in eager PyTorch.

One thread computes both sides, and what is counted is the processor time of that thread: others on the machine then
count less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.bench.eager import Eager, Streams
from model import features
from service.bench.learner import SPEC, Alone, one_thread, rate
from service.bench.plan import Plan
from service.bench.turns import Comparison, Tell, in_turns

SIZES = {1: 10.0, 64: 3.0, 256: 3.0}
"""Streams in a step, and the target."""

_WARM_STEPS = 20


def against_eager(plan: Plan, tell: Tell) -> list[Comparison]:
    """Whole steps of the learner at several sizes; the reference does the network's part alone."""
    bare = replace(SPEC, experts="none", tails="normal")
    cases = [("learner", "whole step and adopt", SPEC, SIZES), ("network", "the same without experts", bare, {})]
    found = []
    for name, title, spec, targets in cases:
        for n in SIZES:
            tell(f"learner, {n} streams: {title}")
            alone, reference = Alone(n, spec), _reference(n)
            found.append(
                Comparison(
                    f"{name}-{n}",
                    f"learner, B={n}: {title}",
                    "eager autograd and Adam, network only",
                    "steps/s",
                    *_in_turns(plan, tell, lambda a=alone, n=n: _of(a, plan) / n, reference),
                    target=targets.get(n),
                )
            )
    return found


def _in_turns(
    plan: Plan, tell: Tell, ours: Callable[[], float], step: Callable[[], object]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    with one_thread():
        for _ in range(_WARM_STEPS):
            step()
        mine, others = in_turns(ours, lambda: rate(step, plan.turn_s, time.thread_time), plan.rounds, tell)
    return tuple(mine), tuple(others)


def _of(alone: Alone, plan: Plan) -> float:
    return alone.rate(plan.turn_s, time.thread_time)


def _reference(n: int) -> Callable[[], object]:
    """A step of the eager network on ``n`` streams."""
    n_dense, n_reals = features.n_dense(SPEC), len(SPEC.reals)
    eager, streams = Eager(n_dense, SPEC.hidden, n_reals), Streams.random(n, SPEC.window, n_dense, SPEC.hidden)
    targets, inputs = torch.randn(n, n_reals), torch.randn(n, n_dense)
    return lambda: eager.step(streams, targets, inputs, inputs)
