"""Time of a learning step and of its parts, as a Markdown table: ``python -m benchmarks.learner``.

Each figure is ``torch / compiled``, microseconds for the whole batch: the same network with its compiled kernels
switched off and on, in turns, the fastest of many. ``eager`` is the gradient and the update in plain PyTorch:
``nn.LSTM`` over the same window, autograd, ``torch.optim.Adam``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import click
import numpy as np
import torch
from torch import nn

from model import examples, optimiser
from model.belief import Beliefs
from model.items import Item
from model.learner import Learner
from model.network import Example, Inputs
from model.spec import FieldSpec, ModelSpec

SPECS = {
    "1 real": (FieldSpec("x"),),
    "7 reals": tuple(FieldSpec(f"x{i}") for i in range(7)),
    "257 values": (FieldSpec("c", "category", capacity=256),),
}


@contextmanager
def torch_only() -> Iterator[None]:
    """Within it nothing is compiled but the experts."""
    with ExitStack() as stack:
        for module in ("optimiser", "correction", "compiled.network"):
            stack.enter_context(patch(f"model.{module}.serves", return_value=False))
        yield


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


def eager(learner: Learner, example: Example) -> Callable[[], None]:
    """Gradients and update of the same size in plain PyTorch."""
    spec, n_slots = learner.spec, sum(field.n_slots for field in learner.spec.categories)
    lstm = nn.LSTM(example.inputs.dense.shape[2] + n_slots, spec.hidden, batch_first=True)
    readout = nn.Linear(spec.hidden, len(spec.reals) + n_slots)
    adam = torch.optim.Adam([*lstm.parameters(), *readout.parameters()])

    def step() -> None:
        h, c = (example.start[:, :, part].transpose(0, 1).contiguous().requires_grad_() for part in (0, 1))
        slots = [nn.functional.one_hot(example.inputs.slots[..., 0], n_slots).float()] if n_slots else []
        outputs, _ = lstm(torch.cat([example.inputs.dense, *slots], 2), (h, c))
        read = readout(outputs[:, -1])
        if n_slots:
            loss = nn.functional.cross_entropy(read, example.target_slots[:, 0])
        else:
            loss = nn.functional.huber_loss(read, example.targets, delta=2.0)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(lstm.parameters(), 10.0)
        adam.step()

    return step


def fastest(call: Callable[[], object], budget_s: float) -> tuple[float, float]:
    """Least time of a call on torch's path and as it is, microseconds; they take turns until the budget is spent."""
    plain = compiled = np.inf
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end:
        with torch_only():
            plain = min(plain, *(timed(call) for _ in range(5)))
        compiled = min(compiled, *(timed(call) for _ in range(5)))
    return plain, compiled


def timed(call: Callable[[], object]) -> float:
    """Time that the thread computes for one call, microseconds; what else runs on the machine counts little."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e3


def measure(fields: tuple[FieldSpec, ...], hidden: int, cell: str, n: int, budget_s: float) -> list[str]:
    """The table's cells for one spec and batch size."""
    source = np.random.default_rng(0)
    spec = ModelSpec.from_dict(ModelSpec(fields=fields, hidden=hidden).to_dict() | {"cell": cell})
    learner = Learner(spec)
    beliefs, items = warm(learner, n, source), make_items(spec, n, source)
    targets, slots = source.normal(size=(n, len(spec.reals))), source.integers(0, 200, (n, len(spec.categories)))
    records = examples.example_records(spec, beliefs.records, targets, slots)
    example = examples.to_example(records, torch.device("cpu"))
    network, parameters = learner.network, learner.weights.parameters
    newest = Inputs(example.inputs.dense[:, -1:], example.inputs.slots[:, -1:])
    state = torch.from_numpy(beliefs.records["state"])

    with torch.no_grad():
        found = network.gradient(parameters, example, weights=True, initial=True)
        gradient = found.parameters
        if gradient is None:
            raise click.ClickException("nothing was observed")
        parts: list[Callable[[], object]] = [
            lambda: network.gradient(parameters, example, weights=True, initial=True),
            lambda: network.advance(parameters, state, newest),
            lambda: optimiser.update(learner.weights, gradient, 1e-3),
            lambda: learner.step(beliefs, items),
        ]
        times = [fastest(part, budget_s) for part in parts]
    reference = min(fastest(eager(learner, example), budget_s))
    return [*(f"{plain:.0f} / {compiled:.0f}" for plain, compiled in times), f"{reference:.0f}"]


@click.command()
@click.option("--hidden", type=click.IntRange(1), default=64, show_default=True)
@click.option("--cell", default="lstm", show_default=True)
@click.option("--batches", metavar="N,N", default="1,8,64,256", show_default=True, help="Streams per batch.")
@click.option("--budget-s", type=float, default=0.5, show_default=True, help="Time for each figure.")
def main(hidden: int, cell: str, batches: str, budget_s: float) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    click.echo("| fields | streams | gradient | advance | update | step | eager gradient and update |")
    click.echo("|---|---:|---:|---:|---:|---:|---:|")
    for name, fields in SPECS.items():
        for n in (int(part) for part in batches.split(",")):
            cells = measure(fields, hidden, cell, n, budget_s)
            click.echo(f"| {name} | {n} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
