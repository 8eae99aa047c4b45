"""The loop over every order of faults: brokers and services that fail before or after whatever they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import FieldSpec, ModelSpec
from service.bridges import loop
from service.bridges.broker import Entry, Finished, Lost, Number
from service.bridges.loop import Bridge
from service.bridges.reading import Reading
from service.bridges.turns import waves
from stepahead import InvalidItem, NoAnswer, Overloaded, Prediction, Reply, SequenceGap, SequenceStale, UnknownStream

KEPT_REPLIES = 3
REFUSED = 13.0
"""A value that only the service refuses, as one of another version might."""


class Crash(Exception):
    """The process ends."""


class Faults:
    """What goes wrong at each point that is passed; nothing, once they are used up."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = iter(kinds)

    def at(self, *possible: str) -> str:
        """What goes wrong here."""
        kind = next(self._kinds, "")
        return kind if kind in possible else ""


class Service:
    """A service's streams, as far as the loop sees them; also its own model handle."""

    def __init__(self, faults: Faults) -> None:
        self.applied: dict[str, list[float]] = {}
        self._faults = faults

    def stream(self, name: str) -> Any:
        """A handle on a stream."""

        def summary() -> Any:
            if self._faults.at("no answer"):
                raise NoAnswer("lost")
            if name not in self.applied:
                raise UnknownStream("none")
            return SimpleNamespace(sequence=len(self.applied[name]))

        return SimpleNamespace(summary=summary)

    def observe_many(self, rows: Sequence[dict[str, Any]], *, errors: str) -> Iterator[Any]:
        """Answer each row in turn."""
        assert errors == "yield"
        for row in rows:
            fault = self._faults.at("no answer", "no answer after", "overloaded", "crash", "crash after")
            if fault == "overloaded":
                yield Overloaded("full")
                continue
            if fault == "crash":
                raise Crash
            if fault == "no answer":
                raise NoAnswer("lost")
            answer = self._observe(row)
            if fault == "crash after":
                raise Crash
            if fault == "no answer after":
                raise NoAnswer("lost")
            yield answer

    def _observe(self, row: dict[str, Any]) -> Any:
        stream, sequence, load = row["stream"], row["sequence"], row["item"]["load"]
        if load == REFUSED:
            return InvalidItem("refused")
        values = self.applied.get(stream, [])
        numbers = {"expected": len(values) + 1, "received": sequence}
        if sequence > len(values) + 1:
            return SequenceGap("gap", data=numbers)
        if sequence <= len(values) - KEPT_REPLIES:
            return SequenceStale("stale", data=numbers)
        if sequence == len(values) + 1:
            self.applied.setdefault(stream, []).append(load)
        return Reply(stream, sequence, sequence <= len(values), None, Prediction(sequence + 1, None, {}))


class Memory:
    """What brokers have in common here.

    Args:
        entries: By lane.
        batch: Most entries at a time.
        faults: Of every call.
        stop: Is set when all is published.
    """

    keeps_numbers = True

    def __init__(self, entries: dict[str, list[Entry]], batch: int, faults: Faults, stop: Event) -> None:
        self.entries, self.stop = entries, stop
        self.done = dict.fromkeys(entries, 0)
        self.published: list[Finished] = []
        self._batch, self._faults = batch, faults

    def open(self, stop: Event) -> bool:  # noqa: ARG002 - the interface's
        """Nothing to wait for."""
        return True

    def close(self) -> None:
        """Nothing to close."""

    def keep(self) -> None:
        """Nobody is watching."""

    def take(self) -> list[Entry]:
        """What is not published, of all lanes by turns."""
        self._fail()
        left = [self.entries[lane][n:] for lane, n in self.done.items()]
        found = [entry for lane in left for entry in lane[: self._batch]]
        if not found:
            self.stop.set()
        return found

    def publish(self, finished: Sequence[Finished]) -> None:
        """All of it or nothing; of each lane the first that are left."""
        self._fail()
        for one in finished:
            lane = one.entry.lane
            assert self.entries[lane][self.done[lane]] == one.entry
            self.done[lane] += 1
        self.published += finished
        self.settle(finished)
        self._fail(" after")

    def settle(self, finished: Sequence[Finished]) -> None:
        """What becomes of the ledger."""
        raise NotImplementedError

    def _fail(self, when: str = "") -> None:
        fault = self._faults.at(f"crash{when}", f"lost{when}")
        if fault:
            raise Crash if fault.startswith("crash") else Lost("the broker")


