"""Runs as jobs, one after the other or in worker processes; results do not depend on which."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from service.evaluation.outcome import Outcome
from service.evaluation.runs import Asked, Tell
from service.evaluation.series import Series

_POLL_S = 0.2


class Method(Protocol):
    """Anything that can say what comes next: a variant of the learner, or a baseline."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def run(self, series: Series, asked: Asked, seed: int, tell: Tell) -> Outcome:
        """Go through a series, test then train; the rows done are told as they are done."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One method on one series under one seed.

    Args:
        at: Which of the series.
        method: What runs.
        seed: Of the network and of what disturbs the series.
    """

    at: int
    method: Method
    seed: int


Notify = Callable[[Job, int, str], None]
"""Called with a job, the rows that it has done since the last call and how it stands."""


def run_job(series: Series, job: Job, asked: Asked, tell: Tell) -> Outcome:
    """Run one job; ``series`` is as it was read."""
    seen = series.until(asked.rows.last).disturbed(asked.noise, asked.missing, job.seed)
    return job.method.run(seen, asked, job.seed, tell)


def run_jobs(
    series: Sequence[Series], jobs: Sequence[Job], asked: Asked, n_workers: int, notify: Notify
) -> list[Outcome]:
    """Run all jobs.

    Args:
        series: What the jobs' ``at`` points into.
        jobs: In any order.
        asked: What they have in common.
        n_workers: Processes; with 1 everything runs in this one.
        notify: Called in this process.

    Returns:
        Outcomes in the order of ``jobs``.
    """
    if n_workers <= 1 or len(jobs) <= 1:
        return [run_job(series[job.at], job, asked, partial(notify, job)) for job in jobs]
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with context.Manager() as manager:
        told = manager.Queue()
        with ProcessPoolExecutor(min(n_workers, len(jobs)), context, _begin_worker, (told,)) as pool:
            try:
                running = {pool.submit(_work, series[job.at], job, asked, i) for i, job in enumerate(jobs)}
                everything, pending = list(running), running
                found: dict[int, Outcome] = {}
                while pending:
                    done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                    found.update(one.result() for one in done)
                    _drain(told, jobs, notify)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return [found[i] for i in range(len(everything))]


def _drain(told: queue.Queue[tuple[int, int, str]], jobs: Sequence[Job], notify: Notify) -> None:
    while True:
        try:
            i, rows, text = told.get_nowait()
        except queue.Empty:
            return
        notify(jobs[i], rows, text)


_TOLD: list[queue.Queue[tuple[int, int, str]]] = []  # of a worker process; a queue cannot travel with a job


def _begin_worker(told: queue.Queue[tuple[int, int, str]]) -> None:
    torch.set_num_threads(1)
    _TOLD.append(told)


def _work(series: Series, job: Job, asked: Asked, i: int) -> tuple[int, Outcome]:
    return i, run_job(series, job, asked, lambda rows, text: _TOLD[0].put((i, rows, text)))
