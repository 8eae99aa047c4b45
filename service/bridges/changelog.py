"""The last number of each stream, kept in a compacted Kafka topic: partition for partition beside the input."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from service.bridges.broker import Lost, Misconfigured

TIMEOUT_S = 30.0
RESTORE_S = 120.0
"""Longest wait for a transaction that a dead consumer left open; brokers end such a one after its own timeout."""
STEP_S = 0.05
BATCH = 1000


def ensure(config: Mapping[str, Any], topic: str, source: str) -> None:
    """Make the topic if there is none: as many partitions as the input has, compacted.

    Raises:
        Misconfigured: If the input is not there, or the topic has fewer partitions.
        KafkaException: If the brokers do not answer, or refuse.
    """
    admin = AdminClient(dict(config))
    topics = admin.list_topics(timeout=TIMEOUT_S).topics
    if source not in topics:
        raise Misconfigured(f"Kafka has no topic {source!r}")
    needed = len(topics[source].partitions)
    if topic in topics:
        if len(topics[topic].partitions) < needed:
            raise Misconfigured(f"topic {topic!r} needs {needed} partitions, as {source!r} has")
        return
    new = NewTopic(topic, num_partitions=needed, replication_factor=-1, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([new], request_timeout=TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def restore(config: Mapping[str, Any], topic: str, partition: int) -> dict[str, int]:
    """Every stream's last number in one partition.

    Reads committed records up to the end that the partition has now: where a transaction is still open before that end,
    what follows it cannot be read yet and is waited for.

    Raises:
        Lost: If such a transaction does not end.
        KafkaException: If the brokers do not answer.
    """
    alone = {**config, "group.id": f"{topic}.restore", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
    # A consumer of committed records is told the end of these; this one is told where the partition really ends.
    uncommitted = Consumer({**alone, "isolation.level": "read_uncommitted"})
    try:
        place = TopicPartition(topic, partition, 0)
        low, high = uncommitted.get_watermark_offsets(place, timeout=TIMEOUT_S, cached=False)
    finally:
        uncommitted.close()
    numbers: dict[str, int] = {}
    if low >= high:
        return numbers
    reader = Consumer({**alone, "isolation.level": "read_committed", "enable.partition.eof": True})
    try:
        reader.assign([TopicPartition(topic, partition, low)])
        deadline = time.monotonic() + RESTORE_S
        while time.monotonic() < deadline:
            for message in reader.consume(BATCH, STEP_S):
                error = message.error()
                if error is None:
                    _take(numbers, message.key(), message.value())
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                elif message.offset() >= high:
                    return numbers
    finally:
        reader.close()
    raise Lost(f"topic {topic!r}, partition {partition}: a transaction does not end")


def _take(numbers: dict[str, int], key: bytes | None, value: bytes | None) -> None:
    if key is None:
        return
    if value is None:
        numbers.pop(key.decode(), None)
    else:
        numbers[key.decode()] = int(value)
