"""Values of open vocabularies after the records that met them were lost."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from model import inspection
from model.items import parse_item
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec
from service.store import BeliefChange, Partition
from service.weights_log import WeightsLog
from tests.builders import redo_of
from tests.service.damage import put_redo

SPEC = ModelSpec(fields=(FieldSpec("letter", "category", capacity=6),), hidden=4)


class Writer:
    """A model of one stream that commits every item."""

    def __init__(self, partition: Partition) -> None:
        self.learner = Learner(SPEC)
        self.beliefs = self.learner.fresh_beliefs(1)
        self._partition = partition

    async def observe(self, letters: str) -> None:
        """Learn and commit one letter after the other."""
        for letter in letters:
            step = self.learner.step(self.beliefs, [parse_item(SPEC, {"letter": letter})])
            self.learner.adopt(step)
            self.beliefs = step.beliefs
            change = BeliefChange("s", int(step.beliefs.sequence[0]), self.beliefs.encode()[0], b"")
            await self._partition.commit([change], version=step.version, redo=redo_of(step), ttl_s=None)


async def test_values_keep_the_slots_they_had(partition: Partition, log: WeightsLog, raw: redis.Redis) -> None:
    """Names that a later record tells are in their places, one that none tells has its place without a name."""
    writer = Writer(partition)
    await writer.observe("abcad")  # versions 1 to 5; c is met by the third
    put_redo(raw, {3: b"rubbish"})
    recovered = await log.recover(SPEC)
    assert recovered.vocabulary.met == [["a", "b", None, "d"]]
    await writer_goes_on(writer, recovered, "c")
    assert writer.learner.vocabulary.met == [["a", "b", None, "d", "c"]]


async def test_what_only_beliefs_know_keeps_its_slot(partition: Partition, log: WeightsLog, raw: redis.Redis) -> None:
    """Where no record is left that tells of a value, the beliefs do: the next new value gets a slot after it."""
    writer = Writer(partition)
    await writer.observe("abc")
    put_redo(raw, {3: b"rubbish"})
    recovered = await log.recover(SPEC)
    assert recovered.vocabulary.met == [["a", "b", None]]
    assert inspection.inspect(recovered, writer.beliefs)["before"] is not None
    await writer_goes_on(writer, recovered, "e")
    assert writer.learner.vocabulary.met == [["a", "b", None, "e"]]
    assert Learner.from_snapshot(SPEC, writer.learner.encode_weights()).vocabulary.met == [["a", "b", None, "e"]]


async def test_a_damaged_belief_tells_nothing(partition: Partition, log: WeightsLog, raw: redis.Redis) -> None:
    """It is passed over; the weights are recovered all the same."""
    writer = Writer(partition)
    await writer.observe("abc")
    put_redo(raw, {3: b"rubbish"})
    raw.hset("{m:0}:stream:s", "belief", b"rubbish")
    assert (await log.recover(SPEC)).vocabulary.met == [["a", "b"]]


@pytest.mark.parametrize("read_bytes", [1, 2**20])
async def test_all_beliefs_are_asked(
    partition: Partition, log: WeightsLog, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    """However many are read at once, the one that knows most says how many slots there are."""
    monkeypatch.setattr("service.rescue.READ_BYTES", read_bytes)
    learner, beliefs = Learner(SPEC), Learner(SPEC).fresh_beliefs(1)
    step = learner.step(beliefs, [parse_item(SPEC, {"letter": "a"})])
    (belief,) = step.beliefs.encode()
    late = step.beliefs.copy()
    late.records["n_known"] = np.array([[4]])
    changes = [BeliefChange("y", 1, late.encode()[0], b""), *(BeliefChange(s, 1, belief, b"") for s in "xz")]
    await partition.commit(changes, version=1, redo=redo_of(step), ttl_s=None)
    put_redo(raw, {1: b"rubbish"})
    assert (await log.recover(SPEC)).vocabulary.met == [[None] * 4]


async def writer_goes_on(writer: Writer, recovered: Learner, letters: str) -> None:
    """Let the stream go on under what was recovered."""
    writer.learner = recovered
    await writer.observe(letters)
