"""How conversations are kept alive, held back and ended by a running service."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.conversing import (
    BOTH,
    WIDE,
    WINDOW,
    Ended,
    Lines,
    Socket,
    item,
    metric,
    talking,
    wide_item,
)
from tests.integration.test_events import create, follow, observe, places
from tests.integration.test_process import SPEC, WAIT_S, Service, serving, until
from tests.sent_events import dispatched

BUFFER_BYTES = 16_384
"""What a client's own socket is told to buffer; the system may double it."""

TRANSPORT_BYTES = 65_536
"""What the server's transport holds of answers before it says that it is full."""

UPGRADE = (
    "GET /v1/models/{}/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
STREAMED = (
    "POST /v1/models/{}/observations HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
)
BEGIN = b'{"stream":'
"""What an answer begins with."""

PING = 0x89
FEW = ("--max-window-items", "16")
WIDE_PATH = "/v1/models/wide/{}"


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """Either transport."""
    return str(request.param)


class Deaf:
    """A client on a plain socket that writes what it is told and reads only when it is told to."""

    def __init__(self, service: Service, kind: str, model: str = "wide") -> None:
        url = service.client.base_url
        self.kind = kind
        self.socket = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, buffer, BUFFER_BYTES)
        self.socket.settimeout(WAIT_S)
        self.socket.connect((url.host, url.port))
        self.own, self.peer = self.socket.getsockname()[1], url.port or 80
        self.socket.sendall((UPGRADE if kind == "websocket" else STREAMED).format(model).encode())
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


def test_silence_is_filled(lively: Service) -> None:
    """Over NDJSON with blank lines, which a client passes over; over a WebSocket with pings."""
    with talking("ndjson", lively) as lines:
        assert [lines.line() for _ in range(3)] == [b"\n"] * 3
        lines.send(item("beat", 1))
        assert lines.answer()["sequence"] == 1
    with Deaf(lively, "websocket", "m") as deaf:
        assert deaf.received.read(1)[0] == PING


def test_no_sign_of_life_ends_it(lively: Service) -> None:
    """A WebSocket whose client answers no ping is closed with 4408; one that says anything at all is kept."""
    with Deaf(lively, "websocket", "m") as deaf:
        deaf.put([item("alive", 1)])
        received = deaf.received.read()
    assert b'"sequence":1' in received
    close = received.rpartition(b"slow_reader")[0][-2:]
    assert int.from_bytes(close, "big") == 4408


def test_who_does_not_read_is_ended(lively: Service, kind: str) -> None:
    """It is ``slow_reader``, and whoever comes back in time finds that after the answers that were on their way."""
    ends = f'stepahead_closes_total{{code="slow_reader",kind="{kind}"}}'
    before = metric(lively, ends)
    frames = [wide_item(f"{kind}-{i % 20}") for i in range(1000)]
    with Deaf(lively, kind) as deaf:
        sender = Thread(target=_put_until_broken, args=(deaf, frames), daemon=True)
        sender.start()
        until(lambda: metric(lively, ends) == before + 1)
        received = b""
        while b"slow_reader" not in received[-400:]:
            piece = deaf.received.read1(65_536)
            assert piece
            received += piece
        sender.join(WAIT_S)
    assert metric(lively, f'stepahead_unanswered_items{{kind="{kind}"}}') == 0


def _put_until_broken(deaf: Deaf, frames: list[Any]) -> None:
    with suppress(OSError):
        deaf.put(frames)


def test_a_model_leaves_memory_while_a_connection_is_idle(lively: Service, kind: str) -> None:
    """A connection holds no model; the next frame brings it back."""
    with talking(kind, lively) as talk:
        for n in range(1, 3):
            talk.send(item(f"idle-{kind}", n))
            assert talk.answer()["sequence"] == n
            until(lambda: metric(lively, "stepahead_models") == 0)
        talk.send({"streams": [f"idle-{kind}"]})
        assert talk.answer()["sequences"] == {f"idle-{kind}": 2}


