"""Whether each entry was applied and published exactly once, in order."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from stepahead import Client

GARBAGE: Sequence[Mapping[str, str]] = (
    {"stream": "s0", "load": "much"},
    {"stream": "s1", "load": "1", "state": "asleep"},
    {"stream": "a/b", "load": "1"},
    {"load": "1"},
    {"stream": "s2", "other": "1"},
)


@dataclass(slots=True)
class Expected:
    """What was sent.

    Args:
        n_streams: Streams that entries are of, at random.
        seed: Of everything random.
    """

    n_streams: int
    seed: int
    loads: dict[str, list[float]] = field(default_factory=dict)
    n_garbage: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def entries(self, n: int, *, garbage: float = 0.01) -> list[dict[str, str]]:
        """The next entries, a share of which no model takes."""
        made = []
        for _ in range(n):
            if self._random.random() < garbage:
                self.n_garbage += 1
                made.append(dict(self._random.choice(GARBAGE)))
                continue
            stream = f"s{self._random.randrange(self.n_streams)}"
            loads = self.loads.setdefault(stream, [])
            loads.append(round(math.sin(len(loads) / 3) + self._random.gauss(0, 0.1), 4))
            made.append({"stream": stream, "load": str(loads[-1]), "state": self._random.choice(("idle", "busy"))})
        return made

    @property
    def n_entries(self) -> int:
        """All that can be predicted."""
        return sum(map(len, self.loads.values()))

    def check(self, url: str, model: str, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Each entry was learned once and in its order, and gave one output, which is about this very entry.

        An output's score is of the prediction in the one before: it tells the value that was observed. So a value that
        was left out, applied twice, or out of order shows.
        """
        assert len(outputs) == self.n_entries
        assert len({(output["lane"], output["entry"]) for output in outputs}) == self.n_entries
        awaited: dict[str, float] = {}
        counts: dict[str, int] = {}
        for output in outputs:
            stream = output["stream"]
            n = counts[stream] = counts.get(stream, 0) + 1
            assert int(output["sequence"]) == n
            score, prediction = json.loads(output["score"]), json.loads(output["prediction"])
            if n > 1:
                observed = awaited[stream] + score["fields"]["load"]["error"]
                assert observed == pytest.approx(self.loads[stream][n - 1], abs=1e-4)
            awaited[stream] = prediction["fields"]["load"]["mean"]
        with Client(url) as client:
            assert {s.stream: s.sequence for s in client.model(model).streams()} == counts
        assert counts == {stream: len(loads) for stream, loads in self.loads.items()}
