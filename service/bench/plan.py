"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

_LEAST_REQUESTS = 10  # to expect in a turn


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run.

    Args:
        rounds: Times that both sides of a pair take their turn.
        turn_s: Length of a turn, in seconds.
        warm_s: What is left out at the beginning of a turn against a server, in seconds.
        backfill_items: Items of the one stream that is filled, over all rounds.
        many_streams: Streams of the larger of two models of one server.
        few_streams: Of the smaller.
        stored_streams: Streams whose bytes in the store are counted.
        created_streams: Streams created while the service's memory is watched.
    """

    rounds: int = 5
    turn_s: float = 3.0
    warm_s: float = 0.5
    backfill_items: int = 100_000
    many_streams: int = 100_000
    few_streams: int = 100
    stored_streams: int = 1_000
    created_streams: int = 100_000

    def latency_s(self, rate: float) -> float:
        """Length of a turn at a fixed rate, in seconds: rare times take many requests to see."""
        return max(2 * self.turn_s, _LEAST_REQUESTS / rate)


FULL = Plan()
QUICK = Plan(
    rounds=3,
    turn_s=1.0,
    warm_s=0.3,
    backfill_items=3_000,
    many_streams=2_000,
    stored_streams=128,
    created_streams=20_000,
)
SMOKE = Plan(
    rounds=1,
    turn_s=0.1,
    warm_s=0.0,
    backfill_items=128,
    many_streams=256,
    few_streams=64,
    stored_streams=64,
    created_streams=256,
)
"""Only shows that it runs."""
