"""Models and streams as files: written as they stand between two batches, read without trust, created whole or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from pydantic import ValidationError

from model import archive, archive_reading
from model.archive_reading import ModelContent
from model.belief import belief_dtype
from model.codec import DamagedRecord
from model.learner import Learner
from model.spec import ModelSpec
from model.tensors import TensorFile
from service import __version__, stream_copies
from service.engine import MAX_BATCH_BYTES, Engine
from service.engines import Engines
from service.errors import ArchiveTooLarge, InvalidArchive, ServiceError, UnknownStream
from service.model_record import ModelRecord
from service.schemas import ModelSpecIn, check_stream_name
from service.sizing import check_size
from service.store import NewStream, Partition
from service.turn import Turn

MAX_STREAMS_PER_WRITE = 500


async def export_model(engine: Engine, *, with_streams: bool, max_bytes: int) -> bytes:
    """A model's file; of its streams what they believe at the same moment, so nothing is learned while these are read.

    Args:
        engine: The model's.
        with_streams: Whether its streams go with it.
        max_bytes: Most that the file may take.

    Raises:
        ArchiveTooLarge: If it would take more.
        ServiceError: If a belief is damaged.
        LeaseLost: If another owner took the model; what is here is then not what it learned last.
        StoreUnavailable: If the store did not answer.
    """
    async with engine.between_batches() as turn:
        await turn.partition.confirm()
        spec = turn.learner.spec
        n_streams = await turn.partition.count_streams() if with_streams else 0
        at_least = 12 * turn.learner.network.layout.size + n_streams * belief_dtype(spec).itemsize
        if at_least > max_bytes:
            raise ArchiveTooLarge(at_least, max_bytes)
        learner = await engine.reader.compute.run(turn.learner.copy)  # its counts change with the next batch
        streams = await _load_all(turn) if with_streams else {}
    try:
        data = await engine.reader.compute.run(archive.pack_model, learner, engine.model, streams, __version__)
    except DamagedRecord as error:
        raise ServiceError(f"a stored belief is damaged: {error}") from error
    if len(data) > max_bytes:
        raise ArchiveTooLarge(len(data), max_bytes)
    return data


async def export_stream(engine: Engine, stream: str) -> bytes:
    """A stream's file.

    Raises:
        UnknownStream: If there is no such stream.
        ServiceError: If its belief is damaged.
        StoreUnavailable: If the store did not answer.
    """
    async with engine.between_batches() as turn:
        (stored,) = await turn.partition.load([stream])
        learner = copy(turn.learner)
    if stored is None:
        raise UnknownStream(engine.model, stream)
    try:
        return await engine.reader.compute.run(
            archive.pack_stream, learner, engine.model, stream, stored.belief, __version__
        )
    except DamagedRecord as error:
        raise ServiceError(f"the stored belief is damaged: {error}", stream=stream) from error


async def import_model(engines: Engines, model: str, data: bytes) -> ModelRecord:
    """Create a model from its file; it goes on where the one that was written stopped.

    Args:
        engines: Where it is created.
        model: Its name, whatever the file calls it.
        data: The file.

    Raises:
        InvalidArchive: If the bytes are not a model's file.
        ModelExists: If there is a model of that name.
        StoreUnavailable: If the store did not answer.
    """
    spec, content = await engines.reading.run(_read_model, data)

    async def fill(partition: Partition) -> None:
        write = partition.begin_anew if content.version else partition.save_weights
        await write(content.version, content.snapshot)
        for chunk in _chunks(spec, content):
            if await partition.copies.create(chunk, ttl_s=spec.ttl_s) is None:
                raise ServiceError("the store holds streams of a model that is not there")

    return await engines.create_filled(model, spec, fill)


async def import_stream(engine: Engine, stream: str, data: bytes) -> dict[str, Any]:
    """Create a stream from its file; return its summary.

    Args:
        engine: The model's; it need not be the one that the stream was of, but it must be like it.
        stream: Its name, whatever the file calls it.
        data: The file.

    Raises:
        InvalidArchive: If the bytes are not a stream's file, or the stream does not fit the model.
        StreamExists: If there is a stream of that name.
        Overloaded: If the model holds as many streams as it may.
        StoreUnavailable: If the store did not answer; whether it was created is then unknown.
    """
    file, spec = await engine.reader.compute.run(_open, data, archive.STREAM)
    async with engine.between_batches() as turn:
        belief = await engine.reader.compute.run(_read_stream, file, spec, copy(turn.learner))
        return await stream_copies.create(engine, turn, stream, belief)


async def _load_all(turn: Turn) -> dict[str, bytes]:
    """Every stream's belief, in the order of their names."""
    found: dict[str, bytes] = {}
    after = ""
    while names := await turn.partition.list_streams(after, turn.max_beliefs):
        stored = await turn.partition.load(names)
        found.update((name, s.belief) for name, s in zip(names, stored, strict=True) if s is not None)
        after = names[-1]
    return found


def _open(data: bytes, kind: str) -> tuple[TensorFile, ModelSpec]:
    """A file of this kind, and its spec."""
    with _named():
        file = TensorFile(data)
        archive_reading.check_format(file, kind)
        return file, _spec(file)


def _read_model(data: bytes) -> tuple[ModelSpec, ModelContent]:
    file, spec = _open(data, archive.MODEL)
    with _named():
        content = archive_reading.read_model(file, spec)
        for name in content.streams:
            check_stream_name(name)
    return spec, content


def _read_stream(file: TensorFile, spec: ModelSpec, learner: Learner) -> bytes:
    with _named():
        return archive_reading.read_stream(file, spec, learner.spec, learner.vocabulary)


@contextmanager
def _named() -> Iterator[None]:
    """Give what makes a file unusable its name."""
    try:
        yield
    except ValueError as error:
        raise InvalidArchive(f"the archive cannot be used: {error}") from error


def _spec(file: TensorFile) -> ModelSpec:
    """The file's spec, as strictly checked as one that a caller sends."""
    try:
        spec = ModelSpecIn.model_validate_json(file.text("spec")).to_spec()
        check_size(spec)
        return spec
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"its spec: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ValueError as error:
        raise ValueError(f"its spec: {error}") from error


def _chunks(spec: ModelSpec, content: ModelContent) -> Iterator[list[NewStream]]:
    """The streams, as many at a time as one write should hold."""
    n = max(1, min(MAX_STREAMS_PER_WRITE, MAX_BATCH_BYTES // belief_dtype(spec).itemsize))
    streams = [NewStream(name, content.sequences[name], belief) for name, belief in content.streams.items()]
    for first in range(0, len(streams), n):
        yield streams[first : first + n]
