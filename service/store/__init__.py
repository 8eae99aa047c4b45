"""The store: beliefs, replies, redo log, weights and lease in Redis or Valkey, and the server that runs by default."""

from service.store.kept import KeptSnapshot
from service.store.partition import Partition
from service.store.records import BeliefChange, KeptItems, KeptReply, NewStream, StoredStream, StreamSnapshot
from service.store.redis_store import Store
from service.store.ring import Kept
from service.store.weights import StoredVersions

__all__ = [
    "BeliefChange",
    "Kept",
    "KeptItems",
    "KeptReply",
    "KeptSnapshot",
    "NewStream",
    "Partition",
    "Store",
    "StoredStream",
    "StoredVersions",
    "StreamSnapshot",
]
