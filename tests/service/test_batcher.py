"""The queue of a partition: order, fairness, bounds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.items import Item, Items
from model.spec import FieldSpec, ModelSpec
from service.batcher import Batcher, Entry, Frame, items_of
from service.bounds import Bound
from service.errors import Overloaded

SPEC = ModelSpec(fields=(FieldSpec("x"),))


def items(n: int) -> Items:
    """So many."""
    return Items.of(SPEC, [Item((float(i),), ()) for i in range(n)])


def frame_of(*streams: str) -> tuple[Frame, list[Entry]]:
    """A frame with one entry for each stream named."""
    loop = asyncio.new_event_loop()
    frame = Frame(items(len(streams)), loop.create_future())
    loop.close()
    return frame, [Entry(stream, None, frame, place) for place, stream in enumerate(streams)]


def batcher_of(*streams: str, max_items: int = 100, max_per_stream: int = 100) -> tuple[Batcher, list[Entry]]:
    """A batcher that holds one frame."""
    batcher = empty(max_items, max_per_stream)
    _, entries = frame_of(*streams)
    batcher.add(entries)
    return batcher, entries


def empty(
    max_items: int = 1000, max_per_stream: int = 1000, max_wait_s: float = 10.0, total: Bound | None = None
) -> Batcher:
    """A batcher that holds nothing."""
    return Batcher(max_items, max_per_stream, max_wait_s, total or Bound(1000))


def paced(batch_s: float, *streams: str, size: int = 2) -> Batcher:
    """A batcher that holds one frame; its batches of ``size`` items have long taken ``batch_s`` seconds."""
    batcher = empty()
    for _ in range(100):
        batcher.pace.count(batch_s, size)
    batcher.add(frame_of(*streams)[1])
    return batcher


def test_a_batch_holds_a_stream_once() -> None:
    """A second item of a stream waits for the next batch."""
    batcher, (first, second, other) = batcher_of("a", "a", "b")
    assert batcher.take(10) == [first, other]
    assert batcher.take(10) == [second]
    assert batcher.take(10) == []


def test_a_busy_stream_does_not_hold_up_others() -> None:
    """Who was served goes behind all who wait."""
    batcher, (a1, a2, a3, b1, c1) = batcher_of("a", "a", "a", "b", "c")
    assert [batcher.take(1) for _ in range(5)] == [[a1], [b1], [c1], [a2], [a3]]


def test_a_frame_that_does_not_fit_is_refused_whole() -> None:
    """Of a frame over the queue's bound nothing is taken, and a smaller one still fits."""
    batcher, _ = batcher_of("a", "b", max_items=3)
    with pytest.raises(Overloaded):
        batcher.add(frame_of("c", "d")[1])
    assert len(batcher) == 2
    batcher.add(frame_of("c")[1])
    assert len(batcher) == 3


def test_all_partitions_share_a_bound() -> None:
    """What waits in one partition leaves less room in another, until it leaves, whichever way."""
    total = Bound(4)
    one, other = empty(total=total), empty(total=total)
    one.add(frame_of("a", "a", "b")[1])
    with pytest.raises(Overloaded) as refused:
        other.add(frame_of("a", "b")[1])
    assert refused.value.data == {"max_queue_total": 4}
    assert len(other) == 0
    (first, *_) = one.take(1)
    one.take_followers([first])
    assert total.taken == 1
    one.take_all()
    other.add(frame_of("a", "b")[1])
    assert total.taken == 2


def test_what_would_wait_too_long_is_refused_whole() -> None:
    """The answer says when there is room again; nothing of the frame was taken."""
    batcher = paced(1.0, *["a"] * 14)
    assert batcher.wait_s("a") == pytest.approx(14.5)
    with pytest.raises(Overloaded) as refused:
        batcher.add(frame_of("b", "a")[1])
    assert refused.value.retry_after_s == 5
    assert refused.value.data == {"max_wait_s": 10.0}
    assert len(batcher) == 14


def test_a_long_queue_of_one_stream_keeps_no_other_waiting() -> None:
    """Streams are served in turn, so an item of another one is taken."""
    batcher = paced(1.0, *["a"] * 14)
    assert batcher.wait_s("b") == pytest.approx(0.5)
    batcher.add(frame_of("b")[1])


def test_streams_that_fill_many_batches_wait_for_their_turn() -> None:
    """With more streams than a batch holds, an item waits for the batches of those before it."""
    batcher = paced(1.0, *map(str, range(22)))
    assert batcher.wait_s("new") == pytest.approx(11.0)
    with pytest.raises(Overloaded) as refused:
        batcher.add(frame_of("new")[1])
    assert refused.value.retry_after_s == 1


def test_a_crowded_queue_refuses_before_anything_is_read() -> None:
    """Where no item of any new stream would be taken, by the estimate as by a bound; else the frame itself decides."""
    for crowded in (paced(1.0, *map(str, range(22))), batcher_of("a", max_items=1)[0]):
        with pytest.raises(Overloaded):
            crowded.refuse_if_crowded()
    for open_ in (paced(1.0, *["a"] * 14), paced(1000.0), empty()):
        open_.refuse_if_crowded()


