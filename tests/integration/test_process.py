"""The service as a process: started, killed, ended, over a real socket."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest

from service.store.embedded import find_binary

ROOT = Path(__file__).parents[2]
SYS_PIDFD_GETFD = 438  # on every architecture
WAIT_S = 60.0  # far more than a start takes; a test that needs it has failed

SPEC = {"fields": [{"name": "load", "kind": "real"}], "hidden": 16}
LOADS = [round(10 + 3 * math.sin(n / 2) + (n % 3), 3) for n in range(24)]

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes by /proc")


class Service:
    """A running ``stepahead serve``."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", "0", *flags],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        if " listens on " not in first:
            self.process.kill()
            pytest.fail(f"it did not start: {first}{self.process.communicate()[1]}")
        self.client = httpx.Client(base_url=first.split()[-1], timeout=WAIT_S)
        self.log = ""  # what it logged, once it has stopped

    def observe(self, n: int) -> bytes:
        """Send item ``n`` of the one stream, with its sequence."""
        response = self.client.post(
            "/v1/models/m/streams/s/observations", json={"item": {"load": LOADS[n - 1]}, "sequence": n}
        )
        assert response.status_code == 200, response.text
        return response.content

    def stop(self) -> int:
        """End it in good order; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        _, self.log = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode

    def kill(self) -> None:
        """End it without a word, if it has not ended; close its pipes."""
        self.process.kill()
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            self.process.communicate(timeout=WAIT_S)


def environment() -> dict[str, str]:
    """This process's environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STEPAHEAD_")}


@contextmanager
def serving(data_dir: Path, *flags: str) -> Iterator[Service]:
    """A service on a data directory; nothing of it is left at the end."""
    service = Service("--data-dir", str(data_dir), *flags)
    try:
        yield service
    finally:
        service.kill()
        service.client.close()
        for pid in stores_in(data_dir):
            os.kill(pid, signal.SIGKILL)


