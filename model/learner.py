"""The learner of a model: score, correct, advance, predict. The one step of service, evaluation and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import (
    codec,
    correction,
    examples,
    experts,
    features,
    ngrams,
    optimiser,
    prediction,
    scaling,
    scoring,
    snapshot,
    timing,
)
from model.belief import Beliefs
from model.items import NO_TIME, Item, Vocabulary
from model.network import Example, Gradient, Inputs, Network
from model.ngrams import Counts
from model.optimiser import Weights
from model.parameters import Parameters
from model.scoring import Scores
from model.spec import LearnSpec, ModelSpec
from model.step import Observed, Step


class Learner:
    """Shared weights and vocabulary of one model; beliefs are the caller's.

    Args:
        spec: The model's.
        weights: ``None`` for fresh ones from the spec's seed.
        vocabulary: ``None`` for what the spec names.
        version: Counts the changes of weights, vocabulary and counts.
        counts: ``None`` for those of nothing; not used where the spec has none.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights | None = None,
        vocabulary: Vocabulary | None = None,
        version: int = 0,
        counts: Counts | None = None,
    ) -> None:
        self.spec = spec
        self.network = Network(spec, features.n_dense(spec))
        self.weights = weights or Weights.around(Parameters.fresh(self.network.layout, spec.seed))
        self.vocabulary = vocabulary or Vocabulary(spec)
        self.version = version
        self.counts = (counts or Counts.fresh(spec)) if spec.has_ngrams else None
        self.n_refused = 0

    def with_spec(self, spec: ModelSpec) -> Learner:
        """The same weights and counts under a spec that differs in what may change while a model runs.

        What either learner learns from then on the other does not know. May be called while another thread adopts.
        """
        counts = None if self.counts is None else self.counts.copy()
        learner = Learner(spec, self.weights, self.vocabulary, self.version, counts)
        learner.n_refused = self.n_refused
        return learner

    def frozen(self) -> Learner:
        """The same weights, and nothing learns: an item only advances the belief."""
        return self.with_spec(replace(self.spec, learn=LearnSpec(weights=False, state=False, initial_state=False)))

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
        learn = self.spec.learn
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

        after = before.copy()
        if self.spec.learn.state:
            own = before["probabilities"].astype(np.float64) if judged is None else judged.own
            correction.learn_rate(self.network, after, targets, observed.slots, own)
        states = self._correct(after, gradient, example)
        outputs = self._advance(after, weights, states, observed, scores)
        if judged is not None:
            ngrams.take_in(after["ngrams"], judged.weights, observed.new_slots)
        predictions = prediction.predict(self.spec, self.network, self.counts, after, outputs, vocabulary.n_known)
        prediction.await_item(after, predictions, vocabulary.n_known, version)
        learned = example_records if updated is not None else example_records[:0]
        meta = {"version": version, "rate": rate, "initial": self.spec.learn.initial_state, "novel": novel}
        parts = [learned] if lessons is None else [learned, lessons]
        redo = codec.pack_arrays(codec.Kind.REDO, {**meta, "n": len(learned)}, parts) if changed else None
        refused = gradient.parameters is not None and updated is None
        return Step(
            Beliefs(after), scores, predictions, weights, vocabulary, lessons, version, redo, refused, self.spec
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
            DamagedRecord: If the record is not whole, or does not follow this version.
        """
        meta, payload = codec.unpack_arrays(codec.Kind.REDO, record)
        if meta["version"] != self.version + 1:
            raise codec.DamagedRecord(codec.Kind.REDO, f"version {meta['version']} cannot follow {self.version}")
        dtype = examples.example_dtype(self.spec)
        n_bytes = meta["n"] * dtype.itemsize
        if len(payload) < n_bytes:
            raise codec.DamagedRecord(codec.Kind.REDO, "its examples are not of the model's layout")
        payload, counted = payload[:n_bytes], payload[n_bytes:]
        lessons = ngrams.read_lessons(self.spec, counted)
        if meta["n"]:
            records = np.frombuffer(payload, dtype).copy()  # torch takes no read-only memory
            example = examples.to_example(records, self.device)
            gradient = self.network.gradient(
                self.weights.parameters, example, weights=True, initial=bool(meta["initial"])
            )
            updated = None
            if gradient.parameters is not None:
                updated = optimiser.update(self.weights, gradient.parameters, float(meta["rate"]))
            if updated is None:
                raise codec.DamagedRecord(codec.Kind.REDO, "the update it describes was not taken")
            self.weights = updated
        self.vocabulary = self.vocabulary.grown(meta["novel"])
        if self.counts is not None and lessons is not None:
            self.counts.learn(lessons)
        self.version = meta["version"]

    def encode_weights(self) -> bytes:
        """Weights, optimiser state, vocabulary, counts and version as bytes."""
        return snapshot.encode(self.weights, self.vocabulary, self.counts, self.version)

    @classmethod
    def from_snapshot(cls, spec: ModelSpec, encoded: bytes) -> Self:
        """The learner that :meth:`encode_weights` was called on.

        Raises:
            DamagedRecord: If the snapshot is not whole, or not of this spec.
        """
        learner = cls(spec)
        learner.weights, learner.vocabulary, learner.counts, learner.version = snapshot.decode(
            spec, learner.network.layout, encoded
        )
        return learner

    def _judge(self, records: np.ndarray, observed: Observed) -> ngrams.Judged | None:
        """What network and counts gave the categories observed; ``None`` where the model has no counts."""
        if self.counts is None:
            return None
        scored = np.where((records["sequence"] > 0)[:, None], observed.slots, -1)
        logits = records["outputs"][:, self.network.n_reals :]
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

    def _correct(self, records: np.ndarray, gradient: Gradient, example: Example) -> Tensor:
        """Correct the carried memory and slide the window's past; ``records`` is changed.

        Returns:
            The corrected states, (B, L, S, H); where the state learns, below them those that a slightly larger rate
            would have made, (2B, L, S, H).
        """
        corrected = states = gradient.last
        made = torch.zeros_like(gradient.memory)
        if self.spec.learn.state:
            step = correction.full_step(self.network, self.weights.parameters, gradient, example)
            rates, begun = correction.rate(records), example.n_inputs > 0
            made = correction.bounded(step, rates)
            probe = correction.bounded(step, rates + correction.PROBE)
            corrected = correction.apply(self.network, gradient, made, begun)
            states = torch.cat((corrected, correction.apply(self.network, gradient, probe, begun)))
        records["uncorrected"], records["corrected"] = gradient.last.cpu().numpy(), corrected.cpu().numpy()

        window, length = records["window"], self.spec.window
        full = records["sequence"] >= length
        start = corrected if length == 1 else gradient.first
        window["start"] = np.where(full[:, None, None, None], start.cpu().numpy(), window["start"])
        if length > 1:
            window["corrections"][:, :-1] = window["corrections"][:, 1:].copy()
            window["corrections"][:, -1] = made.cpu().numpy()
        return states

    def _advance(
        self, records: np.ndarray, weights: Weights, states: Tensor, observed: Observed, scores: Scores
    ) -> Tensor:
        """Take the items in and advance the state on them; ``records`` is changed.

        Returns:
            The network's outputs for the next item, (B, O).
        """
        scale = records["scale"]
        records["origin"], records["unit"] = scale["value"], scaling.increment_scale(scale)
        error = (observed.values - records["origin"]) / records["unit"] - records["outputs"][:, : self.network.n_reals]
        scoring.take_in(records, scores, observed.slots)
        old_scale = scale.copy()
        stand_in = scaling.bound(scale, records["pending"]["mean"])
        scaling.observe(scale, observed.values, stand_in, scores.error)
        forecast = None
        if self.spec.has_experts:
            experts.observe(records["experts"], observed.values, stand_in)
            forecast = experts.forecasts(records["experts"])[..., experts.EXPERTS.index("regression")]
        timing.tell(records, observed.timestamp_us)
        dense = features.dense(
            old_scale,
            scale,
            np.where(np.isnan(scores.error), np.nan, error),
            forecast,
            scores.category_nll,
            observed.slots < 0,
            timing.expected_us(records),
        )
        window = records["window"]
        for name, newest in (("dense", dense), ("slots", observed.new_slots)):
            window[name][:, :-1] = window[name][:, 1:].copy()
            window[name][:, -1] = newest
        both = len(states) // len(records)  # 2 where a larger rate is probed
        inputs = Inputs(
            torch.from_numpy(dense).to(self.device).unsqueeze(1).repeat(both, 1, 1),
            torch.from_numpy(observed.new_slots).to(self.device).unsqueeze(1).repeat(both, 1, 1),
        )
        tapes = self.network.advance(weights.parameters, states, inputs)
        advanced = torch.stack([tape.after for tape in tapes], 1)
        read = self.network.read(weights.parameters, advanced)
        outputs, probed = read[: len(records)], read[len(records) :]
        records["state"] = advanced[: len(records)].cpu().numpy()
        records["outputs"] = outputs.cpu().numpy()
        records["response"] = ((probed - outputs) / correction.PROBE).cpu().numpy() if len(probed) else 0.0
        records["last_slots"] = np.where(observed.new_slots >= 0, observed.new_slots, records["last_slots"])
        records["sequence"] += 1
        return outputs
