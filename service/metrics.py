"""All instruments and their buckets."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.errors import ServiceError

REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PHASE_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LASTING = ("websocket", "ndjson")
DAMAGED = ("snapshot", "redo", "missing")
BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """The instruments of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.items = Counter("stepahead_items_total", "Items learned.", registry=registry)
        self.duplicates = Counter(
            "stepahead_duplicates_total", "Resends answered from kept replies.", registry=registry
        )
        self.errors = Counter("stepahead_errors_total", "Errors given to callers.", ["code"], registry=registry)
        self.requests = Histogram(
            "stepahead_request_seconds", "Requests and how long their answer took.",
            ["method", "route", "status"], buckets=REQUEST_S, registry=registry,
        )  # fmt: skip
        self._requests: dict[tuple[str, str, int], Histogram] = {}  # its parts, found once: a look takes microseconds
        self.batch_size = Histogram(
            "stepahead_batch_items", "Items in a micro-batch.", buckets=BATCH, registry=registry
        )
        self.queued = self._phase("queue", "From acceptance to the micro-batch.")
        self.load = self._phase("load", "Reading the beliefs of a group that are not in memory.")
        self.step = self._phase("step", "Scoring, learning and predicting for a micro-batch.")
        self.commit = self._phase("commit", "Making a group of micro-batches durable.")
        self.rounds = Histogram(
            "stepahead_group_batches", "Micro-batches in a commit.", buckets=BATCH, registry=registry
        )
        self.cache_hits = Counter(
            "stepahead_belief_cache_hits_total", "Beliefs that were in memory when an item came.", registry=registry
        )
        self.cache_misses = Counter(
            "stepahead_belief_cache_misses_total", "Beliefs that were read from the store, new streams' included.",
            registry=registry,
        )  # fmt: skip
        self.cache_bytes = Gauge(
            "stepahead_belief_cache_bytes", "Memory of the beliefs that are kept in it, nearly.", registry=registry
        )
        self.queue_depth = Gauge("stepahead_queue_items", "Items waiting.", ["model"], registry=registry)
        self.weights_version = Gauge(
            "stepahead_weights_version", "Weight updates so far.", ["model"], registry=registry
        )
        self.drifts = Counter(
            "stepahead_drifts_total", "Times that a stream began to drift.", ["model"], registry=registry
        )
        self.damaged_records = Counter(
            "stepahead_damaged_records_total",
            "Stored records of weights that could not be read: snapshot, redo, or missing from the redo log.",
            ["kind"], registry=registry,
        )  # fmt: skip
        for kind in DAMAGED:
            self.damaged_records.labels(kind)  # there from the start, at 0
        self.models = Gauge("stepahead_models", "Models open in this process.", registry=registry)
        self.event_readers = Gauge("stepahead_event_readers", "Connections that follow events.", registry=registry)

        self.conversations = Gauge(
            "stepahead_lasting_connections", "Lasting connections that are open.", ["kind"], registry=registry
        )
        self.unanswered = Gauge(
            "stepahead_unanswered_items",
            "Items taken in over lasting connections whose answers are not written yet.",
            ["kind"], registry=registry,
        )  # fmt: skip
        self.frames = Counter(
            "stepahead_frames_total", "Frames taken in over lasting connections.", ["kind"], registry=registry
        )
        self.closes = Counter(
            "stepahead_closes_total",
            "Ends of lasting connections: normal, gone without a word, or of an error by its code.",
            ["kind", "code"], registry=registry,
        )  # fmt: skip
        for kind in LASTING:
            self.conversations.labels(kind)  # there from the start, at 0
            self.unanswered.labels(kind)
            self.frames.labels(kind)

    def observe_request(self, method: str, route: str, status: int, taken_s: float) -> None:
        """Count a request and how long its answer took.

        Args:
            method: One of those there are, or ``other``.
            route: The path's format.
            status: Of the answer; 0 where none began.
            taken_s: Seconds.
        """
        key = method, route, status
        instrument = self._requests.get(key)
        if instrument is None:
            instrument = self._requests[key] = self.requests.labels(method, route, status or "aborted")
        instrument.observe(taken_s)

    def forget(self, model: str) -> None:
        """Drop what is labelled with a model that was closed."""
        for instrument in (self.queue_depth, self.weights_version, self.drifts):
            instrument.remove(model)

    def count_errors(self, answers: Iterable[object]) -> None:
        """Count those answers that are errors, by code."""
        for answer in answers:
            if isinstance(answer, ServiceError):
                self.errors.labels(answer.code).inc()

    def render(self) -> bytes:
        """All of it in the Prometheus text format."""
        return generate_latest(self.registry)

    def _phase(self, name: str, what: str) -> Histogram:
        return Histogram(f"stepahead_{name}_seconds", what, buckets=PHASE_S, registry=self.registry)
