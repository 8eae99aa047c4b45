"""All there is to measure, by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.bench import deep_river, learner, streams
from service.bench.rows import SERVICE, Measure

EVERYTHING: Mapping[str, Measure] = {
    **SERVICE,
    "learner": learner.against_eager,
    "deep-river": deep_river.against_deep_river,
    "streams": streams.many_against_few,
    "stored": streams.stored,
    "created": streams.created,
}
