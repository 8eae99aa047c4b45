"""What is taken at once, and what of it is learned: order, fairness, sequences."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from model.items import Item, Items
from model.spec import FieldSpec, ModelSpec
from service.batcher import Batcher, Entry, Frame
from service.bounds import Bound
from service.errors import Overloaded, SequenceGap
from service.groups import FIRST_ROUNDS, Groups
from service.settle import Round, settle

MODEL = ModelSpec(fields=(FieldSpec("x"),))
ITEM = Item((1.0,), ())


def entries_of(*items: str | tuple[str, int]) -> list[Entry]:
    """A frame's entries, each of a stream, and with a sequence where one is given."""
    loop = asyncio.new_event_loop()
    frame = Frame(Items.of(MODEL, [ITEM] * len(items)), loop.create_future())
    loop.close()
    named = [item if isinstance(item, tuple) else (item, None) for item in items]
    return [Entry(stream, sequence, frame, place) for place, (stream, sequence) in enumerate(named)]


def waiting(*streams: str) -> tuple[Batcher, list[Entry]]:
    """A queue that holds a frame."""
    batcher = Batcher(10_000, 10_000, 10.0, Bound(10_000))
    entries = entries_of(*streams)
    batcher.add(entries)
    return batcher, entries


def names(group: Sequence[Sequence[Entry]]) -> list[str]:
    """The streams of each round."""
    return ["".join(entry.stream for entry in taken) for taken in group]


def done(group: Sequence[Sequence[Entry]]) -> None:
    """Answer rounds."""
    for taken in group:
        for entry in taken:
            entry.resolve(b"{}")


def test_what_waits_alone_is_one_round() -> None:
    """Where each stream has one item there is one round, and nothing is waited for."""
    batcher, _ = waiting("b", "a", "c")
    assert names(Groups(batcher, 100).take(10, 10)) == ["abc"]
    assert Groups(batcher, 100).take(10, 10) == []


def test_a_group_serves_streams_in_turn() -> None:
    """A stream with much to learn does not hold up others: each has its turn before it has its second."""
    batcher, _ = waiting(*"aaaaabcd")
    group = Groups(batcher, 100).take(2, 10)
    assert names(group) == ["ab", "cd", "a", "a", "a", "a"]


def test_a_group_has_a_bound_on_its_streams() -> None:
    """A round that would bring in too many streams is left for the next group, in its order."""
    batcher, entries = waiting(*"abcdef")
    groups = Groups(batcher, 100)
    assert names(groups.take(2, 4)) == ["ab", "cd"]
    assert names(groups.take(2, 1)) == ["ef"]
    batcher, entries = waiting(*"abcab")
    groups = Groups(batcher, 100)
    assert names(groups.take(2, 2)) == ["ab"]
    assert groups.take(2, 3) == [[entries[2], entries[3]][::-1], [entries[4]]]


def test_what_there_was_no_time_for_is_taken_next() -> None:
    """It is put back before what came later, in its order, and counts as waiting again."""
    batcher, _ = waiting(*"aabbc")
    groups = Groups(batcher, 100)
    group = groups.take(2, 10)
    assert names(group) == ["ab", "ac", "b"]
    batcher.add(entries_of("a", "d"))
    done(group[:1])
    groups.give_back(group, 1)
    assert names(group) == ["ab"]
    assert len(batcher) == 5
    assert names(groups.take(2, 10)) == ["ac", "bd"]
    assert names(groups.take(2, 10)) == ["a"]


def test_the_number_of_rounds_follows_the_time_they_take() -> None:
    """It grows while groups are full and done, and shrinks to little more than there was time for."""
    batcher, _ = waiting(*("a" * 5000))
    groups = Groups(batcher, 1000)
    sizes = []
    for _ in range(3):
        group = groups.take(1, 1)
        sizes.append(len(group))
        groups.give_back(group, len(group))
    assert sizes == [FIRST_ROUNDS, 2 * FIRST_ROUNDS, 4 * FIRST_ROUNDS]
    group = groups.take(1, 1)
    groups.give_back(group, 8)
    assert len(groups.take(1, 1)) == 8 + 2 + 1
    assert len(Groups(batcher, 3).take(1, 1)) == 3


def compare(*rounds: Sequence[str | tuple[str, int]], stored: dict[str, int | None], room: float = 9) -> list[Round]:
    """Settle rounds of items."""
    return settle([entries_of(*taken) for taken in rounds], stored, room, 9)


def asides_of(rounds: Sequence[Round]) -> list[tuple[str, int, int, bool]]:
    """Of what is not learned: the stream, what it awaits, how many are before it, whether it is of the group."""
    return [(a.entry.stream, a.expected, a.n_ahead, a.is_of_group) for found in rounds for a in found.asides]


def test_rounds_are_compared_with_those_before() -> None:
    """An item is next where the rounds before it lead; an item of the group that comes again is a resend of it."""
    rounds = compare([("a", 4)], [("a", 5)], [("a", 4)], [("a", 3)], ["a"], stored={"a": 3})
    assert [len(found.todo) for found in rounds] == [1, 1, 0, 0, 1]
    assert asides_of(rounds) == [("a", 6, 2, True), ("a", 6, 2, False)]


def test_a_gap_in_a_group_ends_nothing() -> None:
    """What is ahead of its turn is refused by what its stream awaits in its round; what comes after it goes on."""
    rounds = compare([("a", 1), ("b", 2)], [("a", 3), "b"], [("a", 2)], stored={"a": None, "b": None})
    assert [[e.stream for e in found.todo] for found in rounds] == [["a"], ["b"], ["a"]]
    gaps = [aside.refusal for found in rounds for aside in found.asides]
    assert [type(gap) for gap in gaps] == [SequenceGap, SequenceGap]
    assert asides_of(rounds) == [("b", 1, 0, False), ("a", 2, 1, False)]


def test_room_is_given_in_order() -> None:
    """New streams are created as long as there is room, by round and name; one without it stays without."""
    rounds = compare(["a", "b"], ["a", "b", "c"], stored={"a": None, "b": None, "c": 7}, room=1)
    assert [[e.stream for e in found.todo] for found in rounds] == [["a"], ["a", "c"]]
    assert [type(aside.refusal) for found in rounds for aside in found.asides] == [Overloaded, Overloaded]


def test_a_stream_that_is_there_needs_no_room() -> None:
    """Not even one that has not learned an item."""
    (found,) = compare(["a"], stored={"a": 0}, room=0)
    assert [e.stream for e in found.todo] == ["a"]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_giving_back_what_was_taken_changes_nothing(n: int) -> None:
    """The queue is as it was, whatever was taken of it."""
    batcher, _ = waiting(*"aabbcd")
    untouched, _ = waiting(*"aabbcd")
    batcher.give_back([batcher.take(4) for _ in range(n)])
    assert len(batcher) == len(untouched)
    for _ in range(4):
        assert names([batcher.take(3)]) == names([untouched.take(3)])
