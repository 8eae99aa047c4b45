"""A partition as its owner has it: the lease, the weights, and whether both are known to be as the store has them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic

from model.learner import Learner
from model.spec import ModelSpec
from service.belief_cache import Met, PartitionBeliefs
from service.compute import ComputeThread
from service.errors import LeaseLost, ServiceError, StoreFull, StoreUnavailable, UnknownModel
from service.lease import Lease
from service.rounds import Draft
from service.store import Partition
from service.weights_log import WeightsLog


class Owner:
    """Holds the learner, and changes it only as the store took the change.

    After a write whose outcome is unknown it is not certain of anything. :meth:`recover` makes it so again, by reading:
    it takes the lease first, after which no earlier write can still arrive.

    Args:
        model: Whose partition it is.
        partition: The partition.
        load_spec: Reads the model's spec as it is now; raises ``UnknownModel`` if it was deleted.
        compute: Where weights are changed.
        weights: What the store has of them.
        beliefs: Those that this owner committed last.
    """

    def __init__(
        self,
        model: str,
        partition: Partition,
        load_spec: Callable[[], Awaitable[ModelSpec]],
        compute: ComputeThread,
        weights: WeightsLog,
        beliefs: PartitionBeliefs,
    ) -> None:
        self._model = model
        self._partition = partition
        self._load_spec = load_spec
        self._compute = compute
        self._weights = weights
        self.beliefs = beliefs
        self._lease = Lease(model, partition)
        self.learner: Learner  # set by recover
        self.is_certain = False

    async def ensure(self) -> None:
        """Be the owner, with weights that are known.

        Raises:
            TakenOver: If another instance has the partition.
            StoreUnavailable: If the store did not answer.
            UnknownModel: If the model was deleted, also where another one has its name by now.
        """
        if not self.is_certain:
            await self.recover()

    async def recover(self) -> None:
        """Take the lease, and spec and weights as the store has them; raises what :meth:`ensure` does."""
        self.is_certain = False
        self.beliefs.clear()
        spec = await self._load_spec()
        if "learner" in vars(self) and spec.fields != self.learner.spec.fields:
            raise UnknownModel(self._model)  # what waits was read as items of the one that is gone
        await self._lease.acquire()  # first: after it no other owner can commit
        self.learner = await self._weights.recover(spec)
        self.is_certain = True

    async def commit(self, draft: Draft) -> int | None:
        """Make a group durable, then adopt it; to be called under :meth:`owning`.

        Returns:
            When, by the store's clock; None if a stream is not, or no longer, as memory has it: then nothing was
            written.

        Raises:
            LeaseLost: If another instance took the partition; nothing was written.
            StoreFull: If the store has no room; nothing was written.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        ttl_s = self.learner.spec.ttl_s
        expires_s = math.inf if ttl_s is None else monotonic() + ttl_s
        self.is_certain = False  # also where the wait is cancelled
        done_us = await self._partition.commit(draft.changes, version=draft.version, redo=draft.redo, ttl_s=ttl_s)
        if done_us is not None:
            self.learner = await self._compute.run(draft.adopt) if draft.has_lessons else draft.adopt()
            self.beliefs.keep((c.stream, Met(c.belief, c.sequence, done_us, expires_s)) for c in draft.changes)
            self._weights.count(draft.redo)
        self.is_certain = True
        return done_us

    async def begin_anew(self, learner: Learner) -> None:
        """Go on with other weights, between two batches; to be called under :meth:`owning`.

        Args:
            learner: Of a version above the last commit's.

        Raises:
            LeaseLost: If another instance took the partition; nothing was written.
            StoreUnavailable: If the store did not answer; the outcome is then unknown.
        """
        self.is_certain = False  # until they are known to be stored
        await self._weights.begin_anew(learner)
        self.learner, self.is_certain = learner, True

    async def snapshot_if_due(self) -> None:
        """Snapshot the weights where redoing the log would by now cost more; raises what :meth:`commit` does."""
        if self._weights.is_due:
            await self.snapshot()

    async def snapshot(self) -> None:
        """Snapshot the weights if they changed since the last time; raises what :meth:`commit` does."""
        if self.is_certain:
            async with self.owning():
                await self._weights.save(self.learner)

    @asynccontextmanager
    async def owning(self) -> AsyncIterator[None]:
        """Where a call inside fails or is cancelled, nothing is certain any more, unless it surely wrote nothing."""
        try:
            yield
        except StoreUnavailable as error:
            self.is_certain = isinstance(error, StoreFull)
            if isinstance(error, LeaseLost):
                self._lease.lost(error)
            raise
        except ServiceError:  # something about the call
            raise
        except BaseException:
            self.is_certain = False
            raise

    async def leave(self, *, snapshot: bool) -> None:
        """Give the partition back: its next owner need not wait.

        Args:
            snapshot: Whether to snapshot the weights before; if not, only where coming back would else take long.

        Raises:
            StoreUnavailable: If the store did not answer; nothing is lost, and the lease lasts as long as this process.
        """
        try:
            try:
                if snapshot or self._weights.is_worth_saving:
                    await self.snapshot()
            except StoreUnavailable:
                with suppress(StoreUnavailable):
                    await self._partition.release()
                raise
            await self._partition.release()
        finally:
            self.is_certain = False
            vars(self).pop("learner", None)  # its owner is part of cycles, which would keep it until they are found
