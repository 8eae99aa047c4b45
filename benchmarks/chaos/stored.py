"""What the store holds of a model once all is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.chaos.workload import Workload
from service.compute import ComputeThread
from service.metrics import Metrics
from service.recovery import Recovery
from service.store import KeptItem, Store

PAGE = 200
LAST_REPLIES = 3
"""Of each stream, how many kept replies are looked at."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One model as the store has it.

    Args:
        beliefs: Bytes by stream.
        replies: Bytes of some kept replies, by stream and sequence; None for one that is not kept.
        items: Observed items that are kept with these replies.
        weights: A snapshot of what a fresh recovery leads to.
        version: Of these weights.
    """

    beliefs: dict[str, bytes]
    replies: dict[tuple[str, int], bytes | None]
    weights: bytes
    version: int
    items: dict[tuple[str, int], KeptItem | None] = field(default_factory=dict)


async def read_stored(store: Store, workload: Workload, last: dict[str, int]) -> Stored:
    """Read a model as a service would after a start.

    Args:
        store: Has no owner that writes.
        workload: Names the model.
        last: The last acknowledged sequence of each stream.
    """
    partition = store.partition(workload.model)
    streams: list[str] = []
    while page := await partition.list_streams(streams[-1] if streams else "", PAGE):
        streams += page
    beliefs: dict[str, bytes] = {}
    for i in range(0, len(streams), PAGE):
        names = streams[i : i + PAGE]
        read = await partition.load(names)
        beliefs.update((name, found.belief) for name, found in zip(names, read, strict=True) if found is not None)
    items = [
        (stream, sequence)
        for stream, end in last.items()
        for sequence in range(max(1, end - LAST_REPLIES + 1), end + 1)
    ]
    kept = await partition.load_replies(items)
    replies = {item: there.reply for item, there in zip(items, kept, strict=True)}
    observed = {item: there.kept.item for item, there in zip(items, kept, strict=True) if there.kept is not None}
    compute = ComputeThread("recovery", threads=1)
    try:
        recovery = Recovery(partition, compute, workload.spec, Metrics().damaged_records)
        learner = (await recovery.run()).learner
    finally:
        compute.close()
    return Stored(beliefs, replies, learner.encode_weights(), learner.version, observed)
