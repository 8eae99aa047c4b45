"""The drift signal of the default learner, as Markdown tables: ``python -m benchmarks.drift``.

Synthetic kinds are eight streams that share one model, of 3,500 items each; where they change they do so at item 2,500.
Alarms are drifts that began where nothing had changed.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sets import PROTOCOL_OF_REALS, is_there, path_of
from model import drift
from model.items import Item, parse_item
from model.learner import Learner
from model.spec import FieldSpec, ModelSpec
from service.cli.table import read_table

Floats = NDArray[np.float64]
N_STREAMS, N_ITEMS, CHANGE = 8, 3_500, 2_500
SYMBOLS = tuple("abcdef")
AFTER = (np.arange(N_ITEMS) >= CHANGE)[:, None]
SHAPE = (N_ITEMS, N_STREAMS)


def autoregressive(share: float, noise: Floats) -> Floats:
    """Each value a share of the one before, and noise."""
    values = np.zeros(SHAPE)
    for i in range(1, N_ITEMS):
        values[i] = share * values[i - 1] + noise[i]
    return values


def seasonal(source: np.random.Generator, period: int | Floats) -> Floats:
    """A wave of amplitude 5 in slow noise."""
    phase = np.cumsum(np.broadcast_to(1 / np.asarray(period), (N_ITEMS, 1)), 0) + source.random(N_STREAMS)
    return 5 * np.sin(2 * np.pi * phase) + 0.3 * autoregressive(0.9, source.standard_normal(SHAPE))


def garch(source: np.random.Generator) -> Floats:
    """Noise whose volatility wanders."""
    values, variance = np.zeros(SHAPE), np.ones(N_STREAMS)
    for i in range(1, N_ITEMS):
        variance = 0.02 + 0.1 * values[i - 1] ** 2 + 0.88 * variance
        values[i] = np.sqrt(variance) * source.standard_normal(N_STREAMS)
    return values


def daily(source: np.random.Generator) -> Floats:
    """Slow values whose noise swings by a factor of seven over 96 items."""
    size = np.exp(np.sin(2 * np.pi * (np.arange(N_ITEMS)[:, None] / 96 + source.random(N_STREAMS))))
    return autoregressive(0.8, size * source.standard_normal(SHAPE))


def spiky(source: np.random.Generator) -> Floats:
    """Student's t with 2 degrees of freedom, and every 500 items a spike."""
    return np.asarray(source.standard_t(2, SHAPE) + 100.0 * (np.arange(N_ITEMS) % 500 == 0)[:, None])


def chain(source: np.random.Generator, *, changes: bool) -> Floats:
    """Symbols of a Markov chain, perhaps of another one after the change."""
    matrices = np.cumsum(np.random.default_rng(1).dirichlet(np.full(len(SYMBOLS), 0.3), (2, len(SYMBOLS))), -1)
    values = np.zeros(SHAPE)
    for i in range(1, N_ITEMS):
        rows = matrices[int(changes and i >= CHANGE)][values[i - 1].astype(int)]
        values[i] = np.minimum((rows < source.random(N_STREAMS)[:, None]).sum(1), len(SYMBOLS) - 1)
    return values


KINDS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "white noise": lambda source: source.standard_normal(SHAPE),
    "AR(1)": lambda source: autoregressive(0.9, source.standard_normal(SHAPE)),
    "season of 24": lambda source: seasonal(source, 24),
    "Student t, 3 degrees of freedom": lambda source: source.standard_t(3, SHAPE),
    "Student t, 2 degrees of freedom, spikes": spiky,
    "noise with a day of 96": daily,
    "GARCH(1, 1), .10 and .88": garch,
    "Poisson counts": lambda source: source.poisson(2, SHAPE).astype(float),
    "Markov chain": lambda source: chain(source, changes=False),
}
CHANGES: dict[str, Callable[[np.random.Generator], Floats]] = {
    "variance times 4, white noise": lambda source: source.standard_normal(SHAPE) * (1 + AFTER),
    "variance times 4, AR(1)": lambda source: autoregressive(0.9, source.standard_normal(SHAPE) * (1 + AFTER)),
    "variance times 4, random walk": lambda source: np.cumsum(source.standard_normal(SHAPE) * (1 + AFTER), 0),
    "Poisson counts, mean 2 to 8": lambda source: source.poisson(2 + 6.0 * np.broadcast_to(AFTER, SHAPE)).astype(float),
    "another Markov matrix": lambda source: chain(source, changes=True),
    "mean by 4 deviations, white noise": lambda source: source.standard_normal(SHAPE) + 4.0 * AFTER,
    "season of 24 to one of 37": lambda source: seasonal(source, np.where(AFTER, 37.0, 24.0)),
}


