"""The learner against deep-river's LSTM regressor on one series.

deep-river asks for older releases of torch and river than the project has. ``make bench`` puts it and its river into a
folder of their own, which only the process that measures it looks into; there it runs on the project's torch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle, pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from service.bench.learner import SPEC, Alone, one_thread, rate
from service.bench.plan import Plan
from service.bench.turns import Comparison, Tell, in_turns

FOLDER = Path(sys.prefix) / "deep-river"
WINDOW = 10

_WARM_STEPS = 20
_steps: dict[str, Callable[[], object]] = {}  # of the process that measures deep-river


def against_deep_river(plan: Plan, tell: Tell) -> list[Comparison]:
    """Items a second of one series and of 64, against predict and learn of deep-river's LSTM regressor."""
    found = []
    wide = replace(SPEC, window=WINDOW)
    with ProcessPoolExecutor(1, get_context("spawn"), _look_into, (str(FOLDER),)) as pool:
        for n, spec, target in ((1, SPEC, 10.0), (64, SPEC, 60.0), (1, wide, None), (64, wide, None)):
            row = Comparison(
                f"deep-river-{n}-window-{spec.window}",
                f"learner, {n} series, window {spec.window}",
                f"deep-river's LSTM, one series, window {WINDOW}, predict and learn",
                "items/s",
                target=target,
            )
            if not (FOLDER / "deep_river").is_dir():
                found.append(replace(row, skipped=f"deep-river is not in {FOLDER}: make bench puts it there"))
                continue
            tell(f"deep-river, {n} series of ours, window {spec.window}")
            alone = Alone(n, spec)
            mine, others = in_turns(
                partial(alone.rate, plan.turn_s, time.thread_time),
                lambda: pool.submit(theirs, plan.turn_s).result(),
                plan.rounds,
                tell,
            )
            found.append(replace(row, ours=tuple(mine), theirs=tuple(others)))
    return found


def theirs(seconds: float) -> float:
    """Steps a second of deep-river, over so many seconds of this thread."""
    with one_thread():
        if "step" not in _steps:
            _steps["step"] = _step()
            for _ in range(_WARM_STEPS):
                _steps["step"]()
        return rate(_steps["step"], seconds, time.thread_time)


def _step() -> Callable[[], object]:
    """Predict and learn of the next item of a series."""
    from deep_river.regression.zoo import LSTMRegressor  # noqa: PLC0415 - only the process that looks there finds it

    network = LSTMRegressor(n_features=1, hidden_size=SPEC.hidden, window_size=WINDOW)
    values = np.random.default_rng(0).normal(size=1001).tolist()
    pairs = cycle([({"x": x}, y) for x, y in pairwise(values)])

    def step() -> None:
        x, y = next(pairs)
        network.predict_one(x)
        network.learn_one(x, y)

    return step


def _look_into(folder: str) -> None:
    sys.path.insert(0, folder)