def test_a_frame_into_an_empty_queue_is_taken() -> None:
    """However slow batches are, and however many items the frame has."""
    batcher = paced(1000.0, *["a"] * 500)
    assert len(batcher) == 500
    with pytest.raises(Overloaded):
        batcher.add(frame_of("b")[1])
    batcher.take_all()
    batcher.add(frame_of("a")[1])


def test_the_estimate_follows_what_batches_take() -> None:
    """Nothing is known before the first; one slow batch counts for little; a lasting change is soon all that counts."""
    batcher = empty()
    batcher.add(frame_of("a", "a", "a")[1])
    assert batcher.wait_s("a") == 0
    batcher.pace.count(5.0, 10)
    assert batcher.pace.batch_s == pytest.approx(1.0)
    for _ in range(50):
        batcher.pace.count(0.01, 10)
    assert batcher.pace.batch_s == pytest.approx(0.01, rel=0.01)


def test_the_first_large_batch_corrects_what_small_ones_foretold() -> None:
    """What single items took says too much of many streams at once; one batch of many tells their time each."""
    batcher = paced(0.0015, *map(str, range(900)), size=1)
    assert batcher.wait_s("new") == pytest.approx(1.35)
    batcher.pace.count(0.1, 256)
    assert batcher.wait_s("new") == pytest.approx(900 * 0.1 / 256, rel=0.1)


def test_over_a_streams_bound_only_its_items_are_refused() -> None:
    """Items over their stream's bound are answered ``overloaded`` in their place; the others are taken."""
    batcher = empty(max_per_stream=2)
    frame, entries = frame_of("a", "a", "a", "b", "a")
    batcher.add(entries)
    assert len(batcher) == 3
    while batch := batcher.take(10):
        for entry in batch:
            entry.resolve(b"ok")
    answers = frame.future.result()
    assert [answer if isinstance(answer, bytes) else answer.code for answer in answers] == [
        b"ok",
        b"ok",
        "overloaded",
        b"ok",
        "overloaded",
    ]


def test_followers_are_of_the_same_stream_and_frame() -> None:
    """What waits behind a failed item leaves with it; other frames and other streams stay."""
    batcher, (a1, a2, b1) = batcher_of("a", "a", "b")
    _, (other,) = frame_of("a")
    batcher.add([other])
    assert batcher.take(1) == [a1]
    assert batcher.take_followers([a1]) == [a2]
    assert len(batcher) == 2
    assert sorted(batcher.take(10), key=lambda e: e.stream) == [other, b1]


def test_take_all_empties() -> None:
    """Everything leaves, in order within a stream."""
    batcher, entries = batcher_of("a", "b", "a")
    assert sorted(batcher.take_all(), key=lambda e: e.place) == entries
    assert len(batcher) == 0
    assert batcher.take(1) == []


def test_entries_of_several_frames_become_columns() -> None:
    """In the order of the entries, whichever frame they are of."""
    (_, a), (_, b) = frame_of("a", "b", "c"), frame_of("d", "e")
    chosen = [a[2], a[0], b[1], a[1]]
    columns = items_of(chosen)
    assert [columns[i] for i in range(len(columns))] == [entry.item for entry in chosen]
    assert columns.reals.tolist() == [[2.0], [0.0], [1.0], [1.0]]


async def test_the_last_answer_wakes_the_caller() -> None:
    """A frame's future resolves with its last answer, in the order of the places, and an answer stays as given."""
    frame = Frame(items(2), asyncio.get_running_loop().create_future())
    frame.resolve(1, b"second")
    frame.resolve(1, b"again")
    assert not frame.future.done()
    frame.resolve(0, b"first")
    assert await frame.future == [b"first", b"second"]


async def test_an_empty_frame_is_answered_at_once() -> None:
    """Nothing asked, nothing to wait for."""
    assert await Frame(items(0), asyncio.get_running_loop().create_future()).future == []


async def test_a_caller_that_went_away_does_no_harm() -> None:
    """Answers to a cancelled frame go nowhere."""
    frame = Frame(items(1), asyncio.get_running_loop().create_future())
    frame.future.cancel()
    frame.resolve(0, b"late")
    assert frame.future.cancelled()


@given(
    frames=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), max_size=8),
    size=st.integers(1, 5),
    takes=st.lists(st.integers(0, 2), max_size=8),
)
def test_every_item_leaves_once_and_in_order(frames: list[list[str]], size: int, takes: list[int]) -> None:
    """Whatever arrives when: all leave once, first come first served in each stream, a stream once per batch."""
    batcher, arrived, left = empty(), [], []

    def take() -> int:
        batch = batcher.take(size)
        assert len({entry.stream for entry in batch}) == len(batch) <= size
        left.extend(batch)
        return len(batch)

    for i, streams in enumerate(frames):
        _, entries = frame_of(*streams)
        arrived += entries
        batcher.add(entries)
        for _ in range(takes[i] if i < len(takes) else 0):
            take()
    while take():
        pass
    assert len(batcher) == 0
    for stream in "abcd":
        assert [e for e in left if e.stream == stream] == [e for e in arrived if e.stream == stream]
    assert len(left) == len(arrived)
