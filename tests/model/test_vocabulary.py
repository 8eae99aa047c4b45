"""Values and their slots: growing, and what stays of a value whose name was lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model.items import Item, Items, Vocabulary
from model.spec import FieldSpec, ModelSpec

SPEC = ModelSpec(fields=(FieldSpec("state", "category", ("on", "off")), FieldSpec("letter", "category", capacity=6)))

NAMES = st.lists(st.none() | st.sampled_from("abcdefgh"), max_size=6, unique_by=lambda name: name or object())


def vocabulary(*letters: str | None) -> Vocabulary:
    """That has met these letters; ``None`` for one whose name was lost."""
    return Vocabulary(SPEC, [[], letters])


def items(*letters: str) -> Items:
    """That name these letters."""
    return Items.of(SPEC, [Item((), ("on", letter)) for letter in letters])


@given(letters=NAMES)
def test_slots_survive_a_round_trip(letters: list[str | None]) -> None:
    """What was met names every slot as it is, lost names included."""
    known = vocabulary(*letters)
    assert known.met == [["on", "off"], letters]
    assert Vocabulary(SPEC, known.met).values == known.values
    assert known.n_known.tolist() == [2, len(letters)]


def test_no_item_is_of_a_value_that_lost_its_name() -> None:
    """Not even one that reads like what is shown in its place: it is new, and gets a slot of its own."""
    known = vocabulary("a", None)
    shown = known.values[1][1]
    assert known.novel(items(shown, "b")) == [[], [shown, "b"]]
    grown = known.grown([[], [shown]])
    assert grown.slots(items(shown)).tolist() == [[0, 2]]
    assert grown.met[1] == ["a", None, shown]


def test_padding_never_passes_the_capacity() -> None:
    """Only an open field is padded, up to its capacity, and one that knows enough stays itself."""
    known = vocabulary("a", "b")
    assert known.padded([9, 4]).met == [["on", "off"], ["a", "b", None, None]]
    assert known.padded([9, 99]).n_known.tolist() == [2, 6]
    assert known.padded([0, 2]) is known


@given(letters=st.lists(st.sampled_from("abcdef"), unique=True), lost=st.sets(st.integers(0, 5)), n=st.integers(0, 6))
def test_another_time_gives_back_lost_names(letters: list[str], lost: set[int], n: int) -> None:
    """From the vocabulary of any other time come the names that were lost, and no slot changes its value."""
    damaged = vocabulary(*(None if slot in lost else letter for slot, letter in enumerate(letters)))
    named = damaged.named_by(vocabulary(*letters[:n]))
    assert named.met[1] == [None if slot in lost and slot >= n else letter for slot, letter in enumerate(letters)]
    assert damaged.named_by(damaged).met == damaged.met


def test_a_name_met_again_is_not_given_back_twice() -> None:
    """A value that was met anew after its name was lost stays where it is now."""
    assert vocabulary("a", None, "b").named_by(vocabulary("a", "b", "c")).met[1] == ["a", None, "b"]
