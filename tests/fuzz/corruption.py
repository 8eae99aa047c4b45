"""Records damaged on purpose, and a process of its own to try them in: one that crashes it fails the test, not the run.

``python -m tests.fuzz.corruption KIND SEED TRIALS`` does so many trials and ends with 0 where nothing but the named
errors came out; what it was about is told on its output.
"""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from model import forecast, inspection, soundness
from model.belief import Beliefs
from model.codec import DamagedRecord, Kind, pack
from model.items import Item
from model.learner import Learner
from model.reply_form import ReplyForm
from model.spec import FieldSpec, ModelSpec
from tests.builders import feed, mixed_item, small_spec

ADDRESS_SPACE_BYTES = 8 * 2**30
"""Far more than a small model needs: an allocation by a length that was read from a record fails."""

HEADER_BYTES = 8
NUMBERS = (0, 1, -1, 2, 7, 255, 1000, 2**15, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, -1.0, 1e-310, 1e18, 1e100, -1e100, 1e308, float("inf"), -float("inf"), float("nan"))


def specs() -> list[ModelSpec]:
    """Small models that between them have every part of a record."""
    return [
        small_spec(),
        small_spec(experts="none", cell="gru", window=2),
        ModelSpec(fields=(FieldSpec("load"), FieldSpec("other")), hidden=4, experts="light", cell="rnn"),
        ModelSpec(fields=(FieldSpec("state", "category", ("idle", "busy", "off")),), hidden=4, layers=2, cell="fused"),
    ]


def damaged(source: random.Random, record: bytes) -> bytes:
    """Bytes turned over, cut off, doubled or added; three times of four under a checksum that fits."""
    payload = bytearray(record[HEADER_BYTES:])
    match source.randrange(6):
        case 0:
            payload = payload[: source.randrange(len(payload) + 1)]
        case 1:
            payload += source.randbytes(source.choice((1, 8, 1000)))
        case 2:
            at = source.randrange(len(payload))
            payload[at : at + 8] = source.randbytes(8)[: len(payload) - at]
        case 3:
            at = source.randrange(0, max(len(payload) - 8, 1), 4)
            number = source.choice(NUMBERS)
            packed = struct.pack("<q", number) if source.random() < 0.5 else struct.pack("<i", number % 2**31)
            payload[at : at + len(packed)] = packed
        case 4:
            at = source.randrange(0, max(len(payload) - 8, 1), 4)
            payload[at : at + 8] = struct.pack("<d", source.choice(FLOATS))
        case _:
            for _ in range(source.randrange(1, 20)):
                payload[source.randrange(len(payload))] ^= 1 << source.randrange(8)
    if source.random() < 0.75:
        return pack(Kind(record[3]), bytes(payload))
    return record[:HEADER_BYTES] + bytes(payload)


def misnamed(source: random.Random, record: bytes) -> bytes:
    """The JSON at a record's beginning with one value put in the place of another, under a checksum that fits."""
    payload = record[HEADER_BYTES:]
    (length,) = struct.unpack_from("<I", payload)
    meta = json.loads(payload[4 : 4 + length])
    name = source.choice([*meta, "more"])
    meta[name] = source.choice(
        [None, True, -1, 0, 1, 2.5, 1e308, 2**31, 2**63, 2**70, "a", "9" * 20, [], [[]], [["x"]] * 2, [[1], [2]],
         [["a"] * 9, ["b"] * 9], [[f"v{i}" for i in range(99)]] * 2, {}, {"n_rows": 2**40, "n_used": 2**39},
         {"n_rows": 64, "n_used": -1}]
    )  # fmt: skip
    if source.random() < 0.1:
        del meta[name]
    head = json.dumps(meta).encode()
    if source.random() < 0.1:
        head = source.choice([b"[" * 100_000, b"null", b"[]", b'"\\ud800"', b"1e999", b"{", b"\xff"])
    length = source.choice([len(head)] * 9 + [0, len(head) - 1, 2**31, 2**32 - 1])
    return pack(Kind(record[3]), struct.pack("<I", length) + head + payload[4 + struct.unpack_from("<I", payload)[0] :])


def either(source: random.Random, record: bytes) -> bytes:
    """A record damaged in its bytes or in its JSON."""
    return damaged(source, record) if source.random() < 0.6 else misnamed(source, record)


