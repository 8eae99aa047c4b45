"""One setup from start to verdict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.embedded import Embedded
from benchmarks.chaos.external import External
from benchmarks.chaos.faults import Fault, Kill
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.load import Writer
from benchmarks.chaos.replay import Verdict, judge
from benchmarks.chaos.setup import Setup
from benchmarks.chaos.stored import read_stored
from benchmarks.chaos.torment import RECOVERY_S, Torment
from benchmarks.chaos.workload import Workload, workloads
from stepahead import AsyncClient

SETUPS: dict[str, type[Setup]] = {"embedded": Embedded, "external": External}
WRITERS = 4
"""To a model."""


@dataclass(slots=True)
class Outcome:
    """What one setup went through, and what came of it.

    Args:
        setup: Its name.
        items: Different items that were acknowledged.
        streams: That they belong to.
        forced: How often each fault was forced, by label.
        recoveries_s: Seconds until an item was newly acknowledged after a fault, by label.
        duplicates: Replies marked ``duplicate``.
        rescued: Items whose first answer was lost after they were applied.
        errors: Failed requests and refused items, by code.
        updates: Weight updates, of all models.
        load_s: Seconds under load.
        replay_s: Seconds of replaying and comparing.
        verdict: What was lost, doubled and different.
        troubles: What an honest service never does, in lines; to be empty.
    """

    setup: str
    items: int = 0
    streams: int = 0
    forced: Counter[str] = field(default_factory=Counter)
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    duplicates: int = 0
    rescued: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    updates: int = 0
    load_s: float = 0.0
    replay_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)
    troubles: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Moments at which something was killed."""
        return sum(self.forced[str(kill)] for kill in Kill)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or different, and no trouble was met."""
        verdict = self.verdict
        return not (verdict.lost or verdict.doubled or verdict.differing or self.troubles)


async def run(
    name: str,
    directory: Path,
    faults: Sequence[Fault],
    *,
    items: int,
    streams: int,
    seed: int,
    tell: Callable[[str], None],
) -> Outcome:
    """Run one setup under load and faults, and compare at the end.

    Args:
        name: Of the setup.
        directory: Empty, or not there; a socket is made below it, so not too deep.
        faults: What is forced, one after the other.
        items: To be acknowledged, at least.
        streams: Of each model.
        seed: Decides the items, and how they are packed.
        tell: Gets a line now and then.

    Raises:
        ChaosFailed: If something did not come back.
    """
    ledger, outcome = Ledger(), Outcome(name)
    setup = SETUPS[name](directory / name, random.Random(f"{seed}/{name}/connections"))
    loads = workloads(seed, streams)
    begin_s = time.monotonic()
    try:
        await setup.start()
        await _create(setup.url, loads)
        torment = Torment(setup, ledger, tell)
        await _under_load(setup.url, loads, ledger, torment, faults, items, seed)
        await setup.kill_service()
        outcome.load_s = time.monotonic() - begin_s
        tell(f"{ledger.n_items:,} items; comparing")
        async with setup.open_store() as store:
            for load in loads:
                last = {stream: ledger.last(load.model, stream) for stream in ledger.replies[load.model]}
                stored = await read_stored(store, load, last)
                sent = {stream: n for (model, stream), n in ledger.sent.items() if model == load.model}
                outcome.verdict.add(await asyncio.to_thread(judge, load, ledger.replies[load.model], sent, stored))
                outcome.updates += stored.version
    finally:
        await setup.stop()
    outcome.replay_s = time.monotonic() - begin_s - outcome.load_s
    outcome.items, outcome.streams = ledger.n_items, sum(len(load.streams) for load in loads)
    outcome.forced, outcome.recoveries_s = torment.forced, dict(torment.recoveries_s)
    outcome.duplicates, outcome.rescued = ledger.n_duplicates, ledger.n_rescued
    outcome.errors, outcome.troubles = ledger.errors, ledger.troubles
    outcome.verdict.reply_bits += ledger.n_conflicts
    return outcome


async def _create(url: str, loads: list[Workload]) -> None:
    async with AsyncClient(url) as client:
        for load in loads:
            spec = {name: value for name, value in load.spec.to_dict().items() if value is not None}
            fields = {field.pop("name"): field for field in spec.pop("fields")}
            await client.create_model(load.model, fields, **spec)


async def _under_load(
    url: str, loads: list[Workload], ledger: Ledger, torment: Torment, faults: Sequence[Fault], items: int, seed: int
) -> None:
    """Feed all streams until all faults were forced and so many items acknowledged, and each item that was sent."""
    end = asyncio.Event()
    async with asyncio.timeout(None) as bound, asyncio.TaskGroup() as writers:
        for load in loads:
            begun = asyncio.Barrier(WRITERS)
            for i in range(WRITERS):
                of_writer = (load, load.streams[i::WRITERS], url, ledger, f"{seed}/{load.model}/{i}")
                writers.create_task(Writer(*of_writer, begun, torment.is_up, end).run())
        await torment.run(faults)
        await torment.further(items - ledger.n_items, "at the end")
        end.set()
        bound.reschedule(asyncio.get_running_loop().time() + RECOVERY_S)
