"""Client of stepahead, the service that predicts the next item of every stream it is fed and learns from each.

>>> from stepahead import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     stream = client.create_model("boiler", fields={"temperature": "real"}).stream("site-7")
...     reply = stream.observe(temperature=61.5)
...     print(reply.prediction["temperature"].mean)
"""

from stepahead.aio import AsyncClient, AsyncModel, AsyncStream
from stepahead.client import Client, Model, Stream
from stepahead.errors import (
    BadAnswer,
    BodyTooLarge,
    Draining,
    InvalidItem,
    InvalidRequest,
    InvalidSpec,
    ModelExists,
    NoAnswer,
    Overloaded,
    SequenceError,
    SequenceGap,
    SequenceStale,
    SequenceTaken,
    StepaheadError,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    UnknownModel,
    UnknownStream,
)
from stepahead.types import (
    Belief,
    CategoryExpert,
    CategoryPrediction,
    CategoryScore,
    Drift,
    FieldSummary,
    Forecast,
    ModelInfo,
    Prediction,
    RealExpert,
    RealPrediction,
    RealScore,
    Reply,
    Score,
    StreamSummary,
)

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncModel",
    "AsyncStream",
    "BadAnswer",
    "Belief",
    "BodyTooLarge",
    "CategoryExpert",
    "CategoryPrediction",
    "CategoryScore",
    "Client",
    "Draining",
    "Drift",
    "FieldSummary",
    "Forecast",
    "InvalidItem",
    "InvalidRequest",
    "InvalidSpec",
    "Model",
    "ModelExists",
    "ModelInfo",
    "NoAnswer",
    "Overloaded",
    "Prediction",
    "RealExpert",
    "RealPrediction",
    "RealScore",
    "Reply",
    "Score",
    "SequenceError",
    "SequenceGap",
    "SequenceStale",
    "SequenceTaken",
    "StepaheadError",
    "StoreUnavailable",
    "Stream",
    "StreamSummary",
    "Unauthorized",
    "Unavailable",
    "UnknownModel",
    "UnknownStream",
]
