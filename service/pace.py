"""How fast a partition is served, and so how long what waits will take."""

from __future__ import annotations

_NEWEST = 0.2  # share of the last batch in the mean


class Pace:
    """The running mean of what a micro-batch takes, from taking it off the queue to its answers.

    All models share one learning thread. The time it gives to others between the parts of a batch is in the mean, so
    the mean follows whatever else the process does.
    """

    def __init__(self) -> None:
        self.batch_s = 0.0  # from nothing, so that the first batch, which may compile, counts for little

    def count(self, seconds: float) -> None:
        """Take note of one batch that was done."""
        self.batch_s += _NEWEST * (seconds - self.batch_s)

    def wait_s(self, ahead: int, n_streams: int, max_batch: int) -> float:
        """Estimate how long an item waits until its batch begins.

        Streams are served in turn, as many in a batch as it may hold, so an item waits one turn for each item before
        it in its own stream, and for its place in the last.

        Args:
            ahead: Items that wait in the item's own stream.
            n_streams: Streams with items that wait.
            max_batch: Most streams in a batch, at least 1.

        Returns:
            Seconds; 0 before the first batch was done.
        """
        turn = n_streams / max_batch  # batches
        return (ahead * max(1.0, turn) + turn) * self.batch_s