def refused(*flags: str) -> tuple[int, list[str]]:
    """Exit status and error output of a service that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def stores_in(data_dir: Path) -> list[int]:
    """Processes of the embedded store that run in a data directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").samefile(find_binary()) and (process / "cwd").resolve().is_relative_to(data_dir):
                found.append(int(process.name))
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def connections_of(pid: int) -> list[socket.socket]:
    """The TCP connections that a process has accepted, as sockets of this one."""
    libc, found = ctypes.CDLL(None, use_errno=True), []
    process = os.pidfd_open(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if not os.readlink(link).startswith("socket:"):
                continue
        except FileNotFoundError:  # closed meanwhile
            continue
        fd = libc.syscall(SYS_PIDFD_GETFD, process, int(link.name), 0)
        if fd < 0:
            os.close(process)
            pytest.skip(f"this system does not show another process's sockets: {os.strerror(ctypes.get_errno())}")
        theirs = socket.socket(fileno=fd)
        try:
            theirs.getpeername()
            is_tcp = theirs.family == socket.AF_INET
        except OSError:  # it listens
            is_tcp = False
        if is_tcp:
            found.append(theirs)
        else:
            theirs.close()
    os.close(process)
    return found


def until(fact: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """All replies of a run that nothing disturbs."""
    with serving(tmp_path_factory.mktemp("calm")) as service:
        service.client.put("/v1/models/m", json=SPEC)
        return [service.observe(n) for n in range(1, len(LOADS) + 1)]


def test_kills_between_requests_change_no_reply(tmp_path: Path, expected: list[bytes]) -> None:
    """After each kill -9 the next start goes on as if nothing had been, and one store runs."""
    replies: list[bytes] = []
    for part in range(3):
        with serving(tmp_path, "--snapshot-every-updates", "5") as service:
            if not part:
                service.client.put("/v1/models/m", json=SPEC)
            for _ in range(len(LOADS) // 3):
                replies.append(service.observe(len(replies) + 1))
            assert len(stores_in(tmp_path)) == 1
            service.kill()
            left = stores_in(tmp_path)
            with serving(tmp_path) as again:
                assert len(stores_in(tmp_path)) == 1
                assert again.stop() == 0
            assert len(left) == 1
            assert stores_in(tmp_path) == []
    assert replies == expected


def test_a_kill_in_the_midst_loses_and_doubles_nothing(tmp_path: Path, expected: list[bytes]) -> None:
    """An item whose answer was lost by a kill -9 is sent again, and all replies are those of a calm run."""
    replies: list[bytes] = []
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
    for kills in range(4):
        with serving(tmp_path) as service:
            stop_at = len(replies) + 5
            while len(replies) < stop_at:
                if len(replies) == stop_at - 1:
                    Thread(target=service.process.kill, daemon=True).start()  # races with the request
                try:
                    replies.append(service.observe(len(replies) + 1))
                except httpx.TransportError:
                    break
            assert len(replies) >= 4 * (kills + 1)
    with serving(tmp_path) as service:
        replies += [service.observe(n) for n in range(len(replies) + 1, len(LOADS) + 1)]
    plain = [reply.replace(b'"duplicate":true', b'"duplicate":false') for reply in replies]
    assert plain == expected


def test_a_signal_drains(tmp_path: Path) -> None:
    """After SIGTERM every item is answered or refused as ``draining``, the status is 0, and no store is left."""
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
        service.observe(1)
        rows = [{"stream": "s", "item": {"load": load}} for load in LOADS * 20]
        answers: list[httpx.Response] = []

        def send() -> None:
            answers.append(service.client.post("/v1/models/m/observations", json={"observations": rows}))

        sender = Thread(target=send)
        sender.start()
        with httpx.Client(base_url=service.client.base_url) as other:
            until(lambda: other.get("/v1/models/m/streams/s").json()["sequence"] > 1)
        assert service.stop() == 0
        sender.join()
        (answer,) = answers
        assert [r["sequence"] for r in answer.json()["results"]] == list(range(2, len(rows) + 2))
        assert stores_in(tmp_path) == []
    with serving(tmp_path) as service:
        assert service.client.get("/v1/models/m/streams/s").json()["sequence"] == len(rows) + 1


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Nothing is drained any more, whoever waits hears of it or is cut off, and neither traceback nor store is left."""
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
        rows = [{"stream": "s", "item": {"load": 1.0}} for _ in range(10_000)]
        codes: list[str] = []

        def send() -> None:
            with suppress(httpx.TransportError):
                results = service.client.post("/v1/models/m/observations", json={"observations": rows}).json()[
                    "results"
                ]
                codes.extend(result["error"]["code"] if "error" in result else "learned" for result in results)

        sender = Thread(target=send)
        sender.start()
        with httpx.Client(base_url=service.client.base_url) as other:
            until(lambda: other.get("/v1/models/m").json()["streams"] == 1)
            service.process.send_signal(signal.SIGTERM)
            until(lambda: other.get("/readyz").status_code == 503)
        service.process.send_signal(signal.SIGTERM)
        _, errors = service.process.communicate(timeout=WAIT_S)
        sender.join()
        assert service.process.returncode == 1
        assert "ending now" in errors
        assert "Traceback" not in errors
        assert set(codes) <= {"learned", "draining"}
        assert codes.count("learned") < len(rows)
        assert stores_in(tmp_path) == []
    with serving(tmp_path) as service:
        assert 0 < service.client.get("/v1/models/m/streams/s").json()["sequence"] < len(rows)


def test_a_reply_waits_for_no_acknowledgement(tmp_path: Path) -> None:
    """Accepted connections send at once, also while what they sent before is on its way."""
    with serving(tmp_path) as service:
        service.client.get("/healthz")
        connections = connections_of(service.process.pid)
        assert connections
        for connection in connections:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            connection.close()


def test_a_bad_store_url_is_a_bad_setting() -> None:
    """It is told in one line that names the setting and not the password; the status is 2."""
    status, lines = refused("--redis-url", "redis://user:s3cret@host:port")
    assert (status, len(lines)) == (2, 1)
    assert "STEPAHEAD_REDIS_URL" in lines[0]
    assert "s3cret" not in lines[0]


def test_an_interrupt_ends_it_too(tmp_path: Path) -> None:
    """SIGINT, as Ctrl-C sends it, ends the service in good order."""
    with serving(tmp_path) as service:
        service.process.send_signal(signal.SIGINT)
        _, errors = service.process.communicate(timeout=WAIT_S)
        assert service.process.returncode == 0
        assert "Traceback" not in errors
        assert stores_in(tmp_path) == []


def test_one_data_directory_has_one_service(tmp_path: Path) -> None:
    """A second service on a directory in use is refused in one line, and the first goes on."""
    with serving(tmp_path) as service:
        status, lines = refused("--data-dir", str(tmp_path))
        assert status == 1
        assert len(lines) == 1
        assert "in use" in lines[0]
        assert service.client.get("/readyz").status_code == 200


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """An address in use is told in one line, before any store is started."""
    with serving(tmp_path / "one") as service:
        port = str(service.client.base_url.port)
        status, lines = refused("--port", port, "--data-dir", str(tmp_path / "two"))
        assert (status, len(lines)) == (1, 1)
        assert port in lines[0]
        assert not (tmp_path / "two").exists()


def test_a_bad_setting_is_one_line(tmp_path: Path) -> None:
    """It names flag and variable; the status is 2."""
    status, lines = refused("--max-batch", "many", "--data-dir", str(tmp_path))
    assert (status, len(lines)) == (2, 1)
    assert "STEPAHEAD_MAX_BATCH" in lines[0]
    assert "--max-batch" in lines[0]


def test_a_damaged_log_is_one_line(tmp_path: Path) -> None:
    """A store that refuses its own files keeps the service from starting, and the line says where to look."""
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
        for n in range(1, 6):
            service.observe(n)
        service.stop()
    (log,) = (tmp_path / "store").rglob("*.incr.aof")
    content = log.read_bytes()
    command = content.index(b"\r\n*", len(content) // 2) + 2
    log.write_bytes(content[:command] + b"?" + content[command + 1 :])
    status, lines = refused("--data-dir", str(tmp_path))
    assert (status, len(lines)) == (1, 1)
    assert str(tmp_path) in lines[0]


def test_a_store_that_dies_is_started_again(tmp_path: Path) -> None:
    """When only the embedded store is killed the service comes right by itself, and nothing acknowledged is lost."""
    with serving(tmp_path) as service:
        service.client.put("/v1/models/m", json=SPEC)
        replies = [service.observe(n) for n in (1, 2, 3)]
        (pid,) = stores_in(tmp_path)
        os.kill(pid, signal.SIGKILL)
        until(lambda: stores_in(tmp_path) not in ([], [pid]))
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert service.observe(3) == replies[2].replace(b'"duplicate":false', b'"duplicate":true')
        service.observe(4)


def test_an_external_store_may_come_later(tmp_path: Path) -> None:
    """A service whose store is away is alive and not ready, and is ready once the store is there."""
    path = tmp_path / "s"
    service = Service("--redis-url", f"unix://{path}", "--store-timeout-s", "2")
    store = None
    try:
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/readyz").status_code == 503
        store = subprocess.Popen(
            [find_binary(), "--port", "0", "--unixsocket", path, "--dir", tmp_path, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: service.client.get("/readyz").status_code == 200)
        assert service.client.put("/v1/models/m", json=SPEC).status_code == 201
        service.observe(1)
        assert service.stop() == 0
        assert store.poll() is None, "somebody else's store is left alone"
    finally:
        service.client.close()
        service.kill()
        if store is not None:
            store.terminate()
            store.wait()
