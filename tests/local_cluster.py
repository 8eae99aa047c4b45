"""A cluster of a few servers on this machine, whose slots can be moved and whose servers can be killed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import redis
from redis.crc import key_slot

N_SLOTS = 16384
START_S = 30.0
POLL_S = 0.02
TRIES = 3  # a port that was free can be taken by another process before the server has it


class ClusterServer:
    """One server of a cluster."""

    def __init__(self, binary: Path, directory: Path, port: int, bus_port: int, options: dict[str, str]) -> None:
        self.port = port
        self.bus_port = bus_port
        self.admin = redis.Redis(port=port)
        self._directory = directory
        directory.mkdir()
        config = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(directory),
            "save": "",
            "cluster-enabled": "yes",
            "cluster-port": str(bus_port),
            "cluster-require-full-coverage": "no",
            **options,
        }
        self._command = [str(binary), *(part for name, value in config.items() for part in (f"--{name}", value))]

    @property
    def id(self) -> str:
        """By which the others know it."""
        return str(self.admin.execute_command("CLUSTER MYID").decode())

    def start(self) -> None:
        """Start it, or start it again with the data and the slots that it had."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise OSError(f"the server ended with status {self.process.returncode}")
        try:
            return bool(self.admin.ping())
        except redis.ConnectionError:
            return False


class LocalCluster:
    """Three servers, each with a third of the slots; ``with`` starts and ends them.

    Args:
        binary: Of the server.
        options: More of its options.
    """

    def __init__(self, binary: Path, **options: str) -> None:
        self._binary = binary
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._directory = Path(tempfile.mkdtemp(prefix="stepahead-test-"))
        self.servers: list[ClusterServer] = []

    @property
    def url(self) -> str:
        """Of the first server."""
        return f"redis://127.0.0.1:{self.servers[0].port}"

    def __enter__(self) -> Self:
        try:
            for _ in range(3):
                self.add()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.admin.close()
            server.process.kill()
            server.process.wait()
        shutil.rmtree(self._directory)

    def add(self) -> ClusterServer:
        """Start a server that belongs to no cluster yet."""
        for n_tries in range(1, TRIES + 1):
            directory = Path(tempfile.mkdtemp(dir=self._directory)) / "data"
            self.servers.append(ClusterServer(self._binary, directory, *free_ports(2), self._options))
            try:
                self.servers[-1].start()
                break
            except OSError:
                if n_tries == TRIES:
                    raise
                self.servers.pop().admin.close()
        return self.servers[-1]

    def meet(self, server: ClusterServer) -> None:
        """Make the server one of the cluster and wait until all know of all."""
        self.servers[0].admin.execute_command("CLUSTER MEET", "127.0.0.1", server.port, server.bus_port)
        self.await_peace()

    def owner(self, key: str) -> ClusterServer:
        """The server of a key's slot, as the first one sees it."""
        slot = key_slot(key.encode())
        for first, last, (_, port, *_), *_ in self.servers[0].admin.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise LookupError(key)

    def await_peace(self) -> None:
        """Wait until all servers know of all, and each slot has one that is up."""
        eventually(self._is_complete)

    def begin_to_move(self, key: str, target: ClusterServer) -> None:
        """Move all keys of a key's slot to ``target``, which is not its owner yet."""
        slot, source = key_slot(key.encode()), self.owner(key)
        target.admin.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.admin.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.admin.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            source.admin.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, key: str, target: ClusterServer) -> None:
        """Make ``target`` the owner of a key's slot."""
        for server in (target, *(server for server in self.servers if server is not target)):
            server.admin.execute_command("CLUSTER SETSLOT", key_slot(key.encode()), "NODE", target.id)

    def _join(self) -> None:
        ends = [N_SLOTS * i // len(self.servers) for i in range(len(self.servers) + 1)]
        for i, server in enumerate(self.servers):
            server.admin.execute_command("CLUSTER ADDSLOTSRANGE", ends[i], ends[i + 1] - 1)
            server.admin.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
        for server in self.servers[1:]:
            self.servers[0].admin.execute_command("CLUSTER MEET", "127.0.0.1", server.port, server.bus_port)
        self.await_peace()

    def _is_complete(self) -> bool:
        for server in self.servers:
            lines = server.admin.execute_command("CLUSTER INFO")
            if lines["cluster_state"] != "ok" or int(lines["cluster_known_nodes"]) != len(self.servers):
                return False
            if lines["cluster_slots_ok"] != str(N_SLOTS):
                return False
        return True


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + START_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def free_ports(n: int) -> Iterator[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        ports = [each.getsockname()[1] for each in sockets]
    return iter(ports)
