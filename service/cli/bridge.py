"""``stepahead bridge``: entries of a message broker in, predictions out, each exactly once."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import wraps
from threading import Event
from types import FrameType
from typing import Any

import click

from model.spec import ModelSpec
from service.bridges.broker import Broker, Misconfigured
from service.bridges.loop import Bridge
from service.bridges.reading import Reading
from service.bridges.redis_streams import RedisStreams, StreamNames
from service.cli.transfer import address_options, errors_in_one_line
from stepahead import Client

KEPT_REPLIES = 64
CLIENT_TIMEOUT_S = 30.0
CLIENT_RETRIES = 2
"""Few: the bridge itself waits for a service that is away, and stays responsive meanwhile."""

_READING = ("stream", "stream_field", "time_field", "json_field", "names")


@click.group()
def bridge() -> None:
    """Feed a model from a message broker, and publish its predictions: each entry exactly once."""


def _names(_context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """A name and a value with ``=`` between them, any number of times, as a click callback."""
    names = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not (name and equals and place):
            raise click.BadParameter(f"{pair!r} is not {parameter.metavar}")
        names[name] = place
    return names


def bridge_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every bridge asks; the command gets ``batch``, ``begin``, ``block_ms``, ``consumer`` and ``start``."""

    @click.option("--model", required=True, metavar="NAME", help="Model that observes the entries; it must be there.")
    @address_options
    @click.option("--begin", type=click.Choice(["0", "$"]), default="0", show_default=True,
                  help="Where a new group begins: at the first entry there is, or with what comes.")  # fmt: skip
    @click.option("--consumer", metavar="NAME", help="This process in its group.  [default: host and process]")
    @click.option("--stream", metavar="NAME", help="Stepahead stream of all entries.  [default: each names its own]")
    @click.option("--stream-field", metavar="FIELD", help="Field of an entry that names its stepahead stream.  "
                  "[default: Kafka's key, else stream]")  # fmt: skip
    @click.option("--time-field", metavar="FIELD", help="Field of an entry that holds its time.  [default: none]")
    @click.option("--json-field", metavar="FIELD", help="Field that holds the others as a JSON object.")
    @click.option("--map", "names", multiple=True, metavar="FIELD=ENTRY_FIELD", callback=_names,
                  help="Where an entry has a model's field, if not under its name; may be repeated.")  # fmt: skip
    @click.option("--batch", type=click.IntRange(1, 4096), default=256, show_default=True, help="Most entries at once.")
    @click.option("--block", "block_s", type=click.FloatRange(0.01, 60), default=1.0, show_default=True,
                  help="Seconds to wait for new entries at a time.")  # fmt: skip
    @click.option("--kept-replies", type=click.IntRange(1), default=KEPT_REPLIES, show_default=True,
                  help="As the server's setting: most items of a stream under way.")  # fmt: skip
    @wraps(command)
    def with_bridge(**given: Any) -> None:
        if given["stream"] is not None and given["stream_field"] is not None:
            raise click.UsageError("give either --stream or --stream-field")
        reading = {name: given.pop(name) for name in _READING}
        model, url, api_key, per_stream = (given.pop(name) for name in ("model", "url", "api_key", "kept_replies"))
        consumer = given.pop("consumer") or f"{socket.gethostname()}-{os.getpid()}"

        def start(broker: Broker) -> None:
            run(broker, model, url, api_key, reading, per_stream)

        command(start=start, consumer=consumer, block_ms=round(1000 * given.pop("block_s")), **given)

    return with_bridge


@bridge.command("redis-streams")
@click.option("--broker", default="redis://127.0.0.1:6379", envvar="STEPAHEAD_BROKER_URL", show_default=True,
              help="Redis or Valkey with the streams; in a cluster they share a hash tag.")  # fmt: skip
@click.option("--input", "source", required=True, metavar="KEY", help="Stream of entries.")
@click.option("--output", required=True, metavar="KEY", help="Stream of predictions.")
@click.option("--dead-letters", metavar="KEY", help="Stream of refused entries.  [default: OUTPUT:dead-letters]")
@click.option("--group", default="stepahead", show_default=True, help="Consumer group; made where there is none.")
@click.option("--max-length", type=click.IntRange(1), metavar="N",
              help="About how many entries the output and the dead letters keep.  [default: all]")  # fmt: skip
