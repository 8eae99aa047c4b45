"""The store: beliefs, replies, redo log, weights and lease in Redis or Valkey, and the server that runs by default."""

from service.store.partition import Partition
from service.store.records import BeliefChange, NewStream, StoredStream, StreamSnapshot
from service.store.redis_store import Store

__all__ = ["BeliefChange", "NewStream", "Partition", "Store", "StoredStream", "StreamSnapshot"]
