"""What the cells of a column have in common: a time, numbers, or the values of a category."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from model.spec import MAX_VALUES, FieldSpec
from service.cells import is_missing, parse_date_us, parse_number, parse_text, parse_time_us

TIME_NAMES = frozenset({"timestamp", "time", "date", "datetime", "ts"})
"""Column names, in lower case, that are taken for the time if their cells can be read as times."""

MIN_CAPACITY = 16


@dataclass(slots=True)
class Column:
    """One column.

    Args:
        typed: Whether a text that looks like a number is none.
    """

    typed: bool = False
    all_numbers: bool = True
    all_texts: bool = True
    all_times: bool = True
    all_dates: bool = True
    n_values: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, cell: object) -> None:
        """Take one cell into account."""
        if is_missing(cell):
            return
        self.n_values += 1
        is_text = isinstance(cell, str)
        self.all_numbers = self.all_numbers and not (self.typed and is_text) and parse_number(cell) is not None
        self.all_dates = self.all_dates and parse_date_us(cell) is not None
        self.all_times = self.all_times and (self.all_dates or parse_time_us(cell) is not None)
        text = parse_text(cell)
        self.all_texts = self.all_texts and text is not None
        if text is not None and len(self.distinct) <= MAX_VALUES:
            self.distinct.add(text)

    def is_time(self, name: str) -> bool:
        """Whether the column of this name is taken for the time where nobody says which is."""
        if not self.n_values:
            return False
        return self.all_dates or (self.all_times and name.strip().lower() in TIME_NAMES)

    def is_field(self) -> bool:
        """Whether there is something to predict, as there is not in further times, or in lists."""
        return bool(self.n_values) and self.all_texts and not self.all_dates

    def spec(self, name: str, *, is_category: bool, room: int) -> FieldSpec:
        """The field that the column makes.

        Raises:
            ValueError: If its name cannot be a field's.
        """
        if self.all_numbers and not is_category:
            return FieldSpec(name)
        # a power of two, so that a file that grew by some values still fits the same model
        capacity = 1 << (max(len(self.distinct), MIN_CAPACITY).bit_length() + room)
        return FieldSpec(name, "category", capacity=min(capacity, MAX_VALUES))


def learn_columns(
    names: Sequence[str] | None, rows: Iterable[Mapping[str, object]], *, typed: bool
) -> tuple[dict[str, Column], int]:
    """Every column by its name, and the number of rows; ``names`` is ``None`` where rows name their own."""
    columns = {name: Column(typed) for name in names or ()}
    n_rows = 0
    for row in rows:
        n_rows += 1
        for name, cell in row.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = Column(typed)
            column.add(cell)
    return columns, n_rows


def fields_of(
    columns: Mapping[str, Column],
    names: Sequence[str],
    fields: Sequence[str] | None,
    categories: Collection[str],
    *,
    room: int,
) -> tuple[FieldSpec, ...]:
    """The fields of a new model.

    Args:
        columns: What was learned.
        names: Of these columns, in the file's order.
        fields: Those to take; ``None`` for all that can be predicted.
        categories: Those that are categories even if they look like numbers.
        room: Doublings of a category's capacity beyond what its values need.

    Raises:
        ValueError: If a name cannot be a field's.
    """
    if fields is not None:
        taken = [name for name in names if name in fields]
    else:
        taken = [name for name in names if columns[name].is_field()]
    return tuple(columns[name].spec(name, is_category=name in categories, room=room) for name in taken)
