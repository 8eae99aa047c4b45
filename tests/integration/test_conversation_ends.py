"""How conversations are kept alive, held back and ended by a running service."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.conversing import BOTH, PATH, SOCKET, Ended, item, metric, talking
from tests.integration.test_process import SPEC, WAIT_S, Service, serving, until

WINDOW = 64
SLOW_S = 1.0
BUFFER_BYTES = 16_384
"""What a client's own socket is told to buffer; the system may double it."""

TRANSPORT_BYTES = 65_536
"""What the server's transport holds of answers before it says that it is full."""

UPGRADE = (
    f"GET {SOCKET}?experts=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
STREAMED = (
    f"POST {PATH}?experts=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
).encode()
BEGIN = b'{"stream":'
"""What an answer begins with."""

PING = 0x89


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that soon shows its connections to be alive, soon gives up on silent ones and on idle models."""
    flags = ("--heartbeat-s", "0.1", "--slow-reader-s", str(SLOW_S), "--model-idle-s", "0.3")
    with serving(tmp_path_factory.mktemp("hurried"), *flags) as service:
        service.client.put("/v1/models/m", json=SPEC)
        yield service
        assert service.stop() == 0
        assert "Traceback" not in service.log


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes in little at a time."""
    with serving(tmp_path_factory.mktemp("narrow"), "--max-window-items", str(WINDOW)) as service:
        service.client.put("/v1/models/m", json=SPEC)
        yield service


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """Either transport."""
    return str(request.param)


class Deaf:
    """A client on a plain socket that writes what it is told and reads only when it is told to."""

    def __init__(self, service: Service, kind: str) -> None:
        url = service.client.base_url
        self.kind = kind
        self.socket = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, buffer, BUFFER_BYTES)
        self.socket.settimeout(WAIT_S)
        self.socket.connect((url.host, url.port))
        self.own, self.peer = self.socket.getsockname()[1], url.port or 80
        self.socket.sendall(UPGRADE if kind == "websocket" else STREAMED)
        self.received = self.socket.makefile("rb")
        while self.received.readline() != b"\r\n":
            pass

    def put(self, frames: list[Any]) -> None:
        """Send frames, for as long as the server takes them in."""
        for frame in frames:
            content = json.dumps(frame).encode() + b"\n"
            if self.kind == "websocket":
                head = b"\x81" + (
                    bytes([0x80 | len(content)]) if len(content) < 126 else b"\xfe" + len(content).to_bytes(2, "big")
                )
                self.socket.sendall(head + b"\0\0\0\0" + content)  # a mask of zeros changes nothing
            else:
                self.socket.sendall(b"%x\r\n%b\r\n" % (len(content), content))

    def __enter__(self) -> Deaf:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close."""
        self.received.close()
        self.socket.close()


def test_silence_is_filled(hurried: Service) -> None:
    """Over NDJSON with blank lines, which a client passes over; over a WebSocket with pings."""
    with talking("ndjson", hurried) as lines:
        assert [lines.line() for _ in range(3)] == [b"\n"] * 3
        lines.send(item("beat", 1))
        assert lines.answer()["sequence"] == 1
    with Deaf(hurried, "websocket") as deaf:
        assert deaf.received.read(1)[0] == PING


def test_no_sign_of_life_ends_it(hurried: Service) -> None:
    """A WebSocket whose client answers no ping is closed with 4408; one that says anything at all is kept."""
    with Deaf(hurried, "websocket") as deaf:
        deaf.put([item("alive", 1)])
        received = deaf.received.read()
    assert b'"sequence":1' in received
    close = received.rpartition(b"slow_reader")[0][-2:]
    assert int.from_bytes(close, "big") == 4408


def test_who_does_not_read_is_ended(hurried: Service, kind: str) -> None:
    """It is ``slow_reader``, and whoever comes back in time finds that after the answers that were on their way."""
    ends = f'stepahead_closes_total{{code="slow_reader",kind="{kind}"}}'
    before = metric(hurried, ends)
    frames = [item(f"{kind}-{i % 50}", i) for i in range(40_000)]
    with Deaf(hurried, kind) as deaf:
        sender = Thread(target=_put_until_broken, args=(deaf, frames), daemon=True)
        sender.start()
        until(lambda: metric(hurried, ends) == before + 1)
        received = b""
        while b"slow_reader" not in received[-400:]:
            piece = deaf.received.read1(65_536)
            assert piece
            received += piece
        sender.join(WAIT_S)
    assert metric(hurried, f'stepahead_unanswered_items{{kind="{kind}"}}') == 0


def _put_until_broken(deaf: Deaf, frames: list[Any]) -> None:
    with suppress(OSError):
        deaf.put(frames)


def test_a_model_leaves_memory_while_a_connection_is_idle(hurried: Service, kind: str) -> None:
    """A connection holds no model; the next frame brings it back."""
    with talking(kind, hurried) as talk:
        for n in range(1, 3):
            talk.send(item(f"idle-{kind}", n))
            assert talk.answer()["sequence"] == n
            until(lambda: metric(hurried, "stepahead_models") == 0)
        talk.send({"streams": [f"idle-{kind}"]})
        assert talk.answer()["sequences"] == {f"idle-{kind}": 2}


def test_who_does_not_read_is_held_back(narrow: Service, kind: str) -> None:
    """The server learns no more than its window beyond what sockets hold of answers; later all are answered."""
    n_items = 5000
    earlier = metric(narrow, "stepahead_items_total")
    with Deaf(narrow, kind) as deaf:
        frames = [item(f"{kind}{i % 50}", i) for i in range(n_items)]
        sender = Thread(target=_put_until_broken, args=(deaf, frames))
        sender.start()
        until(lambda: not sender.is_alive() or is_held_back(narrow, deaf))
        assert sender.is_alive(), "all was taken in"
        learned = metric(narrow, "stepahead_items_total") - earlier
        assert 0 < metric(narrow, f'stepahead_unanswered_items{{kind="{kind}"}}') <= WINDOW
        held_bytes = sum(waiting(deaf.peer, deaf.own)) + sum(waiting(deaf.own, deaf.peer)) + TRANSPORT_BYTES
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)  # what follows need not be slow
        n_bytes, n_answers, rest = 0, 0, b""
        while n_answers < n_items:
            piece = deaf.received.read1(2**22)
            n_answers += (rest + piece).count(BEGIN)
            n_bytes, rest = n_bytes + len(piece), (rest + piece)[1 - len(BEGIN) :]
        sender.join(WAIT_S)
        answer_bytes = n_bytes / n_items
        assert learned <= 2 * WINDOW + held_bytes / answer_bytes, "a window, and a unit that is being written"
        assert learned < n_items / 2


def is_held_back(service: Service, deaf: Deaf) -> bool:
    """Whether both directions are full and nothing more is learned."""
    before = metric(service, "stepahead_items_total")
    full = min(waiting(deaf.peer, deaf.own)) > 0
    return full and 0 < before == metric(service, "stepahead_items_total")


def waiting(local: int, remote: int) -> tuple[int, int]:
    """Bytes that wait to be sent and to be read in the socket between two ports of this machine."""
    ends = f":{local:04X} ", f":{remote:04X} "
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues, *_ = line.split()
        if (f"{here} "[-6:], f"{there} "[-6:]) == ends:
            to_send, to_read = queues.split(":")
            return int(to_send, 16), int(to_read, 16)
    return 0, 0


@pytest.mark.parametrize("n_items", [100])
def test_a_drain_answers_all_that_was_taken(tmp_path: Path, n_items: int) -> None:
    """In the middle of pipelines; then each is told so, and what was answered is what was learned."""
    answered = {}
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
        talks = {kind: BOTH[kind](service) for kind in BOTH}
        for kind, talk in talks.items():
            for n in range(n_items):
                talk.send(item(kind, n))
            assert talk.answer()["sequence"] == 1
        service.process.terminate()
        for kind, talk in talks.items():
            answered[kind] = 1
            with pytest.raises(Ended) as ended:
                _count_to_the_end(talk, answered, kind)
            assert (ended.value.code, ended.value.close_code) == ("draining", 1012 if kind == "websocket" else 0)
            talk.vanish()
        service.client.close()
        _, log = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 0
        assert "Traceback" not in log
    with serving(tmp_path) as service:
        sequences = service.client.post("/v1/models/m/sequences", json={"streams": list(BOTH)}).json()["sequences"]
    assert sequences == answered


def _count_to_the_end(talk: Any, answered: dict[str, int], kind: str) -> None:
    while True:
        assert talk.answer()["sequence"] == answered[kind] + 1
        answered[kind] += 1


def test_open_connections_do_not_keep_the_process(tmp_path: Path) -> None:
    """Idle, in the midst of a frame, and full of what nobody reads: after a signal it ends within its time."""
    with serving(tmp_path, "--drain-timeout-s", "1", "--max-window-items", str(WINDOW)) as service:
        service.client.put("/v1/models/m", json=SPEC)
        idle = [BOTH[kind](service) for kind in BOTH]
        deaf = [Deaf(service, kind) for kind in BOTH]
        senders = [
            Thread(target=_put_until_broken, args=(client, [item("s", i) for i in range(20_000)]), daemon=True)
            for client in deaf
        ]
        for sender in senders:
            sender.start()
        until(lambda: all(is_held_back(service, client) for client in deaf))
        service.client.close()
        service.process.terminate()
        _, log = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 0, log
        for talk in idle:
            with pytest.raises(Ended, match="draining"):
                talk.answer()
            talk.vanish()
        for client, sender in zip(deaf, senders, strict=True):
            sender.join(WAIT_S)
            client.close()
