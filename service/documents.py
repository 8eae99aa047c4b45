"""What the service answers, as schemas for the API's documentation; replies themselves are never built from these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_PREDICTION: dict[str, Any] = {
    "sequence": 18,
    "weights_version": 812,
    "fields": {
        "load": {"mean": 3.1, "std": 0.5, "quantiles": {"0.05": 2.3, "0.5": 3.1, "0.95": 4.0}},
        "state": {"top": "idle", "probabilities": {"idle": 0.9, "busy": 0.1}},
    },
}


_SCORE: dict[str, Any] = {
    "nll": 1.31,
    "anomaly": 0.12,
    "drift": {"drifting": False, "level": 0.04, "fields": []},
    "fields": {"load": {"error": 0.4, "crps": 0.21, "covered": True}, "state": {"nll": 0.22, "rank": 1}},
}


class RealScore(BaseModel):
    """How good the prediction of a real field was."""

    error: float = Field(description="Observed minus predicted mean, in the field's unit.")
    crps: float = Field(description="Continuous ranked probability score, in the field's unit; smaller is better.")
    covered: bool | None = Field(description="Whether the value lay between the outermost quantiles.")


class CategoryScore(BaseModel):
    """How good the prediction of a category was."""

    nll: float = Field(description="Negative log likelihood of the observed value, in nats.")
    rank: int = Field(description="The observed value's rank among the predicted ones; 1 if it was the most likely.")


class Drift(BaseModel):
    """Whether the stream's predictions have become worse than they used to be, lastingly; after this item."""

    drifting: bool = Field(description="Begins at `level` 1, ends once the level has stayed below .25 for 20 items.")
    level: float = Field(
        description="How near the nearest field is to drift: 0 for not at all, 1 for drift, at most 2."
    )
    fields: list[str] = Field(description="Those that drift.")


class StreamDrift(Drift):
    """The drift signal of a stream, and its past."""

    count: int = Field(description="How often drift began.")
    since: int | None = Field(description="The sequence at which the present drift began; `null` without one.")
    last: int | None = Field(description="The sequence at which the last drift began; `null` before any.")


class Score(BaseModel):
    """How good the prediction was that awaited this item, taken before anything was learned from it."""

    nll: float = Field(description="Negative log likelihood of the item, in nats.")
    anomaly: float = Field(description="The share of this stream's past items that were less surprising, 0 to 1.")
    drift: Drift
    fields: dict[str, RealScore | CategoryScore] = Field(description="By field; missing values have no score.")


class RealExpert(BaseModel):
    """What one expert said of a real field."""

    mean: float
    weight: float = Field(description="Its share in the mix; those of all experts add up to 1.")


class CategoryExpert(BaseModel):
    """What one expert said of a category."""

    weight: float = Field(description="Its share in the mix; those of all experts add up to 1.")
    top: str | None
    probabilities: dict[str, float]


class RealPrediction(BaseModel):
    """The distribution predicted for a real field."""

    mean: float
    std: float = Field(description="Standard deviation.")
    quantiles: dict[str, float] = Field(description="By level.")
    degrees_of_freedom: int | None = Field(
        None,
        description="Of Student's t with this mean and standard deviation. There only where it was sent instead of a "
        "normal distribution, and not beyond the next item.",
    )
    experts: dict[str, RealExpert] | None = Field(
        None, description="By name, `network` among them; there only with `experts=true`."
    )


class CategoryPrediction(BaseModel):
    """The distribution predicted for a category."""

    top: str | None = Field(description="The most likely value; `null` before any is known.")
    probabilities: dict[str, float] = Field(description="Of the most likely ten values.")
    experts: dict[str, CategoryExpert] | None = Field(
        None, description="By name, `network` among them; there only with `experts=true`."
    )


class Forecast(BaseModel):
    """One predicted item."""

    sequence: int = Field(description="The position of the predicted item.")
    fields: dict[str, RealPrediction | CategoryPrediction | None] = Field(
        description="By field; `null` for a real field that was never seen."
    )


