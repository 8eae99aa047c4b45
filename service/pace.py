"""How fast a partition is served, and so how long what waits will take."""

from __future__ import annotations

_NEWEST = 0.2  # share of the last batch in the means


class Pace:
    """Running means of a micro-batch: its items, and the time from taking them off the queue to their answers.

    All models share one learning thread. The time it gives to others between the parts of a batch is in the mean, so
    the mean follows whatever else the process does.
    """

    def __init__(self) -> None:
        # From nothing, so that the first batch, which may compile, counts for little.
        self.batch_s = 0.0
        self.batch_items = 0.0

    def count(self, seconds: float, n_items: float) -> None:
        """Take note of one batch that was done, or of the mean of those of a group."""
        self.batch_s += _NEWEST * (seconds - self.batch_s)
        self.batch_items += _NEWEST * (n_items - self.batch_items)

    def wait_s(self, ahead: int, n_streams: int) -> float:
        """Estimate how long an item waits until its batch begins.

        Streams are served in turn, so an item waits one turn for each item before it in its own stream, and for its
        place in the last. A turn is as many batches as the streams fill of the size that batches lately had. Where
        they were smaller than they will be that is too long, until the first large one has been counted.

        Args:
            ahead: Items that wait in the item's own stream.
            n_streams: Streams with items that wait.

        Returns:
            Seconds; 0 before the first batch was done.
        """
        turn = n_streams / max(1.0, self.batch_items)  # batches
        return (ahead * max(1.0, turn) + turn) * self.batch_s