class ByEntry(Memory):
    """A ledger of the number of each entry under way, as in Redis."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.numbers: dict[tuple[str, str], Number] = {}

    def written(self, entry: Entry) -> Number | None:
        """As it was written."""
        return self.numbers.get((entry.lane, entry.position))

    def last(self, lane: str, stream: str) -> int | None:  # noqa: ARG002 - the interface's
        """It knows no streams."""
        return None

    def write(self, numbers: Sequence[tuple[Entry, Number]]) -> None:
        """All of them or none."""
        self._fail()
        self.numbers.update(((entry.lane, entry.position), number) for entry, number in numbers)
        self._fail(" after")

    def settle(self, finished: Sequence[Finished]) -> None:
        """Published entries are forgotten."""
        for one in finished:
            self.numbers.pop((one.entry.lane, one.entry.position), None)


class ByStream(Memory):
    """A ledger of the last published number of each stream, as in Kafka."""

    keeps_numbers = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.numbers: dict[str, int] = {}

    def written(self, entry: Entry) -> Number | None:  # noqa: ARG002 - the interface's
        """It knows no entries."""
        return None

    def last(self, lane: str, stream: str) -> int | None:  # noqa: ARG002 - the interface's
        """As it was written."""
        return self.numbers.get(stream)

    def write(self, numbers: Sequence[tuple[Entry, Number]]) -> None:
        """Where a stream begins."""
        self._fail()
        begins: dict[str, int] = {}
        for _, number in numbers:
            begins.setdefault(number.stream, number.sequence - 1)
        self.numbers.update(begins)
        self._fail(" after")

    def settle(self, finished: Sequence[Finished]) -> None:
        """Where a stream stands."""
        self.numbers.update({f.outcome.stream: f.outcome.sequence for f in finished if isinstance(f.outcome, Reply)})


FAULTS = st.sampled_from(
    ("", "", "", "crash", "crash after", "lost", "lost after", "no answer", "no answer after", "overloaded")
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults pass at once."""
    monkeypatch.setattr(loop, "FIRST_WAIT_S", 0.0)


@pytest.mark.parametrize("ledger", [ByEntry, ByStream])
@given(data=st.data())
def test_each_entry_is_applied_and_published_once_in_order(ledger: type[Memory], data: st.DataObject) -> None:
    """Whatever fails: one outcome per entry, numbers without gaps, a stream's items in the order of its lane."""
    n_lanes = data.draw(st.integers(1, 2))
    sent: dict[str, list[tuple[str, float]]] = {}
    for lane in map(str, range(n_lanes)):
        names = st.sampled_from([f"{lane}-a", f"{lane}-b", ""])  # a stream is in one lane; what has no name is refused
        loads = st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, REFUSED])
        sent[lane] = data.draw(st.lists(st.tuples(names, loads), min_size=4, max_size=12))
    entries = {
        lane: [Entry(lane, str(i), {"stream": stream, "load": load}) for i, (stream, load) in enumerate(pairs)]
        for lane, pairs in sent.items()
    }
    had = data.draw(st.integers(0, 2))
    faults, stop = Faults(data.draw(st.lists(FAULTS, min_size=20, max_size=60))), Event()
    service, broker = Service(faults), ledger(entries, data.draw(st.integers(1, 6)), faults, stop)
    if had:
        service.applied["0-a"] = [0.0] * had
    reading = Reading(ModelSpec(fields=(FieldSpec("load"),)))
    while not stop.is_set():
        try:
            Bridge(broker, service, reading, KEPT_REPLIES, stop).run()  # type: ignore[arg-type]
        except Crash:
            continue
    good = [(s, load) for pairs in sent.values() for s, load in pairs if s and load != REFUSED]
    expected: dict[str, list[float]] = {"0-a": [0.0] * had} if had else {}
    for stream, load in good:
        expected.setdefault(stream, []).append(load)
    assert service.applied == expected
    replies = [f.outcome for f in broker.published if isinstance(f.outcome, Reply)]
    assert len(broker.published) == sum(map(len, sent.values()))
    assert len(replies) == len(good)
    counts: dict[str, int] = {"0-a": had}
    for one in broker.published:
        if isinstance(one.outcome, Reply):
            stream = one.outcome.stream
            counts[stream] = counts.get(stream, 0) + 1
            assert one.outcome.sequence == counts[stream]
            assert expected[stream][counts[stream] - 1] == one.entry.fields["load"]
    if isinstance(broker, ByEntry):
        assert not broker.numbers


@given(names=st.lists(st.sampled_from(["a", "b", None])), per_stream=st.integers(1, 3))
def test_waves_hold_no_more_of_a_stream_than_the_service_keeps(names: list[str | None], per_stream: int) -> None:
    """They are all entries in their order, and as long as they may be."""
    entries = [Entry("0", str(i), {}) for i in range(len(names))]
    cut = list(waves(entries, names, per_stream))
    assert [entry for wave in cut for entry in entries[wave]] == entries
    for wave in cut:
        assert all(names[wave].count(stream) <= per_stream for stream in ("a", "b"))
        assert wave.stop == len(names) or names[wave].count(names[wave.stop]) == per_stream
