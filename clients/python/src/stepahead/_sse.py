"""Server-sent events, bytes in, frames out: no I/O.

Written here rather than taken from a library: the ones there are read from a response of one HTTP library, and so
cannot be fed by both clients, by hand, and across a reconnect; and JSON may hold U+2028 and its like, which must not be
taken for the end of a line. The standard is
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event.

    Args:
        event: Its type.
        data: Its lines, joined.
        id: The last one that was sent, with this event or before it; ``None`` before any.
    """

    event: str
    data: str
    id: str | None


class Parser:
    """Reads the frames of one connection.

    Args:
        last_id: What the connection before ended with; ``None`` for none.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        """Of the last complete frame, by which the next connection goes on; a frame may carry nothing else."""
        self.retry_s: float | None = None
        """How long the server asks to wait before the next connection; ``None`` while it does not."""
        self.n_comments = 0
        """Comments so far: they keep a quiet connection alive."""
        self._rest = b""
        self._begun = False
        self._passes_newline = False
        self._event, self._id = "", last_id
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take what arrived, cut anywhere; give the frames that it completes."""
        if chunk and self._passes_newline:  # the second half of a line end whose first half was the last byte
            chunk = chunk.removeprefix(b"\n")
            self._passes_newline = False
        text = self._rest + chunk
        if not self._begun:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._rest = text
                return []
            text, self._begun = text.removeprefix(_BOM), True
        if text.endswith(b"\r"):
            self._passes_newline = True
        *lines, self._rest = _LINE_END.split(text)
        frames = [self._take(line.decode("utf-8", "replace")) for line in lines]
        return [frame for frame in frames if frame is not None]

    def _take(self, line: str) -> Frame | None:
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.n_comments += 1
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value or None
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry_s = int(value) / 1000
        return None

    def _complete(self) -> Frame | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        self.last_id = self._id
        return Frame(event, "\n".join(data), self.last_id) if data else None
