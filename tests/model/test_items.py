"""Items as columns: the same items, row for row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from model.items import NO_TIME, Item, Items
from tests.builders import small_spec

SPEC = small_spec()

ITEMS = st.lists(
    st.builds(
        lambda load, state, activity, time_us: Item((load,), (state, activity), time_us),
        st.floats(-1e100, 1e100),
        st.none() | st.sampled_from(["idle", "busy", "off"]),
        st.none() | st.text(min_size=1, max_size=3),
        st.none() | st.integers(NO_TIME + 1, -NO_TIME - 1),
    ),
    max_size=5,
)


def rows(items: Items) -> list[Item]:
    """Each row as an item."""
    return [items[i] for i in range(len(items))]


@given(items=ITEMS)
def test_columns_hold_the_items(items: Sequence[Item]) -> None:
    """Every row is the item that it was made of, and the columns have their shapes even without one."""
    columns = Items.of(SPEC, items)
    assert rows(columns) == list(items)
    assert columns.reals.shape == (len(items), 1)
    assert len(columns.categories) == 2


@given(first=ITEMS, second=ITEMS, data=st.data())
def test_gathered_rows_are_those_that_were_chosen(
    first: Sequence[Item], second: Sequence[Item], data: st.DataObject
) -> None:
    """From one part or several, in their order, as often as they were named."""
    parts = [(Items.of(SPEC, items), items) for items in (first, second)]
    chosen = [
        data.draw(st.lists(st.integers(0, len(items) - 1), max_size=6) if items else st.just([]))
        for items in (first, second)
    ]
    expected = [[items[row] for row in rows_] for (_, items), rows_ in zip(parts, chosen, strict=True)]
    gathered = Items.gather([(columns, rows_) for (columns, _), rows_ in zip(parts, chosen, strict=True)])
    assert rows(gathered) == expected[0] + expected[1]
    assert rows(Items.gather([(parts[0][0], chosen[0])])) == expected[0]


def test_a_missing_value_is_nan_and_a_missing_time_has_its_mark() -> None:
    """So that a column is numbers throughout."""
    columns = Items.of(SPEC, [Item((math.nan,), (None, "a"))])
    assert math.isnan(columns.reals[0, 0])
    assert columns.timestamp_us.tolist() == [NO_TIME]
    assert columns[0].timestamp_us is None
