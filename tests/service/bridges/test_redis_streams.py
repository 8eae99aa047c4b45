"""``stepahead bridge redis-streams`` between real servers, through whatever ends one of them."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from service.cli.bridge import redis_streams
from stepahead import Client
from tests.service.bridges.processes import WAIT_S, BridgeProcess, RedisServer, ServiceProcess, bridges, wait_for
from tests.service.bridges.tally import Expected

N_STREAMS = 20
N_KILLS = int(os.environ.get("BRIDGE_KILLS", "3"))
"""More in the long form."""
N_ENTRIES = 250 * N_KILLS
MOMENT_S = 0.1  # about as long as a batch takes


class Streams:
    """The keys of one test."""

    def __init__(self, server: RedisServer, service: ServiceProcess, model: str, folder: Path) -> None:
        self._server, self._service, self._model, self._folder = server, service, model, folder
        self.input, self.output = f"in-{uuid.uuid4().hex}", f"out-{uuid.uuid4().hex}"

    def bridge(self, *more: object) -> BridgeProcess:
        """Start a consumer."""
        options = ("--broker", self._server.url, "--input", self.input, "--output", self.output, "--lease", 1)
        service = ("--model", self._model, "--url", self._service.url, "--block", 0.1, *more)
        return BridgeProcess(self._folder / f"{uuid.uuid4().hex}.log", "redis-streams", *options, *service)

    def add(self, entries: list[dict[str, Any]]) -> None:
        """Send entries."""
        with self._server.client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(self.input, entry)
            pipe.execute()

    def count(self) -> int:
        """Everything that has been published."""
        try:
            return int(self._server.client.xlen(self.output) + self._server.client.xlen(f"{self.output}:dead-letters"))
        except (redis.ConnectionError, redis.BusyLoadingError):
            return -1

    def outputs(self) -> list[dict[str, str]]:
        """Predictions."""
        return [fields for _, fields in self._server.client.xrange(self.output)]

    def dead_letters(self) -> list[dict[str, str]]:
        """Refusals."""
        return [fields for _, fields in self._server.client.xrange(f"{self.output}:dead-letters")]

    def leftovers(self) -> tuple[int, list[str]]:
        """Pending entries, and keys beside the streams."""
        pending = self._server.client.xpending(self.input, "stepahead")["pending"]
        return pending, list(self._server.client.scan_iter(f"stepahead:bridge:*{self.input}*"))

    def n_written(self) -> int:
        """Entries under way: their numbers are written down."""
        return int(self._server.client.hlen(f"stepahead:bridge:{{{self.input}}}:stepahead:numbers"))

    def active(self, consumers: Sequence[BridgeProcess]) -> BridgeProcess:
        """The one that holds the lease."""
        lease = f"stepahead:bridge:{{{self.input}}}:stepahead:lease"
        wait_for(lambda: self._server.client.get(lease) is not None, "a lease")
        holder = self._server.client.get(lease).partition(" ")[0]
        return next(consumer for consumer in consumers if holder.endswith(f"-{consumer.process.pid}"))

    def check(self, expected: Expected) -> None:
        """Everything is there once, and nothing else."""
        assert self.leftovers() == (0, [])
        assert len(self._server.client.xinfo_consumers(self.input, "stepahead")) <= 2
        dead = self.dead_letters()
        assert len({letter["entry"] for letter in dead}) == len(dead) == expected.n_garbage
        expected.check(self._service.url, self._model, self.outputs())


@pytest.fixture
def streams(redis_server: RedisServer, service: ServiceProcess, model: str, tmp_path: Path) -> Streams:
    """Streams of the test's own, and the bridges over them."""
    return Streams(redis_server, service, model, tmp_path)


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
def test_killed_bridges_apply_and_publish_each_entry_once(streams: Streams) -> None:
    """Of two consumers the active one is killed, at any moment while numbers are written down; the other takes over."""
    expected, moments = Expected(N_STREAMS, seed=1), random.Random(2)
    consumers = [streams.bridge("--batch", 64), streams.bridge("--batch", 64)]
    with bridges(*consumers):
        for _ in range(N_KILLS):
            streams.add(expected.entries(N_ENTRIES // N_KILLS))
            after = streams.count() + moments.randrange(N_ENTRIES // N_KILLS // 2)
            wait_for(lambda after=after: streams.count() >= after, "a part of the outputs")
            wait_for(lambda: streams.n_written() > 0, "the next numbers")
            time.sleep(moments.uniform(0, MOMENT_S))
            active = streams.active(consumers)
            active.kill()
            active.start()
        wait_for(lambda: streams.count() == expected.n_entries + expected.n_garbage, "the last output")
        assert [consumer.end() for consumer in consumers] == [0, 0]
    streams.check(expected)


@pytest.mark.parametrize("redis_server", ["redis"], indirect=True)
def test_bridge_outlives_service_and_broker(
    streams: Streams, service: ServiceProcess, redis_server: RedisServer
) -> None:
    """Both are killed under it and come back; it goes on by itself, and ends in good order."""
    expected = Expected(N_STREAMS, seed=3)
    bridge = streams.bridge("--batch", 64)
    with bridges(bridge):
        for victim, said in ((service, "waiting for the service"), (redis_server, "trying again")):
            before = streams.count()
            streams.add(expected.entries(250))
            wait_for(lambda before=before: streams.count() > before + 40, "a part of the outputs")
            victim.kill()
            wait_for(lambda said=said: said in bridge.log, "what the bridge says of it")
            victim.start()
        wait_for(lambda: streams.count() == expected.n_entries + expected.n_garbage, "the last output")
        assert bridge.end() == 0
    assert "answers again" in bridge.log
    streams.check(expected)


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
def test_a_consumer_that_wakes_up_too_late_does_nothing(streams: Streams) -> None:
    """One is stopped until another has taken over; on waking it finds its lease gone, and waits for its turn again."""
    expected = Expected(4, seed=4)
    first = streams.bridge("--batch", 16)
    with bridges(first):
        streams.add(expected.entries(400, garbage=0))
        wait_for(lambda: streams.count() > 20, "a part of the outputs")
        first.process.send_signal(signal.SIGSTOP)
        second = streams.bridge("--batch", 16)
        with bridges(second):
            before = streams.count()
            wait_for(lambda: streams.count() > before, "the takeover")
            first.process.send_signal(signal.SIGCONT)
            streams.add(expected.entries(100, garbage=0))
            wait_for(lambda: "taken over" in first.log, "what the first one says")
            wait_for(lambda: streams.count() == expected.n_entries, "the last output")
            assert [first.end(), second.end()] == [0, 0]
    streams.check(expected)


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
def test_entries_are_read_as_asked(streams: Streams, redis_server: RedisServer) -> None:
    """The stream and the time from fields of any name, fields from JSON under other names; outputs are kept short."""
    options = ("--stream-field", "site", "--time-field", "at", "--json-field", "data", "--map", "load=kw")
    letters = streams.input + "-dead"
    with bridges(bridge := streams.bridge(*options, "--dead-letters", letters, "--max-length", 1)):
        streams.add(
            [{"site": "a", "at": "1767225600", "data": json.dumps({"kw": n, "state": "idle"})} for n in range(3)]
        )
        streams.add([{"site": "a", "data": "{"}, {"site": "a", "data": "{}"}, {"site": "b", "data": '{"kw": 1e999}'}])
        wait_for(lambda: len(streams.outputs()) == 4, "the last output")
        assert bridge.end() == 0
    assert "4 predictions, 2 refusals" in bridge.log
    letter = redis_server.client.xrange(letters)[0][1]
    assert (letter["code"], json.loads(letter["fields"])) == ("invalid_entry", {"site": "a", "data": "{"})
    assert "is no JSON" in letter["error"]
    with Client(streams._service.url) as client:
        history = {s.stream: s.sequence for s in client.model(streams._model).streams()}
    assert history == {"a": 3, "b": 1}


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
def test_a_stream_that_was_deleted_begins_anew(
    streams: Streams, service: ServiceProcess, model: str, redis_server: RedisServer
) -> None:
    """The bridge goes on from what the service has; entries that were removed under way are told as dead letters."""
    expected = Expected(1, seed=5)
    with bridges(bridge := streams.bridge()):
        streams.add(expected.entries(10, garbage=0))
        wait_for(lambda: streams.count() == 10, "the first outputs")
        with Client(service.url) as client:
            client.model(model).stream("s0").delete()
        streams.add(expected.entries(3, garbage=0))
        wait_for(lambda: streams.count() == 13, "the last outputs")
        assert bridge.end() == 0
        assert [int(output["sequence"]) for output in streams.outputs()] == [*range(1, 11), 1, 2, 3]
        assert "does not stand where it was left" in bridge.log
        streams.add(expected.entries(1, garbage=0))
        [(_, [(position, _)])] = redis_server.client.xreadgroup("stepahead", "dead", {streams.input: ">"})
        redis_server.client.xdel(streams.input, position)
        bridge.start()
        wait_for(lambda: len(streams.dead_letters()) == 1, "the dead letter")
        assert streams.dead_letters()[0]["code"] == "entry_removed"
        assert bridge.end() == 0
        assert streams.leftovers() == (0, [])


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
def test_what_cannot_work_is_told_in_one_line(streams: Streams, redis_server: RedisServer) -> None:
    """A key that is no stream, a model that is not there, a broker that does not answer, streams that are one."""
    redis_server.client.set(streams.input, "text")
    told = {
        "WRONGTYPE": streams.bridge(),
        "unknown_model": streams.bridge("--model", "none"),
        "refused": streams.bridge("--broker", "redis://127.0.0.1:1"),
    }
    with bridges(*told.values()):
        for why, bridge in told.items():
            assert bridge.process.wait(WAIT_S) == 1
            assert why in bridge.log
            assert "Traceback" not in bridge.log
    names = ("--input", "a", "--output", "a", "--model", "m")
    assert "must be three streams" in CliRunner().invoke(redis_streams, names).stderr
