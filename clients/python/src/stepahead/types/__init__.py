"""What the service answers, as frozen records; keys that a newer server adds are ignored."""

from stepahead.types.beliefs import Belief
from stepahead.types.models import ModelInfo, Size, Snapshot
from stepahead.types.predictions import (
    CategoryExpert,
    CategoryPrediction,
    FieldPrediction,
    Forecast,
    Prediction,
    RealExpert,
    RealPrediction,
)
from stepahead.types.replies import Event, HistoryEntry, Missed, Reply
from stepahead.types.scores import CategoryScore, Drift, RealScore, Score
from stepahead.types.streams import FieldSummary, StreamSummary

__all__ = [
    "Belief",
    "CategoryExpert",
    "CategoryPrediction",
    "CategoryScore",
    "Drift",
    "Event",
    "FieldPrediction",
    "FieldSummary",
    "Forecast",
    "HistoryEntry",
    "Missed",
    "ModelInfo",
    "Prediction",
    "RealExpert",
    "RealPrediction",
    "RealScore",
    "Reply",
    "Score",
    "Size",
    "Snapshot",
    "StreamSummary",
]
