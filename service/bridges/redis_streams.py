"""Redis Streams as a broker: a consumer group in, a stream out, and a ledger beside them.

One consumer of a group is active at a time, the one that holds the lease; the others wait to take over. So entries are
sent in the order of their ids, whoever sends them. Every script checks the lease: a consumer that was paused, and wakes
up when another has taken over, can neither read nor write.

Keys beside the user's streams, in the hash slot of the input: ``…:lease`` and ``…:numbers``, a hash of entry id to
number and stream that holds only what is under way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import NoPermissionError

from service.bridges.broker import Entry, Finished, Lost, Misconfigured, Number, Refusal
from service.bridges.lease import Lease
from service.bridges.outputs import output_fields
from service.bridges.scripts import Scripts, connect

log = logging.getLogger("stepahead.bridge")

TIMEOUT_S = 10.0
BEGIN = "0-0"
_FATAL = ("WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "CROSSSLOT")
_GONE = "the entry was removed from the stream before anything came of it"


@dataclass(frozen=True, slots=True)
class StreamNames:
    """Which streams, and whose.

    Args:
        input: Entries come from here.
        group: Its consumer group.
        consumer: This process within the group.
        output: Predictions go here.
        dead_letters: Entries that were refused go here.
        begin: Where a new group begins: ``0`` for all there is, ``$`` for what comes.
        max_length: About how many entries ``output`` and ``dead_letters`` keep; ``None`` for all.
    """

    input: str
    group: str
    consumer: str
    output: str
    dead_letters: str
    begin: str = "0"
    max_length: int | None = None

    @property
    def prefix(self) -> str:
        """Of keys in the hash slot of the input."""
        tagged = "{" in self.input and self.input.find("}", self.input.find("{")) > self.input.find("{") + 1
        return f"stepahead:bridge:{self.input if tagged else f'{{{self.input}}}'}:{self.group}"

    @property
    def lease(self) -> str:
        """Key of the lease."""
        return f"{self.prefix}:lease"

    @property
    def numbers(self) -> str:
        """Key of the ledger."""
        return f"{self.prefix}:numbers"


class RedisStreams:
    """A :class:`service.bridges.broker.Broker`; see the module.

    Args:
        url: Of the server, or of any server of a cluster.
        names: Which streams.
        batch: Most entries at a time.
        block_ms: How long new entries are waited for before ``take`` comes back empty.
        lease_ms: How long a consumer without a sign of life stays the active one.
    """

    keeps_numbers = True

    def __init__(self, url: str, names: StreamNames, *, batch: int, block_ms: int, lease_ms: int) -> None:
        self._url, self._names = url, names
        self._batch, self._block_ms, self._lease_ms = batch, block_ms, lease_ms
        self._scripts: Scripts | None = None
        self._lease: Lease | None = None
        self._numbers: dict[str, Number] = {}
        self._pending: str | None = BEGIN  # where to claim on; None once all that was pending is claimed
        self._last_id = BEGIN
        self._beaten = False  # whether open() has ever succeeded

    def open(self, stop: Event) -> bool:
        """Wait for the lease, make the group if there is none, and read the ledger."""
        names = self._names
        try:
            self._scripts = Scripts(connect(self._url, self._block_ms / 1000 + TIMEOUT_S))
            self._check_slots()
            self._lease = Lease(self._scripts, names.lease, names.consumer, self._lease_ms)
            if not self._lease.acquire(stop):
                return False
            client: Any = self._scripts.client
            try:
                client.xgroup_create(names.input, names.group, id=names.begin, mkstream=True)
            except redis.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            stored = client.hgetall(names.numbers)
            self._numbers = {position: _parse(text) for position, text in stored.items()}
            groups = {group["name"]: group for group in client.xinfo_groups(names.input)}
            self._last_id = groups[names.group]["last-delivered-id"]
            self._pending = BEGIN
        except redis.RedisError as error:
            raise self._failed(error) from error
        except ValueError as error:
            raise Misconfigured(str(error)) from error
        self._beaten = True
        log.info("%s takes %s for group %s", names.consumer, names.input, names.group)
        return True

    def close(self) -> None:
        """Release the lease."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        if self._scripts is not None:
            self._scripts.client.close()
            self._scripts = None

    def take(self) -> Sequence[Entry]:
        """Pending entries of whatever consumer first, then new ones."""
        try:
            while self._pending is not None:
                if entries := self._claim(self._pending):
                    return entries
            return self._read() or (self._read() if self._wait() else [])
        except redis.RedisError as error:
            raise self._failed(error) from error

    def written(self, entry: Entry) -> Number | None:
        """As the ledger has it."""
        return self._numbers.get(entry.position)

    def last(self, lane: str, stream: str) -> int | None:  # noqa: ARG002 - the interface's
        """Nothing: what is not under way any more is applied, and the service knows it."""
        return None

    def write(self, numbers: Sequence[tuple[Entry, Number]]) -> None:
        """Into the hash."""
        if not numbers:
            return
        texts = [text for entry, n in numbers for text in (entry.position, f"{n.sequence} {n.stream}")]
        self._run("write", [self._names.lease, self._names.numbers], [*self._held, *texts])
        self._numbers.update((entry.position, number) for entry, number in numbers)

    def publish(self, finished: Sequence[Finished]) -> None:
        """Outputs, acknowledgements and the ledger in one script."""
        names = self._names
        arguments: list[str | int] = [*self._held, names.group, names.max_length or ""]
        for one in finished:
            texts = [text for pair in output_fields(one).items() for text in pair]
            output = 5 if isinstance(one.outcome, Refusal) else 4
            arguments += [one.entry.position, output, len(texts), *texts]
        self._run("publish", [names.lease, names.input, names.numbers, names.output, names.dead_letters], arguments)
        for one in finished:
            self._numbers.pop(one.entry.position, None)

    def keep(self) -> None:
        """Nothing: the lease is kept by a thread of its own."""

    @property
    def _held(self) -> tuple[str, int]:
        if self._lease is None:
            raise Lost("the broker is closed")
        return self._lease.token, self._lease_ms

    def _run(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        if self._scripts is None:
            raise Lost("the broker is closed")
        try:
            return self._scripts.run(script, keys, arguments)
        except redis.RedisError as error:
            raise self._failed(error) from error

    def _claim(self, begin: str) -> list[Entry]:
        """Pending entries from an id on; publishes those whose content is gone as refused."""
        names = self._names
        arguments: list[str | int] = [*self._held, names.group, names.consumer, self._batch, "pending", begin]
        following, found, *rest = self._run("take", [names.lease, names.input], arguments)
        self._pending = None if following == BEGIN else following
        self._forget(rest[0])
        if self._pending is None:
            self._run("tidy", [names.lease, names.input], [*self._held, names.group, names.consumer])
            self._forget([position for position in self._numbers if not self._is_pending(position)])
        return [self._entry(position, content) for position, content in found]

    def _forget(self, positions: Sequence[str]) -> None:
        """Entries that were taken and then removed by somebody: they leave the ledger, and a dead letter says so."""
        if not positions:
            return
        client: Any = None if self._scripts is None else self._scripts.client
        for position in positions:
            number = self._numbers.pop(position, None)
            said = {} if number is None else {"stream": number.stream}
            said |= {"lane": self._names.input, "entry": position, "code": "entry_removed", "error": _GONE}
            with client.pipeline(transaction=True) as pipe:
                pipe.xadd(self._names.dead_letters, said)
                pipe.hdel(self._names.numbers, position)
                pipe.execute()
            log.warning("entry %s: %s", position, _GONE)

    def _is_pending(self, position: str) -> bool:
        client: Any = None if self._scripts is None else self._scripts.client
        return bool(client.xpending_range(self._names.input, self._names.group, position, position, 1))

    def _read(self) -> list[Entry]:
        names = self._names
        arguments: list[str | int] = [*self._held, names.group, names.consumer, self._batch, "new", self._last_id]
        answer = self._run("take", [names.lease, names.input], arguments)
        if not answer:
            return []
        found = answer[0][1]
        self._last_id = found[-1][0]
        return [self._entry(position, content) for position, content in found]

    def _wait(self) -> bool:
        """Whether something new has come before the wait is over."""
        client: Any = None if self._scripts is None else self._scripts.client
        return bool(client.xread({self._names.input: self._last_id}, count=1, block=self._block_ms))

    def _entry(self, position: str, content: Sequence[str]) -> Entry:
        return Entry(self._names.input, position, dict(zip(content[::2], content[1::2], strict=True)))

    def _check_slots(self) -> None:
        """A transaction of a cluster is about one slot.

        Raises:
            Misconfigured: If the streams are in several.
        """
        names = self._names
        if self._scripts is None or not isinstance(self._scripts.client, redis.RedisCluster):
            return
        streams = (names.input, names.output, names.dead_letters)
        if len({key_slot(name.encode()) for name in streams}) > 1:
            raise Misconfigured(
                f"this Redis is a cluster: the streams {', '.join(streams)} must share a hash tag, such as "
                "{orders}:in and {orders}:out"
            )

    def _failed(self, error: redis.RedisError) -> Lost | Misconfigured:
        reason = f"Redis: {error}"
        if str(error).startswith(_FATAL) or isinstance(error, (redis.AuthenticationError, NoPermissionError)):
            return Misconfigured(reason)
        return Lost(reason) if self._beaten else Misconfigured(reason)


def _parse(text: str) -> Number:
    sequence, _, stream = text.partition(" ")
    return Number(stream, int(sequence))
