"""What a spec and an item may be."""

import json
import math
from typing import Any

import pytest

from model.items import Items, Vocabulary, parse_item
from model.spec import FieldSpec, LearnSpec, ModelSpec, check_model_name
from tests.builders import small_spec


def test_a_spec_round_trips_through_json() -> None:
    """The plain values name every part, and build an equal spec."""
    spec = small_spec(
        cell="gru", learning_rate=0.01, learn=LearnSpec(state=False), quantiles=(0.1, 0.9), max_streams=5, ttl_s=60
    )
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_only_fields_are_needed() -> None:
    """Every other part has a default."""
    assert ModelSpec.from_dict({"fields": [{"name": "x"}]}) == ModelSpec(fields=(FieldSpec("x"),))


@pytest.mark.parametrize(
    "parts",
    [
        {"fields": ()},
        {"fields": (FieldSpec("x"), FieldSpec("x"))},
        {"cell": "transformer"},
        {"hidden": 0},
        {"hidden": 100_000},
        {"layers": 0},
        {"window": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"seed": -1},
        {"quantiles": ()},
        {"quantiles": (0.5, 0.1)},
        {"quantiles": (0.0, 0.5)},
        {"max_streams": 0},
        {"max_streams": 2**63},
        {"ttl_s": 0.1},
        {"ttl_s": math.inf},
        {"ttl_s": 1e20},
    ],
)
def test_a_part_out_of_bounds_is_refused(parts: dict[str, Any]) -> None:
    """The error names the part."""
    name = next(iter(parts))
    with pytest.raises(ValueError, match=name):
        ModelSpec(**{"fields": (FieldSpec("x"),), **parts})


@pytest.mark.parametrize(
    "parts",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"kind": "text"},
        {"values": ("a", "b")},
        {"kind": "category"},
        {"kind": "category", "values": ("a",)},
        {"kind": "category", "values": ("a", "a")},
        {"kind": "category", "values": ("a", "b"), "capacity": 4},
        {"kind": "category", "capacity": 1},
    ],
)
def test_a_field_whose_parts_do_not_fit_is_refused(parts: dict[str, Any]) -> None:
    """The error says what a field takes."""
    with pytest.raises(ValueError, match="field"):
        FieldSpec(**{"name": "x", **parts})


@pytest.mark.parametrize("data", [{}, {"fields": 3}, {"fields": [{"kind": "real"}]}, {"fields": [], "size": 3}])
def test_what_is_no_spec_is_refused(data: dict[str, Any]) -> None:
    """Unknown and missing parts are errors, not surprises."""
    with pytest.raises(ValueError, match=r"spec|fields"):
        ModelSpec.from_dict(data)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "ä", "x" * 65, "{a}", "a:0"])
def test_a_model_name_is_plain(name: str) -> None:
    """Names that would need care in a path or a key are refused."""
    with pytest.raises(ValueError, match="model name"):
        check_model_name(name)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"heat": 1.0}, "not one of the model"),
        ({"load": "3"}, "takes a number"),
        ({"load": True}, "takes a number"),
        ({"load": math.nan}, "refused"),
        ({"load": math.inf}, "refused"),
        ({"load": 1e101}, "over"),
        ({"load": 10**400}, "refused"),
        ({"state": 3}, "takes a text"),
        ({"state": "asleep"}, "not one of its values"),
        ({"activity": ""}, "1 to"),
        ({"activity": "x" * 300}, "1 to"),
    ],
)
def test_an_item_that_does_not_fit_is_refused(values: dict[str, object], reason: str) -> None:
    """The error names the field and the reason."""
    with pytest.raises(ValueError, match=reason):
        parse_item(small_spec(), values)


def test_absent_and_null_are_missing() -> None:
    """A field may be left out or be null."""
    item = parse_item(small_spec(), {"load": None})
    assert math.isnan(item.reals[0])
    assert item.categories == (None, None)


def test_an_unknown_value_takes_the_last_slot() -> None:
    """Known values have their place, the unknown one is last, missing is -1."""
    spec = small_spec()
    vocabulary = Vocabulary(spec).grown([[], ["run"]])
    sent = (("busy", "run"), (None, "walk"), ("off", None))
    items = Items.of(spec, [parse_item(spec, {"state": s, "activity": a}) for s, a in sent])
    assert vocabulary.slots(items).tolist() == [[1, 0], [-1, 5], [2, -1]]
    assert vocabulary.novel(items) == [[], ["walk"]]
