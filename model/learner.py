"""The learner of a model: score, correct, advance, predict. The one step of service, evaluation and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import (
    codec,
    correction,
    drift,
    examples,
    experts,
    features,
    ngrams,
    optimiser,
    prediction,
    scaling,
    scoring,
    snapshot,
    student,
    timing,
    warm,
)
from model.belief import Beliefs
from model.compiled.network import CompiledNetwork
from model.items import NO_TIME, Item, Vocabulary
from model.network import Example, Gradient, Inputs, Network
from model.ngrams import Counts
from model.optimiser import Weights
from model.parameters import Parameters
from model.redo import Redo
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
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights | None = None,
        vocabulary: Vocabulary | None = None,
        version: int = 0,
        counts: Counts | None = None,
        correction_rate: float | None = None,
    ) -> None:
        self.spec = spec
        warm.compile_cell(spec.cell)
        self.network: Network = CompiledNetwork(spec, features.n_dense(spec))
        self.weights = weights or Weights.around(Parameters.fresh(self.network.layout, spec.seed))
        self.vocabulary = vocabulary or Vocabulary(spec)
        self.version = version
        self.correction_rate = correction_rate
        self.counts = (counts or Counts.fresh(spec)) if spec.has_ngrams else None
        self.n_refused = 0
        self._learn = spec.learn

    def with_spec(self, spec: ModelSpec) -> Learner:
        """The same weights and counts under a spec that differs in what may change while a model runs.

        What either learner learns from then on the other does not know. May be called while another thread adopts.
        """
        counts = None if self.counts is None else self.counts.copy()
        learner = Learner(spec, self.weights, self.vocabulary, self.version, counts, self.correction_rate)
        learner.n_refused = self.n_refused
        return learner

    def frozen(self) -> Learner:
        """The same weights, and nothing learns: an item only advances the belief."""
        learner = self.with_spec(self.spec)
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

    @torch.no_grad()
    def step(self, beliefs: Beliefs, items: Sequence[Item]) -> Step:
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
        novel = self.vocabulary.novel(items)
        vocabulary = self.vocabulary.grown(novel)
        before = beliefs.records
        observed = self._columns(items, vocabulary, before["n_known"])
        scores = scoring.score(before, observed.values, observed.slots, self._slices)

        targets = features.targets(before["scale"], observed.values)
        example_records = examples.example_records(self.spec, before, targets, observed.slots)
        example = examples.to_example(example_records, self.device)
        learn = self._learn
        gradient = self.network.gradient(
            self.weights.parameters, example, weights=learn.weights, initial=learn.initial_state
        )
        rate = optimiser.learning_rate(self.spec.learning_rate, self.weights.n_updates)
        updated = None if gradient.parameters is None else optimiser.update(self.weights, gradient.parameters, rate)
        weights = updated or self.weights
        judged = self._judge(before, observed)
        lessons = None if judged is None or not learn.weights else ngrams.worth_learning(judged.lessons)
        changed = updated is not None or any(novel) or lessons is not None
        version = self.version + changed

        after = beliefs.copy().records
        states = [gradient.last]
        if self.spec.learn.state:
            states.append(self._correct(after, example, targets, observed))
        self._slide(after, gradient, states[-1])
        dense = self._take_in(before, after, observed, scores)
        outputs = self._advance(after, weights, states, dense, observed)
        if judged is not None:
            ngrams.take_in(after["ngrams"], judged.weights, observed.new_slots)
        predictions = prediction.predict(self.spec, self.network, self.counts, after, outputs, vocabulary.n_known)
        prediction.await_item(after, predictions, vocabulary.n_known, version)
        learned = example_records if updated is not None else example_records[:0]
        record = None
        if changed:
            known = self.vocabulary.n_known.tolist()
            record = Redo(version, rate, learn.initial_state, novel, known, learned, lessons).encode()
        refused = gradient.parameters is not None and updated is None
        return Step(
            Beliefs(after), scores, predictions, weights, vocabulary, lessons, version, record, refused, self.spec
        )

    def adopt(self, step: Step) -> None:
        """Make a step's weights and vocabulary the learner's, and count what its streams observed."""
        self.weights, self.vocabulary, self.version = step.weights, step.vocabulary, step.version
        if self.counts is not None and step.lessons is not None:
            self.counts.learn(step.lessons)
        self.n_refused += step.refused

    @torch.no_grad()
    def redo(self, record: bytes) -> None:
        """Compute a recorded update again; the same bits come out as the first time on the same machine.

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
            example = examples.to_example(redo.examples, self.device)
            gradient = self.network.gradient(weights.parameters, example, weights=True, initial=redo.initial)
            updated = None
            if gradient.parameters is not None:
                updated = optimiser.update(weights, gradient.parameters, redo.rate)
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
    def from_snapshot(cls, spec: ModelSpec, encoded: bytes) -> Self:
        """The learner that :meth:`encode_weights` was called on.

        Raises:
            OtherFormat: If the snapshot is whole, but of another format.
            DamagedRecord: If it is not whole, or not of this spec.
        """
        learner = cls(spec)
        learner.weights, learner.vocabulary, learner.counts, learner.version = snapshot.decode(
            spec, learner.network.layout, encoded
        )
        return learner

    def going_back(self, encoded: bytes) -> Learner:
        """The learner that goes on from a snapshot of this model; this one stays as it is.

        The vocabulary stays the present one, since beliefs refer to its slots; for values met since the snapshot the
        weights and counts are those that it has. The version is one above the present: each names its own weights.

        Raises:
            OtherFormat: If the snapshot is whole, but of another format.
            DamagedRecord: If it is not whole, or not of this spec.
        """
        learner = type(self).from_snapshot(self.spec, encoded)
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

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weights.parameters.flat.device

    @property
    def _slices(self) -> list[tuple[int, int]]:
        """Of each category field among the probabilities."""
        n = self.network.n_reals
        return [(start - n, stop - n) for start, stop in self.network.slices]

    def _columns(self, items: Sequence[Item], vocabulary: Vocabulary, n_known: NDArray[np.int32]) -> Observed:
        """The items as columns; a value not among the ``n_known`` (B, C) of its prediction had no slot there."""
        slots = vocabulary.slots(items)
        unknown = np.array([field.n_slots - 1 for field in self.spec.categories], np.int64)
        return Observed(
            values=np.array([item.reals for item in items], np.float64).reshape(len(items), -1),
            slots=np.where(slots >= n_known, unknown, slots),
            new_slots=slots,
            timestamp_us=np.array(
                [NO_TIME if item.timestamp_us is None else item.timestamp_us for item in items], np.int64
            ),
        )

    def _correct(self, records: np.ndarray, example: Example, targets: Floats, observed: Observed) -> Tensor:
        """Correct the carried states, (B, L, S, H), and learn from what their last correction did.

        ``records`` is changed; they hold the belief before the item.
        """
        network, parameters, memory_part = self.network, self.weights.parameters, self.network.cell.n_parts - 1
        newest = examples.newest_example(example, records)
        gradient = network.gradient(parameters, newest, weights=False, initial=False)
        records["uncorrected"] = gradient.last.cpu().numpy()
        if not self._learn.state:
            records["corrected"] = records["uncorrected"]
            return gradient.last
        begun = newest.n_inputs > 0
        if self.correction_rate is None:
            correction.learn_rates(records, gradient.before, memory_part, begun.cpu().numpy())
            correction.learn_trust(network, records, targets, observed.slots)
        else:
            correction.settle(records, self.correction_rate)
        step = correction.full_step(network, parameters, gradient, newest)
        records["steps"] = step.cpu().numpy()
        made = torch.from_numpy(correction.bounded(records["steps"], records["rates"])).to(self.device)
        corrected = correction.apply(network, gradient, made, begun)
        records["corrected"] = corrected.cpu().numpy()
        records["slopes"] = correction.slopes(network, gradient, corrected).cpu().numpy()
        return corrected

    def _slide(self, records: np.ndarray, gradient: Gradient, carried: Tensor) -> None:
        """Let the window begin one item later; ``records`` is changed. Without correction one state is carried."""
        if not self.spec.learn.state:
            correction.reset(records)
            records["uncorrected"] = records["corrected"] = carried.cpu().numpy()
        full = records["sequence"] >= self.spec.window
        window = records["window"]
        window["start"] = np.where(full[:, None, None, None], gradient.first.cpu().numpy(), window["start"])

    def _take_in(
        self, before: np.ndarray, records: np.ndarray, observed: Observed, scores: Scores
    ) -> list[NDArray[np.float32]]:
        """Take the items into all but the network's states; ``records`` is changed.

        Returns:
            The network's inputs, (B, D): as the window continues, and where the state learns as the belief does.
        """
        scale = records["scale"]
        records["origin"], records["unit"] = scale["value"], scaling.increment_scale(scale)
        scoring.take_in(records, scores, observed.slots)
        student.observe(records, scores.error)
        drift.observe(records, scores.error, records["unit"], scores.category_nll)
        # Without experts what the weights learn from is the plain path's own, so that corrections cannot change it.
        stand_in = scaling.bound(scale, records["pending"]["mean"] if self.spec.has_experts else self._means(before))
        scaling.observe(scale, observed.values, stand_in, scores.error)
        forecast = None
        if self.spec.has_experts:
            experts.observe(records["experts"], observed.values, stand_in)
            forecast = experts.forecasts(records["experts"])[..., experts.EXPERTS.index("regression")]
        timing.tell(records, observed.timestamp_us)
        paths = ("outputs", "corrected_outputs") if self.spec.learn.state else ("outputs",)
        nats = scores.category_nll if self.counts is not None else self._nats(before, observed, scores)
        dense = [
            features.dense(before, records, before[path], forecast, scores.error, nats, observed.slots)
            for path in paths
        ]
        window = records["window"]
        for name, newest in (("dense", dense[0]), ("slots", observed.new_slots)):
            window[name][:, :-1] = window[name][:, 1:].copy()
            window[name][:, -1] = newest
        records["newest"] = dense[-1]
        records["last_slots"] = np.where(observed.new_slots >= 0, observed.new_slots, records["last_slots"])
        return dense

    def _means(self, records: np.ndarray) -> Floats:
        """What the plain path predicted of the real fields, (B, R)."""
        scale, n_reals = records["scale"], self.network.n_reals
        increments = np.clip(records["outputs"][:, :n_reals], -features.MAX_OUTPUT, features.MAX_OUTPUT)
        return np.asarray(scale["value"] + scaling.increment_scale(scale) * increments)

    def _nats(self, records: np.ndarray, observed: Observed, scores: Scores) -> Floats:
        """Nats of the categories observed under what the plain path predicted, (B, C); NaN where none was scored."""
        nats = scores.category_nll.copy()
        outputs, known = (
            torch.from_numpy(records["outputs"].copy()),
            torch.from_numpy(records["n_known"].astype(np.int64)),
        )
        for j in range(nats.shape[1]):
            slot = torch.from_numpy(np.maximum(observed.slots[:, j : j + 1], 0))
            said = self.network.log_probabilities(outputs, known, j).gather(1, slot)[:, 0].numpy()
            nats[:, j] = np.where(np.isnan(nats[:, j]), np.nan, -said)
        return nats

    def _advance(
        self,
        records: np.ndarray,
        weights: Weights,
        states: list[Tensor],
        dense: list[NDArray[np.float32]],
        observed: Observed,
    ) -> Tensor:
        """Advance each path's states (B, L, S, H) on its inputs (B, D); ``records`` is changed.

        Returns:
            The network's outputs for the next item, (B, O).
        """
        n, paths = len(records), len(states)
        inputs = Inputs(
            torch.from_numpy(np.concatenate(dense)[:, None]).to(self.device),
            torch.from_numpy(np.concatenate([observed.new_slots[:, None]] * paths)).to(self.device),
        )
        tapes = self.network.advance(weights.parameters, torch.cat(states), inputs)
        advanced = torch.stack([tape.after for tape in tapes], 1)
        read = self.network.read(weights.parameters, advanced)
        plain, carried = read[:n], read[-n:]
        records["state"] = advanced[-n:].cpu().numpy()
        records["outputs"], records["corrected_outputs"] = plain.cpu().numpy(), carried.cpu().numpy()
        records["sequence"] += 1
        return torch.from_numpy(correction.outputs(records)).to(self.device)
