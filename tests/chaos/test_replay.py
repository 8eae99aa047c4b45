"""The judge of ``make chaos`` finds what it is there to find."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import orjson
import pytest

from benchmarks.chaos.ledger import Acknowledged, Ledger, differing_bits
from benchmarks.chaos.replay import Verdict, judge
from benchmarks.chaos.stored import KeptItem, Stored
from benchmarks.chaos.workload import Workload, workloads
from model.items import item_values
from model.learner import Learner
from model.reply_form import ReplyForm
from service.replies import encode_values

STREAMS, ITEMS = 12, 6


@dataclass
class Run:
    """What a service would have acknowledged and kept of one model."""

    workload: Workload
    replies: dict[str, dict[int, Acknowledged]]
    stored: Stored

    def judge(self) -> Verdict:
        """Judge it, everything acknowledged having been sent and nothing else."""
        return judge(self.workload, self.replies, dict.fromkeys(self.replies, ITEMS), self.stored)


def served(workload: Workload) -> Run:
    """Serve the streams in batches of halves that change from item to item, each in the order of its names."""
    learner, form = Learner(workload.spec), ReplyForm(workload.spec)
    beliefs: dict[str, bytes] = {}
    replies: dict[str, dict[int, Acknowledged]] = {stream: {} for stream in workload.streams}
    for sequence in range(1, ITEMS + 1):
        for half in (0, 1):
            batch = sorted(stream for i, stream in enumerate(workload.streams) if (i // sequence) % 2 == half)
            if not batch:
                continue
            items = [workload.item(stream, sequence) for stream in batch]
            step = learner.step(learner.decode_beliefs([beliefs.get(stream) for stream in batch]), items)
            learner.adopt(step)
            beliefs.update(zip(batch, step.encoded_beliefs, strict=True))
            for stream, reply in zip(batch, step.replies(), strict=True):
                replies[stream][sequence] = Acknowledged(form.reply(stream, reply), step.version)
    kept = {(stream, ITEMS): found[ITEMS].reply for stream, found in replies.items()}
    last = {stream: workload.item(stream, ITEMS) for stream in replies}
    observed = {
        (stream, ITEMS): KeptItem(encode_values(item_values(workload.spec, item)), item.timestamp_us)
        for stream, item in last.items()
    }
    return Run(workload, replies, Stored(beliefs, kept, learner.encode_weights(), learner.version, observed))


@pytest.fixture(params=["plain", "mixed", "frozen"])
def honest(request: pytest.FixtureRequest) -> Run:
    """One model of the workload, honestly served."""
    (workload,) = (w for w in workloads(3, STREAMS) if w.model == request.param)
    return served(workload)


only_learning = pytest.mark.parametrize("honest", ["plain", "mixed"], indirect=True)


def flipped(data: bytes) -> bytes:
    """The bytes with one bit of the last changed."""
    return data[:-1] + bytes([data[-1] ^ 1])


def test_an_honest_run_is_clean(honest: Run) -> None:
    """Batches are found again by their versions, and every bit comes out as it was served."""
    verdict = honest.judge()
    assert (verdict.lost, verdict.doubled, verdict.differing, verdict.notes) == (0, 0, 0, [])


def test_a_lost_item_is_found(honest: Run) -> None:
    """A stream whose belief is gone has lost all that was acknowledged."""
    del honest.stored.beliefs[honest.workload.streams[3]]
    verdict = honest.judge()
    assert verdict.lost == ITEMS
    assert verdict.belief_bits > 0


def test_an_item_that_nobody_sent_is_found(honest: Run) -> None:
    """A belief beyond what was sent is one item doubled for each."""
    sent = dict.fromkeys(honest.replies, ITEMS) | {honest.workload.streams[0]: ITEMS - 2}
    assert judge(honest.workload, honest.replies, sent, honest.stored).doubled == 2


@only_learning
def test_an_update_that_no_item_made_is_found(honest: Run) -> None:
    """A weights version that no reply names was learned from something else than acknowledged items."""
    honest.stored = replace(honest.stored, version=honest.stored.version + 1)
    assert honest.judge().doubled == 1


@pytest.mark.parametrize("part", ["belief", "kept reply", "kept item", "weights", "reply"])
def test_a_single_bit_is_found(honest: Run, part: str) -> None:
    """One bit changed anywhere is one bit reported; in a reply it differs from the replay and from what is kept."""
    stream = honest.workload.streams[5]
    if part == "belief":
        honest.stored.beliefs[stream] = flipped(honest.stored.beliefs[stream])
    elif part == "kept reply":
        honest.stored.replies[stream, ITEMS] = flipped(honest.stored.replies[stream, ITEMS] or b"")
    elif part == "kept item":
        item = honest.stored.items[stream, ITEMS]
        honest.stored.items[stream, ITEMS] = replace(item, values=flipped(item.values))
    elif part == "weights":
        honest.stored = replace(honest.stored, weights=flipped(honest.stored.weights))
    else:
        first = honest.replies[stream][ITEMS - 1]
        honest.replies[stream][ITEMS - 1] = replace(first, reply=flipped(first.reply))
    assert honest.judge().differing == 1


@only_learning
def test_items_that_changed_batches_are_found(honest: Run) -> None:
    """Which items shared a batch decides the weights: two that are swapped change bits everywhere after them."""
    one, other = honest.workload.streams[0], honest.workload.streams[2]
    first, second = honest.replies[one][2], honest.replies[other][2]
    assert first.version != second.version
    honest.replies[one][2] = replace(first, version=second.version)
    honest.replies[other][2] = replace(second, version=first.version)
    verdict = honest.judge()
    assert min(verdict.belief_bits, verdict.reply_bits, verdict.weight_bits) > 0


def test_two_replies_to_one_item_are_compared(honest: Run) -> None:
    """A duplicate has the bytes of the first reply but for its mark; anything else is a conflict, and a trouble."""
    ledger = Ledger()
    name = honest.workload.model
    result = orjson.loads(honest.replies[honest.workload.streams[0]][2].reply)
    ledger.take(name, dict(result))
    ledger.take(name, {**result, "duplicate": True})
    assert (ledger.n_items, ledger.n_duplicates, ledger.n_rescued) == (1, 1, 0)
    assert (ledger.n_conflicts, ledger.troubles) == (0, [])
    ledger.take(name, {**result, "duplicate": True, "prediction": {**result["prediction"], "sequence": 2}})
    assert ledger.n_conflicts == 1  # 2 instead of 3
    assert len(ledger.troubles) == 1


def test_bits_are_counted_in_what_is_missing_too() -> None:
    """Eight for each byte that only one has."""
    assert differing_bits(b"", b"") == 0
    assert differing_bits(b"a", b"a") == 0
    assert differing_bits(b"\x0f\x01", b"\x00") == 4 + 8


async def test_the_ledger_wakes_who_waits_for_items() -> None:
    """One new item is one more; a duplicate is none."""
    ledger = Ledger()
    waiting = asyncio.create_task(ledger.reach(2))
    for sequence in (1, 1, 2):
        assert not waiting.done()
        result = {"stream": "s", "sequence": sequence, "duplicate": False, "prediction": {"weights_version": 0}}
        ledger.take("m", result)
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting, 5)
