"""The learner alone: steps on beliefs in memory, as fast as they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import numpy as np
import torch

from model.items import Item, Items
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec

SPEC = ModelSpec((FieldSpec("x"),))
"""What is measured unless it is said otherwise: 64 hidden units, a window of 4, one real field."""

_N_BATCHES = 32
_WARM_STEPS = 40


class Alone:
    """Streams that a learner is fed without a service.

    Args:
        n_streams: In every step.
        spec: The model's.
    """

    def __init__(self, n_streams: int, spec: ModelSpec = SPEC) -> None:
        self.n_streams = n_streams
        self.learner = Learner(spec)
        self.beliefs = self.learner.fresh_beliefs(n_streams)
        source = np.random.default_rng(0)
        values = source.normal(size=(_N_BATCHES, n_streams, len(spec.reals)))
        self._items = cycle([_columns(spec, batch) for batch in values])
        for _ in range(_WARM_STEPS):
            self.step()

    def step(self) -> None:
        """Take one item of every stream in."""
        step = self.learner.step(self.beliefs, next(self._items))
        self.learner.adopt(step)
        self.beliefs = step.beliefs

    def rate(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
        """Items a second, over so many seconds of that clock."""
        with one_thread():
            return self.n_streams * rate(self.step, seconds, clock)


def rate(step: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Calls a second, over so many seconds of that clock; at least one call."""
    begin, n = clock(), 0
    while True:
        step()
        n += 1
        elapsed = clock() - begin
        if elapsed >= seconds:
            return n / elapsed


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes on one thread, as in the service."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _columns(spec: ModelSpec, values: np.ndarray) -> Items:
    return Items.of(spec, [Item(tuple(row), ()) for row in values.tolist()])
