"""``stepahead bridge kafka`` against librdkafka's mock of a cluster.

The mock takes transactions, but forgets the offsets in them, shows what was aborted, and fences nobody. So a consumer
here commits its offsets once more when a transaction has gone through, and a crash comes before one begins. What only
real brokers do is not tested.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from model.spec import ModelSpec
from service.bridges import changelog
from service.bridges.broker import Entry, Finished, Number
from service.bridges.kafka import Kafka, Record, Topics
from service.bridges.loop import Bridge
from service.bridges.reading import Reading
from stepahead import Client
from tests.service.bridges.processes import WAIT_S, BridgeProcess, ServiceProcess, bridges, wait_for
from tests.service.bridges.tally import Expected

N_ENTRIES, N_STREAMS, BATCH = 300, 6, 50
SESSION_MS = 4000  # the mock does not hear that a consumer leaves; more than the 3 s in which others may join


class Crash(Exception):
    """The consumer ends here."""


class MockedKafka(Kafka):
    """As a real cluster keeps offsets; ends after some entries were observed, and before they are published."""

    publishes_left = 3

    def publish(self, finished: Sequence[Finished]) -> None:
        """As many times as asked."""
        self.publishes_left -= 1
        if self.publishes_left == 0:
            raise Crash
        super().publish(finished)

    def _transact(
        self, records: Sequence[Record], offsets: Mapping[int, int], numbers: Mapping[tuple[int, str], int]
    ) -> None:
        super()._transact(records, offsets, numbers)
        places = [TopicPartition(self._topics.input, partition, offset) for partition, offset in offsets.items()]
        self._consumer.commit(offsets=places, asynchronous=False)


class Cluster:
    """Mocked brokers, as long as this lives."""

    def __init__(self) -> None:
        self._host = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._host.list_topics(timeout=WAIT_S).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self.config = {
            "bootstrap.servers": self.servers,
            "log_level": 0,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 300,
        }
        self._producer = Producer(self.config)

    def topics(self) -> Topics:
        """Topics of a test's own, which are there once somebody has asked for each."""
        name = uuid.uuid4().hex
        names = [f"{name}-{kind}" for kind in ("in", "out", "dead", "numbers")]
        for topic in names:
            wait_for(lambda topic=topic: self._has(topic), "the topic")
        source, output, dead, numbers = names
        return Topics(source, "group", "consumer", output, dead, numbers)

    def send(self, topic: str, entries: Sequence[Mapping[str, str]]) -> None:
        """Produce entries under the keys of their streams."""
        for entry in entries:
            self._producer.produce(topic, key=entry.get("stream"), value=json.dumps(entry))
        self._producer.flush(WAIT_S)

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Everything in a topic."""
        found = []
        reader = Consumer(
            {**self.config, "group.id": uuid.uuid4().hex, "enable.partition.eof": True, "fetch.wait.max.ms": 50}
        )
        try:
            partitions = reader.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
            reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            ends = 0
            while ends < len(partitions):
                for message in reader.consume(1000, 0.05):
                    if message.error() is None:
                        found.append(json.loads(message.value()))
                    else:
                        assert message.error().code() == KafkaError._PARTITION_EOF
                        ends += 1
        finally:
            reader.close()
        return found

    def _has(self, topic: str) -> bool:
        return self._producer.list_topics(topic, timeout=WAIT_S).topics[topic].error is None


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A mock of a cluster."""
    return Cluster()


def reading(client: Client, model: str) -> Reading:
    """Entries as they are."""
    return Reading(ModelSpec.from_dict({"fields": client.model(model).info().spec["fields"]}))


def test_entries_between_observation_and_publication_are_recognised_after_a_crash(
    cluster: Cluster, service: ServiceProcess, model: str, tmp_path: Path
) -> None:
    """They get the same numbers again, and so the replies they had; streams that had items before go on from these."""
    topics, expected = cluster.topics(), Expected(N_STREAMS, seed=6)
    cluster.send(topics.input, expected.entries(N_ENTRIES))
    with Client(service.url) as client:
        broker = MockedKafka(cluster.config, topics, batch=BATCH, block_ms=100)
        stop = Event()
        late = Timer(WAIT_S, stop.set)
        late.start()
        with pytest.raises(Crash):
            Bridge(broker, client.model(model), reading(client, model), 16, stop).run()
        late.cancel()
        applied = sum(summary.sequence for summary in client.model(model).streams())
    published = len(cluster.records(topics.output))
    assert published < applied, "the crash was too early"
    names = ("--input", topics.input, "--output", topics.output, "--dead-letters", topics.dead_letters)
    options = ("--group", topics.group, "--changelog", topics.changelog, "--set", "log_level=0", "--batch", BATCH)
    options += ("--set", f"session.timeout.ms={SESSION_MS}", "--set", "heartbeat.interval.ms=1000")
    where = ("--broker", cluster.servers, "--model", model, "--url", service.url, "--kept-replies", 16)
    with bridges(bridge := BridgeProcess(tmp_path / "log", "kafka", *names, *options, *where)):
        wait_for(
            lambda: "refused" in bridge.log and len(cluster.records(topics.output)) >= expected.n_entries,
            "the last output",
        )
        assert bridge.end() == 0, bridge.log
    outputs = sorted(cluster.records(topics.output), key=lambda output: output["sequence"])
    as_text = [{**o, "prediction": json.dumps(o["prediction"]), "score": json.dumps(o["score"])} for o in outputs]
    expected.check(service.url, model, as_text)
    assert len(cluster.records(topics.dead_letters)) == expected.n_garbage
    partitions = {int(output["lane"].rpartition("/")[2]) for output in outputs}
    numbers: dict[str, int] = {}
    for partition in partitions:
        numbers |= changelog.restore(cluster.config, topics.changelog, partition)
    assert numbers == {stream: len(loads) for stream, loads in expected.loads.items()}


def test_numbers_are_written_only_where_they_do_not_follow(cluster: Cluster) -> None:
    """A stream's first, and those after it was lost; the offsets go with them as they are."""
    written: list[tuple[Any, ...]] = []

    class Noted(Kafka):
        def _transact(self, *what: Any) -> None:
            written.append(what)
            self._numbers[0].update({stream: number for (_, stream), number in what[2].items()})

    broker = Noted(cluster.config, Topics("in", "g", "c", "out", "dead", "numbers"), batch=1, block_ms=1)
    broker._numbers[0], broker._done[0] = {"old": 4}, 17
    entries = [Entry("in/0", str(offset), {}) for offset in (17, 20, 21)]
    broker.write(list(zip(entries, [Number("old", 5), Number("new", 8), Number("new", 9)], strict=True)))
    broker.write([(entries[0], Number("old", 5))])
    broker.write([(entries[0], Number("old", 1))])
    assert written == [([], {0: 17}, {(0, "new"): 7}), ([], {0: 17}, {(0, "old"): 0})]
