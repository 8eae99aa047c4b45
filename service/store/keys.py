"""Every key in the store, and what it holds; nothing else builds one.

=========================  ======  =================================================================
key                        type    holds
=========================  ======  =================================================================
stepahead:models           hash    model name -> the model's record (JSON)
stepahead:instance:NAME    string  sign of life of an instance of the service; expires unless it is renewed
{model:shard}:lease        string  ``EPOCH:INSTANCE``: the partition's owner, and since when; fences its writes
{model:shard}:weights      hash    ``version`` of the snapshot, ``previous`` one, ``last``: that of the last commit
{model:shard}:snapshot     string  the weights at ``version``
{model:shard}:previous     string  the weights at ``previous``, for when the current snapshot is damaged
{model:shard}:redo         stream  id ``<version>-0``, field ``record``: the redo records after the previous snapshot
{model:shard}:kept         hash    id of a snapshot of the weights that is kept -> its description (JSON)
{model:shard}:kept-weights hash    id -> its content
{model:shard}:streams      zset    name of every stream, all with score 0, so in the order of their bytes
{model:shard}:stream:NAME  hash    ``belief``, ``seq``, ``created``, ``updated``; parts ``k0``, ``k1``, … of its ring;
                                   ``snapshots``: how many it ever had, ``snapshot:1``, … those kept
=========================  ======  =================================================================

All keys of a partition share the hash tag in braces and so, on Redis Cluster, one slot.
"""

from __future__ import annotations

from dataclasses import dataclass

MODELS = "stepahead:models"


def instance(name: str) -> str:
    """The sign of life of an instance."""
    return f"stepahead:instance:{name}"


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys of one partition.

    Args:
        model: A checked model name; it has neither braces nor a colon.
        shard: From 0.
    """

    model: str
    shard: int = 0

    @property
    def name(self) -> str:
        """The partition's name in messages."""
        return f"{self.model}:{self.shard}"

    @property
    def lease(self) -> str:
        """The owner, and its fencing epoch."""
        return f"{{{self.name}}}:lease"

    @property
    def weights(self) -> str:
        """The versions of the snapshots of the weights, and of the last commit."""
        return f"{{{self.name}}}:weights"

    @property
    def snapshot(self) -> str:
        """The current snapshot of the weights."""
        return f"{{{self.name}}}:snapshot"

    @property
    def previous_snapshot(self) -> str:
        """The snapshot before the current one."""
        return f"{{{self.name}}}:previous"

    @property
    def redo(self) -> str:
        """The redo records after the previous snapshot."""
        return f"{{{self.name}}}:redo"

    @property
    def kept(self) -> str:
        """What describes the snapshots of the weights that somebody asked to keep."""
        return f"{{{self.name}}}:kept"

    @property
    def kept_weights(self) -> str:
        """Their contents."""
        return f"{{{self.name}}}:kept-weights"

    @property
    def streams(self) -> str:
        """The names of all streams."""
        return f"{{{self.name}}}:streams"

    def stream(self, stream: str) -> str:
        """All that is kept of one stream."""
        return f"{{{self.name}}}:stream:{stream}"
