"""What whoever holds off the next batch may use."""

from __future__ import annotations

from dataclasses import dataclass

from model.learner import Learner
from service.population import Population
from service.store import Partition


@dataclass(frozen=True, slots=True)
class Turn:
    """What may be used between two batches.

    Args:
        learner: As it is after the last batch.
        partition: Owned by this process.
        max_beliefs: How many beliefs one read or write may hold.
        population: Knows whether there is room for another stream.
    """

    learner: Learner
    partition: Partition
    max_beliefs: int
    population: Population
