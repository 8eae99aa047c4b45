"""Scores, predictions and what else comes inside of answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from stepahead.types import (
    CategoryExpert,
    CategoryPrediction,
    CategoryScore,
    Drift,
    FieldPrediction,
    Prediction,
    RealExpert,
    RealPrediction,
    RealScore,
    Score,
)

T = TypeVar("T")

_DECIMALS = re.compile(r"\.\d+")


def score(data: Mapping[str, Any]) -> Score:
    """How good a prediction was."""
    fields: dict[str, RealScore | CategoryScore] = {}
    for name, entry in (data.get("fields") or {}).items():
        if entry is None:
            continue
        if entry.get("error") is not None:
            fields[name] = RealScore(float(entry["error"]), optional(float, entry.get("crps")), entry.get("covered"))
        elif entry.get("nll") is not None:
            fields[name] = CategoryScore(float(entry["nll"]), optional(int, entry.get("rank")))
    nll, anomaly = (optional(float, data.get(name)) for name in ("nll", "anomaly"))
    return Score(nll, anomaly, fields, optional(drift, data.get("drift")))


def drift(data: Mapping[str, Any]) -> Drift:
    """Whether a stream drifts."""
    return Drift(
        drifting=bool(data["drifting"]),
        level=optional(float, data.get("level")),
        fields=tuple(data.get("fields") or ()),
        **{name: optional(int, data.get(name)) for name in ("count", "since", "last")},
    )


def prediction(data: Mapping[str, Any], weights_version: int | None = None) -> Prediction:
    """The prediction of one item; ``weights_version`` where it does not say itself."""
    fields: dict[str, FieldPrediction] = {}
    for name, entry in data["fields"].items():
        if entry is None:
            continue
        if "probabilities" in entry:
            said = {
                expert: CategoryExpert(float(e["weight"]), e.get("top"), dict(e["probabilities"]))
                for expert, e in (entry.get("experts") or {}).items()
            }
            fields[name] = CategoryPrediction(entry.get("top"), dict(entry["probabilities"]), said)
        elif entry.get("mean") is not None:
            quantiles = {float(level): float(value) for level, value in (entry.get("quantiles") or {}).items()}
            by = {
                expert: RealExpert(float(e["mean"]), float(e["weight"]))
                for expert, e in (entry.get("experts") or {}).items()
            }
            fields[name] = RealPrediction(
                float(entry["mean"]),
                optional(float, entry.get("std")),
                quantiles,
                optional(int, entry.get("degrees_of_freedom")),
                by,
            )
    return Prediction(int(data["sequence"]), optional(int, data.get("weights_version", weights_version)), fields)


def optional(convert: Callable[[Any], T], value: Any) -> T | None:
    """The value converted; ``None`` for ``None``."""
    return None if value is None else convert(value)


def time(value: str) -> datetime:
    """A time in ISO 8601, as the service writes it."""
    # Python 3.10 reads neither the Z nor any number of decimals.
    return datetime.fromisoformat(_DECIMALS.sub(lambda found: f"{found[0]:0<7}"[:7], value.replace("Z", "+00:00")))
