"""Server-sent events: how bytes become frames."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead._sse import Frame, Parser

RECORDED = (
    b'\xef\xbb\xbfretry: 1000\nid: 7f-0\n\n: heartbeat\n\nid: 7f-1\ndata: {"item": {"state": "a\xe2\x80\xa8b"}}\n\n'
    b'event: missed\r\ndata: {"missed":\r\ndata: 12}\r\n\r\ndata\r\rid\ndata:x\n\nevent: end\nid: 7f-9\ndata: lost'
)
FRAMES = [
    Frame("message", '{"item": {"state": "a\u2028b"}}', "7f-1"),
    Frame("missed", '{"missed":\n12}', "7f-1"),
    Frame("message", "", "7f-1"),
    Frame("message", "x", None),
]


@given(cuts=st.lists(st.integers(0, len(RECORDED))))
def test_frames_do_not_depend_on_where_the_bytes_were_cut(cuts: list[int]) -> None:
    """Not even within a line end, a character or the mark at the beginning."""
    parser = Parser()
    places = sorted({0, len(RECORDED), *cuts})
    frames = [frame for a, b in pairwise(places) for frame in parser.feed(RECORDED[a:b])]
    assert frames == FRAMES
    assert (parser.retry_s, parser.n_comments, parser.last_id) == (1.0, 1, None)


def test_id_counts_once_its_frame_is_whole() -> None:
    """A connection that breaks within a frame goes on before it; a frame may carry nothing else."""
    parser = Parser("a-1")
    assert parser.feed(b"id: a-2\ndata: 1") == []
    assert parser.last_id == "a-1"
    assert parser.feed(b"\n\n") == [Frame("message", "1", "a-2")]
    assert parser.feed(b"id: a-3\n\n") == []
    assert parser.last_id == "a-3"


@pytest.mark.parametrize("line", [b"retry: soon", b"retry: \xd9\xa3", b"id: a\0b", b"other: x", b"Data: x"])
def test_lines_that_mean_nothing_are_passed_over(line: bytes) -> None:
    """As the standard has it."""
    parser = Parser("a-1")
    assert parser.feed(line + b"\ndata: 1\n\n") == [Frame("message", "1", "a-1")]
    assert parser.retry_s is None
