"""Replies as rows of numbers: what they hold is what was scored and predicted, and it comes back from what is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import drift, reply
from model.codec import DamagedRecord
from model.items import NO_TIME, Item, item_values
from model.learner import Learner
from model.reply import IMPLIED_LEVELS, Reply
from model.reply_form import ReplyForm
from model.reply_rows import ANOMALY_STEPS, MOST_LIKELY, row_layout
from model.spec import FieldSpec, ModelSpec
from model.step import Step
from tests.builders import only_weights, small_spec

REAL = FieldSpec('load, %b of "100%"')
LARGE = FieldSpec("word", "category", tuple(f"value-{i:02}" for i in range(14)))
OPEN = FieldSpec("tag", "category", capacity=12)
FEW = FieldSpec("state", "category", ("idle", "busy"))

SPECS = {
    "real": ModelSpec((REAL,), hidden=4),
    "one level": ModelSpec((REAL,), hidden=4, quantiles=(0.5,)),
    "many levels": ModelSpec((FieldSpec("a"), FieldSpec("b")), hidden=4, quantiles=(0.01, 0.1, 0.3, 0.7, 0.99)),
    "normal tails, no experts": ModelSpec((REAL,), hidden=4, tails="normal", experts="none"),
    "categories alone": ModelSpec((OPEN, LARGE), hidden=4),
    "all kinds": ModelSpec((LARGE, REAL, OPEN, FEW, FieldSpec("heat")), hidden=4, learn=only_weights()),
}
N_STREAMS, N_ITEMS, SHIFT_AT = 2, 170, 130

TIMES = st.none() | st.integers(NO_TIME + 1, 2**63 - 1) | st.integers(-(2**38), 2**38).map(lambda s: s * 1_000_000)


def items_of(spec: ModelSpec, n: int, source: np.random.Generator) -> list[Item]:
    """An item for each stream: some values are missing, names turn up over time, and late ones are far off."""
    found = []
    for _ in range(N_STREAMS):
        reals = source.standard_normal(len(spec.reals)) * (30 if n > SHIFT_AT else 1)
        tags = (f"tag-{source.integers(0, 2 + n // 4)}" if f.values is None else str(source.choice(f.values))
                for f in spec.categories)  # fmt: skip
        found.append(
            Item(
                tuple(math.nan if source.random() < 0.1 else value for value in reals.tolist()),
                tuple(None if source.random() < 0.1 else tag for tag in tags),
                None if n % 5 == 0 else 1_700_000_000_000_000 + n * (1, 1000, 1_000_000)[n % 3],
            )
        )
    return found


def run(spec: ModelSpec) -> Iterator[tuple[Step, list[Item], Learner]]:
    """Steps of streams that begin, go on, and drift."""
    learner, source = Learner(spec), np.random.default_rng(5)
    beliefs = learner.fresh_beliefs(N_STREAMS)
    for n in range(N_ITEMS):
        items = items_of(spec, n, source)
        step = learner.step(beliefs, items)
        yield step, items, learner
        learner.adopt(step)
        beliefs = step.beliefs


@pytest.mark.parametrize("name", SPECS)
def test_a_reply_says_what_was_scored_and_predicted(name: str) -> None:
    """Every number is that of the columns to the bit, whatever is missing, new, drifting, or in the first item."""
    spec, n_drifting = SPECS[name], 0
    for step, _, _ in run(spec):
        for i, told in enumerate(step.results):
            scores, sequence = step.scores, int(step.beliefs.sequence[i])
            assert told["sequence"] == sequence
            prediction = told["prediction"]
            assert (prediction["sequence"], prediction["weights_version"]) == (sequence + 1, step.version)
            expected = reply.fields(spec, step.vocabulary, step.predictions, i)
            assert orjson.dumps(prediction["fields"]) == orjson.dumps(expected)
            assert (told["score"] is None) == (not scores.scored[i])
            if told["score"] is None:
                continue
            assert told["score"]["nll"] == scores.nll[i]
            assert told["score"]["anomaly"] == round(scores.anomaly[i] * ANOMALY_STEPS) / ANOMALY_STEPS
            assert told["score"]["drift"] == reply.drift_signal(spec, step.beliefs.records["drift"][i])
            n_drifting += told["score"]["drift"]["drifting"]
            scored = told["score"]["fields"]
            is_interval = len(spec.quantiles) > 1
            for j, field in enumerate(spec.reals):
                if math.isnan(scores.error[i, j]):
                    assert field.name not in scored
                else:
                    covered = bool(scores.covered[i, j]) if is_interval else None
                    assert scored[field.name] == {
                        "error": scores.error[i, j], "crps": scores.crps[i, j], "covered": covered
                    }  # fmt: skip
            for j, field in enumerate(spec.categories):
                rank = int(scores.rank[i, j])
                expected_score = {"nll": scores.category_nll[i, j], "rank": rank} if rank else None
                assert scored.get(field.name) == expected_score
            assert list(scored) == [field.name for field in spec.fields if field.name in scored]
    assert n_drifting or not spec.reals
    assert drift.WARM_UP < SHIFT_AT


@pytest.mark.parametrize("name", SPECS)
def test_what_is_kept_gives_the_same_reply(name: str) -> None:
    """The JSON and the item are the same from what is kept, also once the model reports other quantiles."""
    spec = SPECS[name]
    forms = ReplyForm(spec), ReplyForm(replace(spec, quantiles=(0.25, 0.75)))
    n_bytes = set()
    for step, items, _ in run(spec):
        for fresh, item in zip(step.replies([False, True]), items, strict=True):
            kept = fresh.encode()
            sent, told = forms[0].reply("s", fresh), Reply.decode(spec, fresh.sequence, kept)
            n_bytes.add(len(fresh.row))
            for form in forms:
                assert form.reply("s", told) == sent
                assert orjson.dumps(form.values(told)) == orjson.dumps(item_values(spec, item))
            assert told.timestamp_us == item.timestamp_us
            assert told.encode() == kept
            assert b"experts" not in forms[0].reply("s", told, with_experts=False)
            assert sent == orjson.dumps(orjson.loads(sent))
    assert n_bytes == {row_layout(spec, len(spec.quantiles)).n_bytes}


def test_a_kept_reply_names_values_itself() -> None:
    """The values of an open vocabulary, also those that it has no room for, are kept as texts: slots may lose names."""
    *_, (step, items, learner) = run(SPECS["categories alone"])
    (fresh, _), (item, _) = step.replies(), items
    ((observed, named),) = fresh.texts
    assert observed == item.categories[0]
    assert len(learner.vocabulary.values[0]) == OPEN.capacity
    assert len(named) == MOST_LIKELY
    assert list(ReplyForm(step.spec).result(fresh)["prediction"]["fields"]["tag"]["probabilities"]) == named


def test_a_kept_reply_is_small() -> None:
    """With one real field and the implied levels it takes nine doubles and little else."""
    *_, (step, _, _) = run(SPECS["real"])
    assert SPECS["real"].quantiles == IMPLIED_LEVELS
    assert len(step.replies()[0].encode()) <= 76


@given(version=st.integers(0, 2**53 - 1), timestamp_us=TIMES)
def test_any_version_and_time_come_back(version: int, timestamp_us: int | None) -> None:
    """To the microsecond, in as many bytes as it takes."""
    row = bytes(row_layout(SPECS["real"], 3).n_bytes)
    fresh = Reply(7, version, row, IMPLIED_LEVELS, timestamp_us)
    assert Reply.decode(SPECS["real"], 7, fresh.encode()) == fresh


def test_a_reply_of_another_model_is_refused() -> None:
    """Of other fields, of another number of them, cut short, or with texts that are none."""
    *_, (step, _, _) = run(SPECS["all kinds"])
    fresh = step.replies([True, False])[0]
    kept = fresh.encode()
    for spec in (SPECS["real"], small_spec(), SPECS["categories alone"]):
        with pytest.raises(DamagedRecord):
            Reply.decode(spec, fresh.sequence, kept)
    for damaged in (b"", kept[:1], kept[:9], kept[:-1], kept + b"\0"):
        with pytest.raises(DamagedRecord):
            Reply.decode(step.spec, fresh.sequence, damaged)
    ((observed, named),) = fresh.texts
    for texts in ([], [(7, named)], [(observed, named[1:])], [(observed, [7, *named[1:]])]):
        with pytest.raises(DamagedRecord):
            Reply.decode(step.spec, fresh.sequence, replace(fresh, texts=texts).encode())
    for experts in ({"none": {}}, [1]):
        with pytest.raises(DamagedRecord):
            Reply.decode(step.spec, fresh.sequence, replace(fresh, experts=experts).encode())
