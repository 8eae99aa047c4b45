"""What is taken off the queue at once: a group of rounds, as many as one commit is worth waiting for."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from service.batcher import Batcher, Entry

FIRST_ROUNDS = 16
"""Most rounds of the first group, before it is known how many fit its time."""

MAX_ROUNDS = 512
"""Most rounds of a group."""

Group = list[list[Entry]]
"""Rounds of at most one entry per stream, each in the order of the streams' names."""


class Groups:
    """Takes groups: one round where no more waits, and of more about as many as the last one had time for.

    Args:
        batcher: The queue.
        max_rounds: Most rounds of a group.
    """

    def __init__(self, batcher: Batcher, max_rounds: int) -> None:
        self._batcher = batcher
        self._max_rounds = min(MAX_ROUNDS, max_rounds)
        self._n_rounds = min(FIRST_ROUNDS, self._max_rounds)

    def take(self, n: int, max_streams: int) -> Group:
        """Take the next group; what waits is served in turn, round by round.

        Args:
            n: Most streams of a round.
            max_streams: Most streams of the group, if that is more.
        """
        group: Group = []
        streams: set[str] = set()
        while len(group) < self._n_rounds and (taken := self._batcher.take(n)):
            streams.update(entry.stream for entry in taken)
            if group and len(streams) > max_streams:
                self._batcher.give_back([taken])
                break
            # By name: what a round leads to is then a matter of what is in it, not of who came first.
            group.append(sorted(taken, key=attrgetter("stream")))
        return group

    def give_back(self, group: Group, n_done: int) -> None:
        """Put back what a group had no time for, and take it out of the group.

        Args:
            group: As it was taken.
            n_done: Rounds that there was time for; 0 where that is not why it comes back.
        """
        self._batcher.give_back(without_answered(group[n_done:]))
        if 0 < n_done < len(group):
            self._n_rounds = min(n_done + n_done // 4 + 1, self._max_rounds)
        elif n_done == self._n_rounds:
            self._n_rounds = min(2 * self._n_rounds, self._max_rounds)
        del group[n_done:]


def without_answered(group: Sequence[Sequence[Entry]]) -> Group:
    """The rounds with what is not answered; none without an entry."""
    left = ([entry for entry in taken if not entry.is_answered] for taken in group)
    return [taken for taken in left if taken]
