"""Kafka as a broker: a topic in, a topic out, one transaction for outputs, offsets and numbers.

The order of a partition is the order of its streams, so a stream's entries must have one key. A stream's last
published number is kept in a compacted changelog topic, in the partition of the same index, and is written in the
transaction that publishes. After a crash the entries behind the committed offset are read again and numbered on from
there: as before, so that the service recognises what it has. The number that a new stream begins with is written before
its first entry is sent, with the offsets as they are: this fences a consumer that has lost its partitions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from service.bridges import changelog
from service.bridges.broker import Entry, Finished, Lost, Misconfigured, Number, Refusal
from service.bridges.outputs import output_fields
from stepahead import Reply

log = logging.getLogger("stepahead.bridge")

TIMEOUT_S = 30.0
TRANSACTION_MS = 30_000
COMMIT_TRIES = 3
_FATAL = frozenset({
    KafkaError._AUTHENTICATION,
    KafkaError._INVALID_ARG,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topics:
    """Which topics, and whose.

    Args:
        input: Entries come from here.
        group: Its consumer group.
        consumer: This process; names its transactions, so that one that is started again ends what it left open.
        output: Predictions go here.
        dead_letters: Entries that were refused go here.
        changelog: The last number of each stream.
        begin: Where a group without offsets begins: ``earliest`` or ``latest``.
    """

    input: str
    group: str
    consumer: str
    output: str
    dead_letters: str
    changelog: str
    begin: str = "earliest"


@dataclass(frozen=True, slots=True)
class Record:
    """What a transaction writes; ``partition`` ``None`` for the one that the key falls to."""

    topic: str
    key: str | None
    value: str
    partition: int | None = None


class Kafka:
    """A :class:`service.bridges.broker.Broker`; see the module.

    Args:
        config: librdkafka's properties: ``bootstrap.servers``, security and the like.
        topics: Which topics.
        batch: Most entries at a time.
        block_ms: How long new entries are waited for before ``take`` comes back empty.
    """

    keeps_numbers = False

    def __init__(self, config: Mapping[str, Any], topics: Topics, *, batch: int, block_ms: int) -> None:
        self._config, self._topics = config, topics
        self._batch, self._block_s = batch, block_ms / 1000
        self._consumer: Any = None
        self._producer: Any = None
        self._numbers: dict[int, dict[str, int]] = {}  # by partition: what the changelog has of each stream
        self._done: dict[int, int] = {}  # by partition: the offset of the first entry that is not published
        self._assigned: set[int] = set()
        self._paused = self._revoked = False

    def open(self, stop: Event) -> bool:  # noqa: ARG002 - the interface's; partitions come in their time
        """Join the group; whatever this consumer left open under its name is ended first."""
        names = self._topics
        try:
            changelog.ensure(self._config, names.changelog, names.input)
            self._producer = Producer({
                "compression.type": "lz4",
                **self._config,
                "transactional.id": f"stepahead.{names.group}.{names.consumer}",
                "transaction.timeout.ms": TRANSACTION_MS,
            })  # fmt: skip
            self._producer.init_transactions(TIMEOUT_S)
            self._consumer = Consumer({
                **self._config,
                "group.id": names.group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": names.begin,
            })  # fmt: skip
            self._paused = self._revoked = False
            self._consumer.subscribe(
                [names.input], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
        except KafkaException as error:
            raise _failed(error) from error
        log.info("%s joins group %s of %s", names.consumer, names.group, names.input)
        return True

    def close(self) -> None:
        """Leave the group, so that others get the partitions at once."""
        if self._producer is not None:
            with suppress(KafkaException):  # none is open, or it ends by its timeout
                self._producer.abort_transaction(TIMEOUT_S)
        if self._consumer is not None:
            with suppress(KafkaException):
                self._consumer.close()
        self._consumer = self._producer = None
        self._numbers.clear()
        self._done.clear()
        self._assigned.clear()

    def take(self) -> Sequence[Entry]:
        """What comes within a while, of all partitions that this consumer has now."""
        try:
            if self._paused:
                self._consumer.resume(self._consumer.assignment())
                self._paused = False
            first = self._consumer.poll(self._block_s)
            messages = [] if first is None else [first, *self._consumer.consume(self._batch - 1, 0.0)]
            self._revoked = False  # nothing was under way
            for message in messages:
                if (error := message.error()) is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
            entries = [m for m in messages if m.error() is None and m.partition() in self._assigned]
            for partition in {message.partition() for message in entries} - self._numbers.keys():
                self._restore(partition)
        except KafkaException as error:
            raise _failed(error) from error
        for message in entries:
            self._done.setdefault(message.partition(), message.offset())
        return [_entry(message) for message in entries]

    def written(self, entry: Entry) -> Number | None:  # noqa: ARG002 - the interface's
        """Nothing: numbers follow from those before."""
        return None

    def last(self, lane: str, stream: str) -> int | None:
        """As the changelog has it."""
        return self._numbers[_partition(lane)].get(stream)

    def write(self, numbers: Sequence[tuple[Entry, Number]]) -> None:
        """Into the changelog, but only where numbers do not follow from it anyway."""
        begins: dict[tuple[int, str], int] = {}
        for entry, number in numbers:
            begins.setdefault((_partition(entry.lane), number.stream), number.sequence - 1)
        new = {place: last for place, last in begins.items() if self._numbers[place[0]].get(place[1]) != last}
        if new:
            self._transact([], {partition: self._done[partition] for partition, _ in new}, new)

    def publish(self, finished: Sequence[Finished]) -> None:
        """Outputs, offsets and the changelog in one transaction."""
        records, offsets, last = [], dict[int, int](), dict[tuple[int, str], int]()
        for one in finished:
            partition = _partition(one.entry.lane)
            records.append(self._output(one))
            offsets[partition] = int(one.entry.position) + 1
            if isinstance(one.outcome, Reply):
                last[partition, one.outcome.stream] = one.outcome.sequence
        self._transact(records, offsets, last)

    def keep(self) -> None:
        """Poll, which is how a group knows that a consumer lives; nothing is taken meanwhile."""
        try:
            if not self._paused:
                self._consumer.pause(self._consumer.assignment())
                self._paused = True
            message = self._consumer.poll(0)
        except KafkaException as error:
            raise _failed(error) from error
        if self._revoked or message is not None:
            raise Lost("Kafka: partitions went to another consumer")

    def _transact(
        self, records: Sequence[Record], offsets: Mapping[int, int], numbers: Mapping[tuple[int, str], int]
    ) -> None:
        """Write records, numbers and offsets: all of them or none."""
        names, producer = self._topics, self._producer
        changes = [Record(names.changelog, stream, str(n), partition) for (partition, stream), n in numbers.items()]
        places = [TopicPartition(names.input, partition, offset) for partition, offset in offsets.items()]
        try:
            producer.begin_transaction()
            for record in (*records, *changes):
                self._produce(record)
            producer.send_offsets_to_transaction(places, self._consumer.consumer_group_metadata(), TIMEOUT_S)
            self._commit()
        except KafkaException as error:
            raise _failed(error) from error
        self._done.update(offsets)
        for (partition, stream), number in numbers.items():
            self._numbers[partition][stream] = number

    def _produce(self, record: Record) -> None:
        where = {} if record.partition is None else {"partition": record.partition}
        while True:
            try:
                self._producer.produce(record.topic, key=record.key, value=record.value, **where)
            except BufferError:  # the queue is full until the brokers have taken some of it
                self._producer.poll(1.0)
            else:
                self._producer.poll(0)
                return

    def _commit(self) -> None:
        for tries_left in reversed(range(COMMIT_TRIES)):
            try:
                self._producer.commit_transaction(TIMEOUT_S)
            except KafkaException as error:
                if not error.args[0].retriable() or not tries_left:
                    raise
            else:
                return

    def _output(self, finished: Finished) -> Record:
        fields: dict[str, Any] = dict(output_fields(finished))
        refused = isinstance(finished.outcome, Refusal)
        for name in ("prediction", "score", "fields"):  # they are JSON, as the record itself is
            if name in fields:
                fields[name] = json.loads(fields[name])
        if "sequence" in fields:
            fields["sequence"] = int(fields["sequence"])
        topic = self._topics.dead_letters if refused else self._topics.output
        key = finished.entry.key if refused else fields["stream"]
        return Record(topic, key, json.dumps(fields, ensure_ascii=False, separators=(",", ":")))

    def _restore(self, partition: int) -> None:
        """Read the changelog of a partition, once no transaction of a former owner can change the offsets any more."""
        self._consumer.committed([TopicPartition(self._topics.input, partition)], timeout=TIMEOUT_S)
        self._numbers[partition] = changelog.restore(self._config, self._topics.changelog, partition)

    def _on_assign(self, _consumer: Any, places: Sequence[Any]) -> None:
        self._assigned |= {place.partition for place in places}

    def _on_revoke(self, _consumer: Any, places: Sequence[Any]) -> None:
        self._revoked = True
        for place in places:
            self._assigned.discard(place.partition)
            self._numbers.pop(place.partition, None)
            self._done.pop(place.partition, None)


def _entry(message: Any) -> Entry:
    lane = f"{message.topic()}/{message.partition()}"
    key, value = message.key(), message.value()
    text = None if key is None else key.decode("utf-8", "replace")
    try:
        found = json.loads(value or b"null")
    except (ValueError, RecursionError) as error:
        return Entry(lane, str(message.offset()), {"value": repr(value)}, text, f"its value is no JSON: {error}")
    if not isinstance(found, dict):
        return Entry(lane, str(message.offset()), {"value": found}, text, "its value is no JSON object")
    return Entry(lane, str(message.offset()), found, text)


def _partition(lane: str) -> int:
    return int(lane.rpartition("/")[2])


def _failed(error: KafkaException) -> Lost | Misconfigured:
    reason = error.args[0]
    text = f"Kafka: {reason.str()}"
    return Misconfigured(text) if reason.code() in _FATAL else Lost(text)
