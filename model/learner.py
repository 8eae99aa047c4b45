"""The learner of a model: score, correct, advance, predict. The one step of service, evaluation and tests."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model import (
    codec,
    correction,
    examples,
    experts,
    ngrams,
    optimiser,
    snapshot,
    statistics,
    window,
)
from model.belief import Beliefs
from model.compiled.loss import nats
from model.device import network_on
from model.items import Item, Items, Vocabulary
from model.network import Example, Gradient, Network
from model.ngrams import Counts
from model.optimiser import Weights
from model.prediction import Predictor
from model.redo import Redo
from model.reply_form import ReplyForm
from model.scoring import Scores
from model.spec import LearnSpec, ModelSpec
from model.step import Observed, Step

Floats = NDArray[np.float64]


class Learner:
    """Shared weights and vocabulary of one model; beliefs are the caller's.

    Args:
        spec: The model's.
        weights: ``None`` for fresh ones from the spec's seed.
        vocabulary: ``None`` for what the spec names.
        version: Counts the changes of weights, vocabulary and counts.
        counts: ``None`` for those of nothing; not used where the spec has none.
        correction_rate: Share of the full step that every correction takes; ``None``, as in the service, for what each
            stream learns.
        device: Where the network computes, see :func:`model.device.network_on`. What is stored does not depend on it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights | None = None,
        vocabulary: Vocabulary | None = None,
        version: int = 0,
        counts: Counts | None = None,
        correction_rate: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.spec = spec
        self.device = device
        self.network: Network = network_on(spec, device)
        self._predictor = Predictor(spec)
        self.weights = self.network.place(weights or Weights.around(self.network.layout.fresh(spec.seed)))
        self.vocabulary = vocabulary or Vocabulary(spec)
        self.version = version
        self.correction_rate = correction_rate
        self.counts = (counts or Counts.fresh(spec)) if spec.has_ngrams else None
        self.n_refused = 0
        self.form = ReplyForm(spec)
        self._learn = spec.learn

    def with_spec(self, spec: ModelSpec) -> Learner:
        """The same weights and counts under a spec that differs in what may change while a model runs.

        What either learner learns from then on the other does not know. May be called while another thread adopts.
        """
        counts = None if self.counts is None else self.counts.copy()
        learner = Learner(spec, self.weights, self.vocabulary, self.version, counts, self.correction_rate, self.device)
        learner.n_refused = self.n_refused
        return learner

    def copy(self) -> Learner:
        """The same weights and counts under the same spec; otherwise as :meth:`with_spec`."""
        learner = copy(self)
        learner.counts = None if self.counts is None else self.counts.copy()
        return learner

    def frozen(self) -> Learner:
        """The same weights, and nothing learns: an item only advances the belief."""
        learner = self.copy()
        learner._learn = LearnSpec(weights=False, state=False, initial_state=False)
        return learner

    def fresh_beliefs(self, n: int) -> Beliefs:
        """Beliefs of ``n`` new streams."""
        return Beliefs.fresh(self.spec, n)

    def decode_beliefs(self, encoded: Sequence[bytes | None]) -> Beliefs:
        """Beliefs from bytes; ``None`` stands for a new stream.

        Raises:
            DamagedRecord: If bytes are not a belief of this model.
        """
        return Beliefs.decode(self.spec, encoded)

    def step(self, beliefs: Beliefs, items: Items | Sequence[Item]) -> Step:
        """Score, correct weights and beliefs, advance, predict.

        Changes neither the learner nor ``beliefs``: call :meth:`adopt` once the step is to hold.

        Args:
            beliefs: One per stream, each stream once.
            items: The next item of each.

        Raises:
            ValueError: If there are not as many items as beliefs, or none.
        """
        if len(items) != len(beliefs) or not len(items):
            raise ValueError(f"{len(beliefs)} beliefs and {len(items)} items")
        if not isinstance(items, Items):
            items = Items.of(self.spec, items)
        novel = self.vocabulary.novel(items)
        vocabulary = self.vocabulary.grown(novel)
        before = beliefs.records
        observed = self._columns(items, vocabulary, before["n_known"])
        scores, targets, stand_in = statistics.judge(
            before, observed, self._predictor.bounds, mixed=self.spec.has_experts
        )
        example_records = examples.example_records(before, targets, observed.slots)
        example = examples.to_example(example_records)
        learn = self._learn
        gradient = self.network.gradient(self.weights.flat, example, weights=learn.weights, initial=learn.initial_state)
        rate = optimiser.learning_rate(self.spec.learning_rate, self.weights.n_updates)
        updated = None
        if gradient.parameters is not None:
            updated = self.network.update(self.weights, gradient.parameters, rate)
        weights = updated or self.weights
        judged = self._judge(before, observed)
        lessons = None if judged is None or not learn.weights else ngrams.worth_learning(judged.lessons)
        changed = updated is not None or any(novel) or lessons is not None
        version = self.version + changed

        advanced = beliefs.copy()
        after = advanced.records
        if self.spec.learn.state:
            self._correct(after, example)
        else:
            correction.reset(after)
            after["uncorrected"] = after["corrected"] = gradient.last
        dense = self._take_in(after, observed, scores, stand_in)
        outputs = self._advance(after, weights, gradient, dense, observed)
        if judged is not None:
            ngrams.take_in(after["ngrams"], judged.weights, observed.new_slots)
        predictions = self._predictor.predict(self.counts, after, outputs, vocabulary.n_known, version)
        learned = example_records if updated is not None else example_records[:0]
        record = None
        if changed:
            known = self.vocabulary.n_known.tolist() if any(novel) else []
            record = Redo(version, rate, learn.initial_state, novel, known, learned, lessons).encode()
        refused = gradient.parameters is not None and updated is None
        return Step(
            *(advanced, scores, predictions, weights, vocabulary, lessons, version, record, refused),
            *(self.spec, items, observed),
        )

    def adopt(self, step: Step) -> None:
        """Make a step's weights and vocabulary the learner's, and count what its streams observed."""
        self.weights, self.vocabulary, self.version = step.weights, step.vocabulary, step.version
        if self.counts is not None and step.lessons is not None:
            self.counts.learn(step.lessons)
        self.n_refused += step.refused

    def redo(self, record: bytes) -> None:
        """Compute a recorded update again; the same bits come out as the first time on the same device.

        Raises:
            OtherFormat: If the record is whole, but of another format.
            DamagedRecord: If it is not whole, or does not follow this version; nothing has changed then.
        """
        redo = Redo.decode(self.spec, record)
        if redo.version != self.version + 1:
            raise codec.DamagedRecord(codec.Kind.REDO, f"version {redo.version} cannot follow {self.version}")
        if not self.vocabulary.admits(redo.novel):
            raise codec.DamagedRecord(codec.Kind.REDO, "its values are not of the model's fields")
        weights = self.weights
        if len(redo.examples):
            example = examples.to_example(redo.examples)
            gradient = self.network.gradient(weights.flat, example, weights=True, initial=redo.initial)
            updated = None
            if gradient.parameters is not None:
                updated = self.network.update(weights, gradient.parameters, redo.rate)
            if updated is None:
                raise codec.DamagedRecord(codec.Kind.REDO, "the update it describes was not taken")
            weights = updated
        self.weights, self.vocabulary = weights, self.vocabulary.grown(redo.novel)
        if self.counts is not None and redo.lessons is not None:
            self.counts.learn(redo.lessons)
        self.version = redo.version

    def encode_weights(self) -> bytes:
        """Weights, optimiser state, vocabulary, counts and version as bytes."""
        return snapshot.encode(self.weights, self.vocabulary, self.counts, self.version)

    @classmethod
    def from_snapshot(cls, spec: ModelSpec, encoded: bytes, device: str = "cpu") -> Self:
        """The learner that :meth:`encode_weights` was called on, on whatever device that was.

        Raises:
            OtherFormat: If the snapshot is whole, but of another format.
            DamagedRecord: If it is not whole, or not of this spec.
        """
        learner = cls(spec, device=device)
        weights, learner.vocabulary, learner.counts, learner.version = snapshot.decode(
            spec, learner.network.layout, encoded
        )
        learner.weights = learner.network.place(weights)
        return learner

    def going_back(self, encoded: bytes) -> Learner:
        """The learner that goes on from a snapshot of this model; this one stays as it is.

        The vocabulary stays the present one, since beliefs refer to its slots; for values met since the snapshot the
        weights and counts are those that it has. The version is one above the present: each names its own weights.

        Raises:
            OtherFormat: If the snapshot is whole, but of another format.
            DamagedRecord: If it is not whole, or not of this spec.
        """
        learner = type(self).from_snapshot(self.spec, encoded, self.device)
        learner.vocabulary = self.vocabulary.named_by(learner.vocabulary)
        learner.version, learner.n_refused = self.version + 1, self.n_refused
        learner.correction_rate = self.correction_rate
        return learner

    def _judge(self, records: np.ndarray, observed: Observed) -> ngrams.Judged | None:
        """What network and counts gave the categories observed; ``None`` where the model has no counts."""
        if self.counts is None:
            return None
        scored = np.where((records["sequence"] > 0)[:, None], observed.slots, -1)
        logits = correction.outputs(records)[:, self.network.n_reals :]
        return ngrams.judge(self.counts, records["ngrams"], logits, records["n_known"], scored, observed.new_slots)

    def _columns(self, items: Items, vocabulary: Vocabulary, n_known: NDArray[np.int32]) -> Observed:
        """The items as columns; a value not among the ``n_known`` (B, C) of its prediction had no slot there."""
        slots = vocabulary.slots(items)
        if not self.spec.categories:
            return Observed(items.reals, slots, slots, items.timestamp_us)
        unknown = np.array([field.n_slots - 1 for field in self.spec.categories], np.int64)
        return Observed(
            values=items.reals,
            slots=np.where(slots >= n_known, unknown, slots),
            new_slots=slots,
            timestamp_us=items.timestamp_us,
        )

    def _correct(self, records: np.ndarray, example: Example) -> None:
        """Correct the carried states, and learn from what their last correction did; ``records`` is changed.

        They hold the belief before the item.
        """
        network, flat = self.network, self.weights.flat
        newest = examples.newest_example(example, records)
        gradient = network.gradient(flat, newest, weights=False, initial=False)
        if not self._learn.state:
            records["uncorrected"] = records["corrected"] = gradient.last
            return
        if self.correction_rate is None:
            correction.learn(network, records, newest, gradient.before)
        else:
            correction.settle(records, self.correction_rate)
        correction.correct(network, flat, records, newest, gradient)

    def _take_in(
        self, records: np.ndarray, observed: Observed, scores: Scores, stand_in: Floats
    ) -> NDArray[np.float32]:
        """Take the items into all but the network's states; ``records`` is changed.

        Returns:
            The network's inputs, (P, B, D): as the window continues, and where the state learns as the belief does.
        """
        statistics.learn(records, scores, observed.slots)
        if self.spec.has_experts:
            experts.observe(records["experts"], observed.values, stand_in)
        surprise = scores.category_nll
        if self.counts is None and self.spec.categories:
            surprise = self._nats(records, observed, scores)
        return statistics.show(records, observed, scores, stand_in, surprise, 1 + self.spec.learn.state)

    def _nats(self, records: np.ndarray, observed: Observed, scores: Scores) -> Floats:
        """Nats of the categories observed under what the plain path predicted, (B, C); NaN where none was scored."""
        found = scores.category_nll.copy()
        nats(records["outputs"], records["n_known"], observed.slots, self.network.bounds, self.network.is_open, found)
        return found

    def _advance(
        self,
        records: np.ndarray,
        weights: Weights,
        gradient: Gradient,
        dense: NDArray[np.float32],
        observed: Observed,
    ) -> NDArray[np.float32]:
        """Advance each path's states on its inputs, (P, B, D), and let the window begin later; ``records`` is changed.

        Returns:
            The network's outputs for the next item, (B, O).
        """
        window.slide(records, gradient.first, dense[0], observed.new_slots)
        records["newest"] = dense[-1]
        carried = plain = self.network.advance(weights.flat, gradient.last, dense[0], observed.new_slots)
        if self.spec.learn.state:
            carried = self.network.advance(weights.flat, records["corrected"], dense[1], observed.new_slots)
        records["state"] = carried.state
        records["outputs"], records["corrected_outputs"] = plain.outputs, carried.outputs
        records["sequence"] += 1
        return correction.outputs(records)