class Learned:
    """A model that has learned, and the records that it gives.

    Args:
        spec: Of the model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        learner = Learner(spec)
        self.spec = spec
        beliefs = feed(learner, learner.fresh_beliefs(2), 30, seed=1, missing=0.1)
        self.weights = learner.encode_weights()
        items = [self.item(30), self.item(31)]
        step = learner.step(beliefs, items)
        assert step.redo is not None
        self.redo = step.redo
        self.beliefs = [*beliefs.encode(), *step.encoded_beliefs]

    def learner(self) -> Learner:
        """The model as it was when the records were made."""
        return Learner.from_snapshot(self.spec, self.weights)

    def item(self, n: int) -> Item:
        """Some item."""
        source = np.random.default_rng(n)
        if "load" in self.spec.field_names and "other" in self.spec.field_names:
            return Item((float(source.standard_normal()), float(n)), (), n * 10**6)
        return mixed_item(self.spec, n, source, missing=0.2)


def try_belief(learned: Learned, source: random.Random) -> str:
    """Decode a damaged belief; step, show and forecast from it if it is sound."""
    record = damaged(source, source.choice(learned.beliefs))
    learner = learned.learner()
    beliefs = learner.decode_beliefs([record])
    soundness.check(learned.spec, beliefs, learner.vocabulary.n_known)
    go_on(learner, beliefs, learned)
    return "went on"


def try_part(learned: Learned, source: random.Random) -> str:
    """The same with one number of a belief put in the place of another: few whole bytes would hit what matters."""
    learner = learned.learner()
    beliefs = learner.decode_beliefs([source.choice(learned.beliefs)])
    name, place = source.choice(list(numbers(beliefs.records)))
    flat = place.reshape(-1)
    chosen = source.choice(FLOATS if flat.dtype.kind == "f" else NUMBERS)
    at = source.randrange(flat.size)
    with np.errstate(over="ignore"):
        place.flat[at] = chosen if flat.dtype.kind == "f" else np.array(chosen, np.int64).astype(flat.dtype)
    soundness.check(learned.spec, beliefs, learner.vocabulary.n_known)
    try:
        go_on(learner, beliefs, learned)
    except Exception as error:
        error.add_note(f"{name}[{at}] was {chosen}")
        raise
    return "went on"


def numbers(records: np.ndarray, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every part of records that holds numbers, with its name, as views."""
    for name in records.dtype.names or ():
        part = records[name]
        if part.dtype.names:
            yield from numbers(part, f"{path}{name}.")
        elif part.size:
            yield path + name, part


def go_on(learner: Learner, beliefs: Beliefs, learned: Learned) -> None:
    """Everything that the service does with a belief; what it would reply has finite numbers only."""
    json.dumps(inspection.summarise(learner, beliefs), allow_nan=False)
    json.dumps(inspection.inspect(learner, beliefs), allow_nan=False)
    json.dumps(forecast.forecast(learner, beliefs, 3), allow_nan=False)
    for n in range(3):
        step = learner.step(beliefs, [learned.item(n)])
        learner.adopt(step)
        json.dumps([ReplyForm(step.spec).result(reply) for reply in step.replies([True])], allow_nan=False)
        beliefs = step.beliefs


def try_redo(learned: Learned, source: random.Random) -> str:
    """Redo a damaged record."""
    learned.learner().redo(either(source, learned.redo))
    return "redone"


def try_weights(learned: Learned, source: random.Random) -> str:
    """Go on from a damaged snapshot."""
    learner = Learner.from_snapshot(learned.spec, either(source, learned.weights))
    go_on(learner, learner.fresh_beliefs(1), learned)
    return "went on"


TRIALS: dict[str, Callable[[Learned, random.Random], str]] = {
    "belief": try_belief,
    "part": try_part,
    "redo": try_redo,
    "weights": try_weights,
}


def main(kind: str, seed: int, trials: int) -> dict[str, Any]:
    """Do so many trials; returns how they ended."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    source, models = random.Random(seed), [Learned(spec) for spec in specs()]
    ended: Counter[str] = Counter()
    for n in range(trials):
        try:
            ended[TRIALS[kind](models[n % len(models)], source)] += 1
        except DamagedRecord:
            ended["refused"] += 1
        except Exception as error:
            error.add_note(f"trial {n} of seed {seed}")
            raise
    return dict(ended)


if __name__ == "__main__":
    faulthandler.enable()
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