@click.option("--lease", "lease_s", type=click.FloatRange(1, 3600), default=10.0, show_default=True,
              help="Seconds without a sign of life after which another consumer takes over.")  # fmt: skip
@bridge_options
def redis_streams(
    start: Callable[[Broker], None],
    broker: str,
    source: str,
    output: str,
    dead_letters: str | None,
    group: str,
    begin: str,
    max_length: int | None,
    lease_s: float,
    consumer: str,
    batch: int,
    block_ms: int,
) -> None:
    """Entries of a Redis stream in, predictions to another one."""
    dead = dead_letters or f"{output}:dead-letters"
    names = StreamNames(source, group, consumer, output, dead, begin, max_length)
    if len({source, output, dead}) < 3:
        raise click.UsageError("--input, --output and --dead-letters must be three streams")
    start(RedisStreams(broker, names, batch=batch, block_ms=block_ms, lease_ms=round(1000 * lease_s)))


@bridge.command()
@click.option("--broker", required=True, envvar="STEPAHEAD_BROKER_URL", metavar="HOST:PORT,...",
              help="Bootstrap servers.")  # fmt: skip
@click.option("--input", "source", required=True, metavar="TOPIC", help="Topic of entries: JSON objects.")
@click.option("--output", required=True, metavar="TOPIC", help="Topic of predictions.")
@click.option("--dead-letters", metavar="TOPIC", help="Topic of refused entries.  [default: OUTPUT.dead-letters]")
@click.option("--group", default="stepahead", show_default=True, help="Consumer group.")
@click.option("--changelog", metavar="TOPIC", help="Topic of each stream's last number, made where there is none.  "
              "[default: GROUP.INPUT.numbers]")  # fmt: skip
@click.option("--set", "properties", multiple=True, metavar="KEY=VALUE", callback=_names,
              help="A property of librdkafka, such as security.protocol=SSL; may be repeated.")  # fmt: skip
@bridge_options
def kafka(
    start: Callable[[Broker], None],
    broker: str,
    source: str,
    output: str,
    dead_letters: str | None,
    group: str,
    changelog: str | None,
    begin: str,
    properties: dict[str, str],
    consumer: str,
    batch: int,
    block_ms: int,
) -> None:
    """Entries of a Kafka topic in, predictions to another one."""
    try:
        from service.bridges.kafka import Kafka, Topics  # noqa: PLC0415 - optional
    except ImportError as error:
        raise click.ClickException('Kafka needs confluent-kafka: pip install "stepahead-server[kafka]"') from error
    dead = dead_letters or f"{output}.dead-letters"
    numbers = changelog or f"{group}.{source}.numbers"
    if len({source, output, dead, numbers}) < 4:
        raise click.UsageError("--input, --output, --dead-letters and --changelog must be four topics")
    offset = "earliest" if begin == "0" else "latest"
    topics = Topics(source, group, consumer, output, dead, numbers, offset)
    start(Kafka({"bootstrap.servers": broker, **properties}, topics, batch=batch, block_ms=block_ms))


def run(broker: Broker, model: str, url: str, api_key: str | None, reading: dict[str, Any], per_stream: int) -> None:
    """Run a bridge until SIGTERM or SIGINT.

    Raises:
        click.ClickException: In one line, if it cannot start, or cannot go on.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        with (
            errors_in_one_line(),
            Client(url, api_key=api_key, timeout=CLIENT_TIMEOUT_S, retries=CLIENT_RETRIES) as client,
        ):
            spec = ModelSpec.from_dict({"fields": client.model(model).info().spec["fields"]})
            _check_names(spec, reading["names"])
            work = Bridge(broker, client.model(model), Reading(spec, **reading), per_stream, stop)
            work.run()
    except Misconfigured as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{work.counts.predictions} predictions, {work.counts.refusals} refusals")


def _check_names(spec: ModelSpec, names: dict[str, str]) -> None:
    unknown = sorted(set(names) - {field.name for field in spec.fields})
    if unknown:
        raise click.ClickException(f"--map: the model has no field {', '.join(map(repr, unknown))}")
