"""Looking at streams while learning goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import TypeVar

from service.bounds import SharedBounds
from service.compute import ComputeThread
from service.errors import UnknownStream
from service.store import Partition
from service.turn import Turn
from service.views import Look, look_at

T = TypeVar("T")


class Reader:
    """Reads beliefs between two batches, and looks at them outside the learner's turn and thread.

    Weights are replaced and never changed, so a look that takes long goes on with those it began with.

    Args:
        model: Whose streams they are.
        partition: Holds them.
        between_batches: Holds off the next batch; gives what may be used meanwhile.
        compute: The thread that looks.
        bounds: How many may look or wait for it at once, over all models.
    """

    def __init__(
        self,
        model: str,
        partition: Partition,
        between_batches: Callable[[], AbstractAsyncContextManager[Turn]],
        compute: ComputeThread,
        bounds: SharedBounds,
    ) -> None:
        self._model = model
        self._partition = partition
        self._between_batches = between_batches
        self.compute = compute
        self._bounds = bounds

    async def read(self, stream: str, look: Look[T]) -> T:
        """Look at one stream; changes nothing.

        Args:
            stream: Whose belief to load.
            look: Runs in the reading thread.

        Raises:
            UnknownStream: If the model has no such stream.
            Overloaded: If too many look already.
            StoreUnavailable: If the store did not answer.
        """
        with self._bounds.reading():
            found, _ = await self._look(look, [stream])
        if not found:
            raise UnknownStream(self._model, stream)
        return found[0]

    async def read_page(self, after: str, limit: int, look: Look[T]) -> tuple[list[T], str | None]:
        """Look at up to ``limit`` streams whose names come after ``after``, in the order of their names.

        Returns:
            What was seen of those that are still there, and the name that the next page comes after; ``None`` at the
            end.

        Raises:
            Overloaded: If too many look already.
            StoreUnavailable: If the store did not answer.
        """
        with self._bounds.reading():
            names = await self._partition.list_streams(after, limit)
            found: list[T] = []
            looked_at = 0
            while looked_at < len(names):
                more, n = await self._look(look, names[looked_at:])
                found += more
                looked_at += n
        return found, names[-1] if len(names) == limit else None

    async def _look(self, look: Look[T], streams: Sequence[str]) -> tuple[list[T], int]:
        """Look at the first streams, as many as one read may hold; return what was seen, and how many they are."""
        async with self._between_batches() as turn:
            stored = await self._partition.load(streams[: turn.max_beliefs])
            as_it_is = copy(turn.learner)  # the batches to come adopt their weights into the other one
        present = [(name, s) for name, s in zip(streams, stored, strict=False) if s is not None]
        return await self.compute.run(look_at, look, as_it_is, present), len(stored)
