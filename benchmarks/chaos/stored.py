"""What the store holds of a model once all is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.chaos.workload import Workload
from model.reply import Reply
from model.reply_form import ReplyForm
from service.compute import ComputeThread
from service.metrics import Metrics
from service.recovery import Recovery
from service.replies import encode_values
from service.store import Store

PAGE = 200
LAST_REPLIES = 3
"""Of each stream, how many kept replies are looked at."""


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item as a kept reply tells it.

    Args:
        values: By field, missing ones as null; a JSON object.
        timestamp_us: Microseconds since 1970 UTC; None if it had none.
    """

    values: bytes
    timestamp_us: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """One model as the store has it.

    Args:
        beliefs: Bytes by stream.
        replies: Some kept replies as they are sent, by stream and sequence; None for one that is not kept.
        items: Observed items that are kept with these replies.
        weights: A snapshot of what a fresh recovery leads to.
        version: Of these weights.
    """

    beliefs: dict[str, bytes]
    replies: dict[tuple[str, int], bytes | None]
    weights: bytes
    version: int
    items: dict[tuple[str, int], KeptItem] = field(default_factory=dict)


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
    form, replies, observed = ReplyForm(workload.spec), dict[tuple[str, int], bytes | None](), {}
    for (stream, sequence), there in zip(items, kept, strict=True):
        replies[stream, sequence] = None
        if there.reply is not None:
            reply = Reply.decode(workload.spec, sequence, there.reply)
            replies[stream, sequence] = form.reply(stream, reply)
            observed[stream, sequence] = KeptItem(encode_values(form.values(reply)), reply.timestamp_us)
    compute = ComputeThread("recovery", threads=1)
    try:
        recovery = Recovery(partition, compute, workload.spec, Metrics().damaged_records)
        learner = (await recovery.run()).learner
    finally:
        compute.close()
    return Stored(beliefs, replies, learner.encode_weights(), learner.version, observed)
