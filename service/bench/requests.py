"""Bodies of requests: noise for streams, made before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import orjson

MODEL = "bench"
FRAME_ITEMS = 64
IN_FLIGHT = 16
"""Frames under way: as many as the service takes in from one connection before it has answered them."""

N_REQUESTS = 64
"""Different ones that are made for a connection, which sends them in turn."""

SOCKET_PATH = f"/v1/models/{MODEL}/socket"
LINES_PATH = f"/v1/models/{MODEL}/observations"


def item_path(stream: str, model: str = MODEL) -> str:
    """Where one item of a stream is sent to."""
    return f"/v1/models/{model}/streams/{stream}/observations"


def item_bodies(n: int = N_REQUESTS, seed: int = 0) -> list[bytes]:
    """Items of one stream."""
    return [orjson.dumps({"item": {"x": value}}) for value in _values(n, seed)]


def frame(streams: Sequence[str], values: Iterable[float]) -> bytes:
    """An item of each of these streams."""
    pairs = zip(streams, values, strict=True)
    return orjson.dumps({"observations": [{"stream": name, "item": {"x": value}} for name, value in pairs]})


def frames(streams: Sequence[str], n: int = N_REQUESTS, seed: int = 0) -> list[bytes]:
    """Frames with an item of each of these streams."""
    values = np.array(_values(n * len(streams), seed)).reshape(n, -1).tolist()
    return [frame(streams, row) for row in values]


def names(n: int) -> list[str]:
    """Names of streams."""
    return [f"s{i}" for i in range(n)]


def _values(n: int, seed: int) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(size=n).round(4)]