class Prediction(Forecast):
    """The prediction of the next item."""

    weights_version: int = Field(description="Weight updates that had gone into it.")


class Reply(BaseModel):
    """The answer to one item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "site-7",
                    "sequence": 17,
                    "duplicate": False,
                    "score": _SCORE,
                    "prediction": _PREDICTION,
                }
            ]
        }
    )

    stream: str
    sequence: int = Field(description="The item's position in its stream, from 1.")
    duplicate: bool = Field(description="Whether the item had been applied before; nothing was learned again.")
    score: Score | None = Field(description="`null` for a stream's first item.")
    prediction: Prediction


class ErrorDetail(BaseModel):
    """What went wrong; some codes carry more, such as `expected` and `received` of `sequence_gap`."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(examples=["sequence_gap"])
    message: str = Field(description="For people.", examples=["stream 'site-7' expects item 17, got 19"])
    request_id: str = Field(description="Also in the `X-Request-ID` header and in the service's log.")
    retry_after_s: int | None = Field(
        default=None,
        description="Seconds after which the same call, or the same item of a request of many, may work; only with "
        "`overloaded`, `store_unavailable` and `draining`; of a whole request also as `Retry-After`.",
    )


class ErrorReply(BaseModel):
    """The answer to a call that failed."""

    error: ErrorDetail


class Results(BaseModel):
    """The answers to many items."""

    results: list[Reply | ErrorReply] = Field(description="One for each observation, in order.")


class Window(BaseModel):
    """How far a caller that does not wait for each answer may go ahead."""

    items: int = Field(description="Most items taken in from one connection before their answers are written.")
    per_stream: int = Field(description="Replies kept per stream: most items of one that may await their answers.")


class Sequences(BaseModel):
    """Where streams are."""

    sequences: dict[str, int] = Field(
        description="The last applied sequence of each stream; 0 where there is no such stream.",
        examples=[{"site-7": 17, "new": 0}],
    )
    window: Window


class ModelInfo(BaseModel):
    """A model."""

    name: str = Field(examples=["boiler"])
    spec: dict[str, Any] = Field(description="As it is now, all defaults filled in.")
    streams: int = Field(description="How many it has; one that has just expired may still be counted.")
    weights_version: int | None = Field(description="Weight updates so far; `null` until it is used after a start.")
    created_at: str = Field(examples=["2026-01-01T10:00:00Z"])


class Models(BaseModel):
    """All models, in the order of their names."""

    models: list[ModelInfo]


class Size(BaseModel):
    """What streams of a model take, in bytes where the name says so."""

    streams: int
    belief_bytes: int = Field(description="A belief as it is written.")
    reply_bytes: int = Field(description="A kept reply with its item, without what experts said.")
    kept_replies: int = Field(description="Replies kept per stream.")
    key_bytes: int = Field(description="What the store adds for a stream.")
    stream_bytes: int = Field(description="A stream that keeps all the replies it may, in the store.")
    streams_bytes: int = Field(description="All streams.")
    snapshot_bytes: int = Field(description="The saved weights, the current and the previous ones, at most.")
    redo_bytes: int = Field(description="The redo log, at most.")
    store_bytes: int = Field(description="All of it in the store's memory.")
    memory_bytes: int = Field(description="The model in the service's memory while it is in use, at most.")


class ModelSnapshotInfo(BaseModel):
    """A snapshot of all that a model has learned; where its description is damaged only `id` is known."""

    id: str = Field(examples=["5f0c9b1d2e3a4b6c"])
    name: str | None = Field(description="As it was given; `null` for none.", examples=["before the outage"])
    weights_version: int | None = Field(description="Weight updates that it holds.")
    bytes: int | None = Field(description="What it takes in the store.")
    created_at: str | None = Field(examples=["2026-01-01T10:00:00Z"])


class ModelSnapshots(BaseModel):
    """A model's snapshots, the newest first."""

    snapshots: list[ModelSnapshotInfo]


