"""Snapshots of a partition's weights that somebody asked to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import orjson

from service.errors import Overloaded
from service.store import scripts
from service.store.client import Argument
from service.store.fenced import Fenced


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """A snapshot without its content.

    Of one whose description is damaged only the id is known; it can be restored and dropped all the same.

    Args:
        id: Unique within the partition.
        name: As it was given; None without one.
        weights_version: That was kept; None if unknown.
        n_bytes: Of the content; None if unknown.
        created_us: When; microseconds since 1970 UTC; None if unknown.
    """

    id: str
    name: str | None = None
    weights_version: int | None = None
    n_bytes: int | None = None
    created_us: int | None = None

    def encode(self) -> bytes:
        """As JSON; :meth:`decode` is its inverse."""
        return orjson.dumps(self)

    @classmethod
    def decode(cls, snapshot_id: str, data: bytes) -> Self:
        """Read :meth:`encode`'s bytes, as far as they can be read."""
        try:
            return cls(**{**orjson.loads(data), "id": snapshot_id})
        except (TypeError, ValueError):
            return cls(snapshot_id)


class KeptWeights(Fenced):
    """The part of a partition that holds what was asked to be kept. See :class:`service.store.Partition`."""

    async def list_snapshots(self) -> list[KeptSnapshot]:
        """Read what is kept, without its content, the newest first."""
        described = await self._client.read("HGETALL", self._keys.kept)
        kept = [KeptSnapshot.decode(snapshot_id.decode(), data) for snapshot_id, data in described.items()]
        return sorted(kept, key=lambda s: (s.created_us or 0, s.weights_version or 0, s.id), reverse=True)

    async def load_kept(self, snapshot_id: str) -> bytes | None:
        """Read the content of a snapshot that is kept; None if it is not."""
        content: bytes | None = await self._client.read("HGET", self._keys.kept_weights, snapshot_id, bulk=True)
        return content

    async def keep_snapshot(self, kept: KeptSnapshot, content: bytes, *, at_most: int) -> None:
        """Keep a snapshot.

        Args:
            kept: Its description.
            content: The weights.
            at_most: How many may be kept.

        Raises:
            Overloaded: If so many are kept already; nothing was written.
            LeaseLost: If another owner took the partition; nothing was written.
        """
        args: list[Argument] = [kept.id, kept.encode(), content, at_most]
        if not await self._run_fenced(
            scripts.KEEP_WEIGHTS, [self._keys.kept, self._keys.kept_weights], args, bulk=True
        ):
            raise Overloaded(f"the model keeps its {at_most} snapshots; delete one first", max_snapshots=at_most)

    async def drop_snapshot(self, snapshot_id: str) -> bool:
        """Remove a snapshot that is kept; False if it is not.

        Raises:
            LeaseLost: If another owner took the partition; nothing was removed.
        """
        keys = [self._keys.kept, self._keys.kept_weights]
        return bool(await self._run_fenced(scripts.DROP_WEIGHTS, keys, [snapshot_id]))
