"""The rounds of a group: each computes on the ones before it, and nothing holds before the commit."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from model.belief import Beliefs
from model.items import Item, Items
from model.learner import Learner
from model.spec import ModelSpec
from service import rounds as rounds_module
from service.batcher import Entry, Frame
from service.belief_cache import Met
from service.rounds import Draft, learn
from tests.builders import frozen, mixed_item, redo_of, small_spec

RING = 4


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group has all the time that it needs."""
    monkeypatch.setattr(rounds_module, "GROUP_S", 600.0)


GROUPS = [["ab", "ab", "b", "ab"], ["ac", "c", "bc"]]
"""The streams of each round, group by group."""


def entries_of(spec: ModelSpec, names: str, source: np.random.Generator) -> list[Entry]:
    """A round of these streams."""
    loop = asyncio.new_event_loop()
    frame = Frame(Items.of(spec, [mixed_item(spec, 1, source) for _ in names]), loop.create_future())
    loop.close()
    return [Entry(name, None, frame, place) for place, name in enumerate(names)]


def groups_of(spec: ModelSpec) -> list[list[list[Entry]]]:
    """The same items each time."""
    source = np.random.default_rng(0)
    return [[entries_of(spec, names, source) for names in group] for group in GROUPS]


def met_after(met: dict[str, Met], draft: Draft) -> dict[str, Met]:
    """The beliefs after a draft was committed."""
    return {**met, **{c.stream: Met(c.belief, c.sequence, 7) for c in draft.changes}}


@pytest.mark.parametrize("spec", [small_spec(), frozen(small_spec()), small_spec(window=1)])
def test_rounds_lead_where_single_steps_lead(spec: ModelSpec) -> None:
    """Beliefs, weights, counts, redo records and what is kept are, to the bit, those of one commit after the other."""
    together, alone = Learner(spec), Learner(spec)
    met: dict[str, Met] = {}
    met_alone: dict[str, Met] = {}
    for group in groups_of(spec):
        draft = learn(together, group, met, RING)
        together, met = draft.adopt(), met_after(met, draft)
        kept, redo = [], []
        for taken in group:
            one = learn(alone, [taken], met_alone, RING)
            alone, met_alone = one.adopt(), met_after(met_alone, one)
            kept += [attempt.kept for attempts in one.attempts for attempt in attempts]
            redo += one.redo
        assert draft.redo == redo
        assert [attempt.kept for attempts in draft.attempts for attempt in attempts] == kept
        assert met == met_alone
        assert together.encode_weights() == alone.encode_weights()


def test_redoing_the_records_of_a_group_leads_to_its_weights() -> None:
    """In the order of the rounds."""
    spec = small_spec()
    learner, recovered = Learner(spec), Learner(spec)
    met: dict[str, Met] = {}
    for group in groups_of(spec):
        draft = learn(learner, group, met, RING)
        learner, met = draft.adopt(), met_after(met, draft)
        for record in draft.redo:
            recovered.redo(record)
    assert recovered.encode_weights() == learner.encode_weights()


def test_a_draft_changes_nothing() -> None:
    """However many rounds: until it is adopted weights, values, counts and version are as they were."""
    learner = Learner(small_spec())
    before = learner.encode_weights()
    draft = learn(learner, groups_of(learner.spec)[0], {}, RING)
    assert draft.n_done == 4
    assert learner.encode_weights() == before
    assert draft.adopt().encode_weights() != before


def test_a_change_keeps_what_the_ring_has_room_for() -> None:
    """Of each stream the last belief and the last items are written, and the sequence it was at is named."""
    spec = small_spec()
    group = [entries_of(spec, names, np.random.default_rng(0)) for names in ["ab", *["a"] * 6]]
    first, second = learn(Learner(spec), group, {}, RING).changes
    assert (first.stream, first.sequence, first.n_items) == ("a", 7, 7)
    assert [kept.sequence for kept in first.kept] == [4, 5, 6, 7]
    assert (second.stream, second.sequence, second.n_items) == ("b", 1, 1)
    assert first.kept[-1].awaited_by == first.kept[-2].belief


def test_a_belief_that_cannot_be_read_costs_its_own_stream() -> None:
    """Damaged, or not of the sequence it is stored under: it is told so, and the others go on."""
    spec = small_spec()
    learner = Learner(spec)
    (belief,) = learner.step(learner.fresh_beliefs(1), [Item((1.0,), (None, None))]).encoded_beliefs
    met = {"a": Met(b"rubbish", 1), "b": Met(belief, 1), "c": Met(belief, 2)}
    source = np.random.default_rng(0)
    draft = learn(learner, [entries_of(spec, names, source) for names in ("abc", "a", "bc")], met, RING)
    assert set(draft.damaged) == {"a", "c"}
    assert [[attempt.entry.stream for attempt in attempts] for attempts in draft.attempts] == [["b"], ["b"]]
    assert draft.n_done == 3


def test_what_was_committed_here_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum is for what was read."""
    spec = small_spec()
    draft = learn(Learner(spec), [entries_of(spec, "a", np.random.default_rng(0))], {}, RING)
    monkeypatch.setattr("model.codec.unpack", None)
    met = met_after({}, draft)
    draft = learn(draft.adopt(), [entries_of(spec, "a", np.random.default_rng(0))], met, RING)
    assert [change.sequence for change in draft.changes] == [2]
    assert [change.updated_us for change in draft.changes] == [7]


@pytest.mark.parametrize(("name", "bound"), [("GROUP_S", 0.0), ("GROUP_BYTES", 0)])
def test_a_group_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, bound: float) -> None:
    """Past its time or its bytes no further round is begun; the first one always is."""
    monkeypatch.setattr(rounds_module, name, bound)
    learner = Learner(small_spec())
    draft = learn(learner, groups_of(learner.spec)[0], {}, RING)
    assert (draft.n_done, len(draft.attempts), len(draft.round_s)) == (1, 1, 1)


def test_a_round_that_breaks_is_left_to_the_next_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed before it holds; as a first round it raises what is wrong."""
    spec = small_spec()
    learner, group, step = Learner(spec), groups_of(spec)[0], Learner.step

    def broken(self: Learner, beliefs: Beliefs, items: Any) -> Any:
        if len(items) == 1:
            raise RuntimeError("broken by the test")
        return step(self, beliefs, items)

    monkeypatch.setattr(Learner, "step", broken)
    draft = learn(learner, group, {}, RING)
    assert draft.n_done == 2
    monkeypatch.undo()
    assert draft.adopt().encode_weights() == learn(learner, group[:2], {}, RING).adopt().encode_weights()
    monkeypatch.setattr(Learner, "step", broken)
    with pytest.raises(RuntimeError, match="broken by the test"):
        learn(learner, group[2:], {}, RING)


def test_frozen_weights_need_no_redo() -> None:
    """Rounds that change no weights leave version and log as they are."""
    spec = frozen(small_spec(fields=small_spec().fields[:1]))
    learner = Learner(spec)
    draft = learn(learner, [entries_of(spec, "ab", np.random.default_rng(0)) for _ in range(3)], {}, RING)
    assert (draft.redo, draft.version, len(draft.attempts)) == ([], 0, 3)
    assert redo_of(learner.step(learner.fresh_beliefs(1), [Item((1.0,), ())])) == []
