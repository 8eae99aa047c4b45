"""Time to recover a model's weights from its redo log, as a Markdown table: ``python -m benchmarks.recovery``.

Each log is written to an embedded store of its own: real records of a model whose streams' windows are full, numbered
one after the other. Recovery is the service's own, from fresh weights, reading included. ``CPU s`` is what this process
computes, without the store's: what else runs on the machine counts little in it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

from model.belief import Beliefs
from model.items import Item
from model.learner import Learner
from model.redo import Redo
from model.spec import FieldSpec, ModelSpec
from service.compute import ComputeThread
from service.metrics import Metrics
from service.recovery import Recovery
from service.store import Partition, Store
from service.store.embedded import EmbeddedServer

SPECS = {"1 real": (FieldSpec("x"),), "257 values": (FieldSpec("c", "category", capacity=256),)}
N_KINDS = 16  # different records that a log is made of
TIMEOUT_S = 60.0


def make_items(spec: ModelSpec, n: int, source: np.random.Generator) -> list[Item]:
    """Noise, or letters, for ``n`` streams."""
    reals = source.normal(size=(n, len(spec.reals)))
    letters = source.integers(0, 256, (n, len(spec.categories)))
    return [Item(tuple(reals[i].tolist()), tuple(str(c) for c in letters[i])) for i in range(n)]


def warm(learner: Learner, n: int, source: np.random.Generator) -> Beliefs:
    """Beliefs of ``n`` streams whose windows are full."""
    beliefs = learner.fresh_beliefs(n)
    for _ in range(8):
        step = learner.step(beliefs, make_items(learner.spec, n, source))
        learner.adopt(step)
        beliefs = step.beliefs
    return beliefs


def make_records(spec: ModelSpec, n_streams: int) -> list[Redo]:
    """What a few batches of ``n_streams`` streams leave to be redone."""
    source = np.random.default_rng(0)
    learner = Learner(spec)
    beliefs = warm(learner, n_streams, source)
    found: list[Redo] = []
    while len(found) < N_KINDS:
        step = learner.step(beliefs, make_items(spec, n_streams, source))
        learner.adopt(step)
        beliefs = step.beliefs
        if step.redo is not None:
            found.append(Redo.decode(spec, step.redo))
    return found


async def write_log(partition: Partition, records: list[Redo], n_records: int, max_bytes: int) -> tuple[int, int]:
    """Commit up to ``n_records``, as long as they fit; return how many they are, and their bytes."""
    await partition.acquire()
    n_bytes = 0
    for version in range(1, n_records + 1):
        record = replace(records[version % len(records)], version=version).encode()
        if n_bytes + len(record) > max_bytes:
            return version - 1, n_bytes
        await partition.commit([], version=version, redo=[record], ttl_s=None)
        n_bytes += len(record)
    return n_records, n_bytes


async def measure(spec: ModelSpec, n_streams: int, n_records: int, max_bytes: int) -> tuple[int, int, float, float]:
    """How many records were redone, their bytes, and seconds that it took, on the clock and of computing."""
    compute = ComputeThread("learner", threads=1)
    with tempfile.TemporaryDirectory(prefix="stepahead-") as directory:
        server = EmbeddedServer(Path(directory))
        store = await Store.connect(await server.start(), timeout_s=TIMEOUT_S, kept_replies=1)
        try:
            partition = store.partition("m")
            written, n_bytes = await write_log(partition, make_records(spec, n_streams), n_records, max_bytes)
            start, start_cpu = time.perf_counter(), time.process_time()
            found = await Recovery(partition, compute, spec, Metrics().damaged_records).run()
            elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
            if found.n_redone != written:
                raise click.ClickException(f"redid {found.n_redone} of {written} records")
            return written, n_bytes, elapsed_s, cpu_s
        finally:
            await store.close()
            await server.stop()
            compute.close()


@click.command()
@click.option("--hidden", type=click.IntRange(1), default=64, show_default=True)
@click.option("--records", type=click.IntRange(1), default=10_000, show_default=True, help="Most records in a log.")
@click.option("--mb", type=click.IntRange(1), default=512, show_default=True, help="Largest log, in megabytes.")
@click.option("--batches", metavar="N,N", default="1,64,256", show_default=True, help="Streams per record.")
def main(hidden: int, records: int, mb: int, batches: str) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    click.echo("| fields | streams | records | MB | seconds | CPU s |")
    click.echo("|---|---:|---:|---:|---:|---:|")
    for name in ("1 real", "257 values"):
        for n in (int(part) for part in batches.split(",")):
            spec = ModelSpec(fields=SPECS[name], hidden=hidden)
            written, n_bytes, elapsed_s, cpu_s = asyncio.run(measure(spec, n, records, mb * 2**20))
            click.echo(f"| {name} | {n} | {written} | {n_bytes / 2**20:.1f} | {elapsed_s:.2f} | {cpu_s:.2f} |")


if __name__ == "__main__":
    main()