def test_who_does_not_read_is_held_back(bounded: Service, kind: str) -> None:
    """The server learns no more than its window beyond what sockets hold of answers; later all are answered."""
    n_items = 800
    earlier = metric(bounded, "stepahead_items_total")
    with Deaf(bounded, kind) as deaf:
        frames = [wide_item(f"{kind}{i % 50}") for i in range(n_items)]
        sender = Thread(target=_put_until_broken, args=(deaf, frames))
        sender.start()
        until(lambda: not sender.is_alive() or is_held_back(bounded, deaf))
        assert sender.is_alive(), "all was taken in"
        learned = metric(bounded, "stepahead_items_total") - earlier
        assert 0 < metric(bounded, f'stepahead_unanswered_items{{kind="{kind}"}}') <= WINDOW
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


def is_listening(service: Service) -> bool:
    """Whether a service takes connections."""
    url = service.client.base_url
    with socket.socket() as another:
        return another.connect_ex((url.host, url.port)) == 0


def waiting(local: int, remote: int) -> tuple[int, int]:
    """Bytes that wait to be sent and to be read in the socket between two ports of this machine."""
    ends = f":{local:04X} ", f":{remote:04X} "
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues, *_ = line.split()
        if (f"{here} "[-6:], f"{there} "[-6:]) == ends:
            to_send, to_read = queues.split(":")
            return int(to_send, 16), int(to_read, 16)
    return 0, 0


@contextmanager
def flooding(service: Service) -> Iterator[list[Deaf]]:
    """A client of each kind that reads nothing, and sends on for as long as it can; both are held back."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Deaf(service, kind)) for kind in BOTH]
        senders = [
            Thread(target=_put_until_broken, args=(client, [wide_item(client.kind)] * 5000), daemon=True)
            for client in clients
        ]
        for sender in senders:
            sender.start()
        until(lambda: all(is_held_back(service, client) for client in clients))
        yield clients
    for sender in senders:
        sender.join(WAIT_S)


def test_what_was_taken_is_answered_at_the_end(tmp_path: Path) -> None:
    """Also to who sends on and begins to read late: what was answered is what was learned, and then each is told why.

    Readers of events get what was learned and then ``end``, and the process ends though they do not close.
    """
    with serving(tmp_path, *FEW, "--drain-timeout-s", "600") as service:
        for model, spec in (("wide", WIDE), ("m", SPEC)):
            create(service, model, spec)
        with (
            follow(service.client, "m") as response,
            follow(service.client, "m", params={"stream": "b"}) as other,
            flooding(service) as clients,
        ):
            replies = observe(service, "m", *(("a", {"load": float(n)}) for n in range(50)))
            service.process.terminate()
            until(lambda: not is_listening(service))
            received = {client.kind: client.received.read() for client in clients}
            *sent, end = dispatched(response.iter_lines())
            assert places(sent) == [("a", reply["sequence"]) for reply in replies]
            for last in (end, *dispatched(other.iter_lines())):
                assert (last.kind, last.data["error"]["code"]) == ("end", "draining")
            for client in clients:
                client.close()
            _, log = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 0, log
        assert "Traceback" not in log
    assert b'"code":"draining"' in received["ndjson"][-400:]
    assert int.from_bytes(received["websocket"].rpartition(b"draining: ")[0][-2:], "big") == 1012
    with serving(tmp_path, *FEW, "--drain-timeout-s", "1") as service:
        sequences = service.client.post(WIDE_PATH.format("sequences"), json={"streams": list(BOTH)}).json()["sequences"]
        assert sequences == {kind: answers.count(BEGIN) for kind, answers in received.items()}
        _is_not_kept_waiting(service)


def _is_not_kept_waiting(service: Service) -> None:
    """End it while some are idle and some never read; the idle ones are told."""
    idle = [Lines(service, WIDE_PATH.format("observations")), Socket(service, WIDE_PATH.format("socket"))]
    with flooding(service):
        service.client.close()
        service.process.terminate()
        _, log = service.process.communicate(timeout=WAIT_S)
    assert service.process.returncode == 0, log
    for talk, close_code in zip(idle, (0, 1012), strict=True):
        with pytest.raises(Ended) as ended:
            talk.answer()
        assert (ended.value.code, ended.value.close_code) == ("draining", close_code)
        talk.vanish()
