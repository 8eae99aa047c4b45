"""What a partition holds of its weights."""

from __future__ import annotations

from service.store import Partition


async def stored_weights(partition: Partition) -> tuple[int, bytes | None, list[tuple[int, bytes]]]:
    """Version (0 without one) and content of the current snapshot, and the redo records after it, in order."""
    version = (await partition.load_versions()).current or 0
    records: list[tuple[int, bytes]] = []
    while page := await partition.load_redo(records[-1][0] if records else version):
        records += page
    return version, await partition.load_snapshot(), records