def follow(learner: Learner, items: list[list[Item]]) -> tuple[list[list[int]], list[list[int]]]:
    """Feed items (T, B); per stream the items, from 0, at which drift began and ended."""
    beliefs = learner.fresh_beliefs(len(items[0]))
    began: list[list[int]] = [[] for _ in items[0]]
    ended: list[list[int]] = [[] for _ in items[0]]
    was = np.zeros(len(beliefs), bool)
    for t, row in enumerate(items):
        step = learner.step(beliefs, row)
        learner.adopt(step)
        beliefs = step.beliefs
        now = drift.which_drift(beliefs.records["drift"]).any(1)
        for b in np.flatnonzero(now != was):
            (began if now[b] else ended)[b].append(t)
        was = now
    return began, ended


def synthetic(name: str, make: Callable[[np.random.Generator], Floats]) -> tuple[list[list[int]], list[list[int]]]:
    """Follow streams of one kind."""
    values = make(np.random.default_rng(7))
    if "Markov" in name:
        learner = Learner(ModelSpec(fields=(FieldSpec("symbol", "category", SYMBOLS),)))
        return follow(learner, [[Item((), (SYMBOLS[int(v)],)) for v in row] for row in values])
    learner = Learner(ModelSpec(fields=(FieldSpec("value"),)))
    return follow(learner, [[Item((float(v),), ()) for v in row] for row in values])


@click.command()
@click.option("--only", metavar="NAME", multiple=True, help="A kind, change or series to run.  [default: all]")
def main(only: tuple[str, ...]) -> None:
    """Print the tables."""
    torch.set_num_threads(1)

    def is_chosen(name: str) -> bool:
        return not only or name in only

    click.echo("| stationary | items | alarms | per 10,000 |\n|---|---:|---:|---:|")
    for name, make in KINDS.items():
        if is_chosen(name):
            n = sum(len(stream) for stream in synthetic(name, make)[0])
            click.echo(f"| {name} | {N_ITEMS * N_STREAMS} | {n} | {1e4 * n / (N_ITEMS * N_STREAMS):.2f} |")
    click.echo(
        "\n| change | told | median delay | longest | median duration | alarms before |\n|---|---|---:|---:|---:|---:|"
    )
    for name, make in CHANGES.items():
        if is_chosen(name):
            began, ended = synthetic(name, make)
            found = [
                (b, min(t for t in stream if t >= CHANGE))
                for b, stream in enumerate(began)
                if max([-1, *stream]) >= CHANGE
            ]
            delays = [t - CHANGE for _, t in found] or [np.nan]
            lasted = [min([e for e in ended[b] if e > t], default=N_ITEMS) - t for b, t in found] or [np.nan]
            n_before = sum(t < CHANGE for stream in began for t in stream)
            numbers = f"{np.median(delays):.0f} | {max(delays):.0f} | {np.median(lasted):.0f} | {n_before}"
            click.echo(f"| {name} | {len(found)} of {N_STREAMS} | {numbers} |")
    click.echo("\n| series | items | drift began at row | ended |\n|---|---:|---|---|")
    for name in PROTOCOL_OF_REALS:
        if is_chosen(name) and is_there(name):
            table = read_table(path_of(name))
            learner = Learner(ModelSpec(fields=table.fields))
            items = [[parse_item(learner.spec, row.item, row.timestamp_us)] for row in table.rows()]
            (began,), (ended,) = follow(learner, items)
            click.echo(f"| {name} | {len(items)} | {began or 'never'} | {ended or ''} |")


if __name__ == "__main__":
    main()