class StreamSummary(BaseModel):
    """Where a stream stands and how well it is predicted."""

    model_config = ConfigDict(extra="allow")

    stream: str
    sequence: int = Field(description="Of the last applied item.")
    items: int = Field(description="How many were applied.")
    weights_version: int = Field(description="Weight updates that had gone into its pending prediction.")
    drift: StreamDrift
    created_at: str = Field(
        description="When its first item was applied, or it was forked or imported.", examples=["2026-01-01T10:00:00Z"]
    )
    updated_at: str = Field(
        description="When its last item was applied, or it was last restored.", examples=["2026-01-01T10:05:00Z"]
    )


class Streams(BaseModel):
    """One page of streams, in the order of their names."""

    streams: list[StreamSummary]
    cursor: str | None = Field(description="Where the next page begins; `null` at the end.")


class StreamSnapshotInfo(BaseModel):
    """A snapshot of a stream; of a damaged one only `id` and `bytes` are known."""

    id: str = Field(description="Rises from snapshot to snapshot.", examples=["1"])
    name: str | None = Field(description="As it was given; `null` for none.", examples=["before the outage"])
    sequence: int | None = Field(description="Of the last item that it had seen.")
    created_at: str | None = Field(examples=["2026-01-01T10:00:00Z"])
    bytes: int = Field(description="What it takes in the store.")


class StreamSnapshots(BaseModel):
    """A stream's snapshots, the newest first."""

    snapshots: list[StreamSnapshotInfo]


class Forecasts(BaseModel):
    """Predictions of several items ahead."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "site-7",
                    "sequence": 18,
                    "steps": [{"sequence": 18, "fields": _PREDICTION["fields"]}],
                }
            ]
        }
    )

    stream: str
    sequence: int = Field(description="Of the first predicted item.")
    steps: list[Forecast]


Values = dict[str, float | str | None]
"""Of an item, by field; `null` where one was missing."""


class HistoryItem(BaseModel):
    """An item, what had been predicted, and how good that was."""

    sequence: int
    item: Values = Field(description="The observed values by field; `null` where one was missing.")
    timestamp: str | None = Field(description="When it was; `null` if that was not told.")
    prediction: Prediction | None = Field(
        description="That awaited this very item, without what experts said; `null` where it is not kept."
    )
    score: Score | None = Field(description="Of that prediction; `null` for a stream's first item.")


class History(BaseModel):
    """A stream's last items, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "site-7",
                    "sequence": 18,
                    "items": [
                        {
                            "sequence": 18,
                            "item": {"load": 3.2, "state": "busy"},
                            "timestamp": "2026-01-01T10:00:00Z",
                            "prediction": _PREDICTION,
                            "score": _SCORE,
                        }
                    ],
                }
            ]
        }
    )

    stream: str
    sequence: int = Field(description="Of the last applied item.")
    items: list[HistoryItem] = Field(description="Those that are kept; none right after a fork or an import.")


class BeliefView(BaseModel):
    """A belief, laid open; lists run over layers, then hidden units."""

    model_config = ConfigDict(extra="allow")

    stream: str
    sequence: int = Field(description="Of the last applied item.")
    hidden: list[list[float]] = Field(description="Hidden state.")
    cell: list[list[float]] | None = Field(description="Cell state; `null` for a cell that has none.")
    gates: dict[str, list[list[float]]] = Field(description="Gates of the last advance, by name.")
    correction: list[list[float]] = Field(description="What the last item's error added to the state.")
    correction_rates: list[list[float]] = Field(description="How far each unit follows its gradient.")
    correction_trust: float = Field(description="Share of the corrections' effect that the prediction takes, 0 to 1.")
    experts: dict[str, dict[str, Any]] = Field(
        description="For each field what each expert and the network say of the next item (`forecast`; of a category "
        "`top` and `probabilities`), and its share in the mix (`weight`)."
    )
    before: dict[str, Any] = Field(description="The item decoded from the belief as it was before the correction.")
    after: dict[str, Any] = Field(description="The item decoded from the corrected belief.")


class Health(BaseModel):
    """The service answers."""

    status: str = Field(examples=["ok"])
