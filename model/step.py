"""What goes into a step and what comes out, as columns over the streams of a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import reply
from model.belief import Beliefs
from model.items import Items, Vocabulary
from model.optimiser import Weights
from model.prediction import Predictions
from model.reply_form import ReplyForm
from model.reply_rows import row_layout
from model.scoring import Scores
from model.spec import ModelSpec

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Observed:
    """One item per stream, as columns.

    Args:
        values: Real fields, (B, R); NaN where missing.
        slots: Category fields as they were known when predicted, (B, C); -1 where missing.
        new_slots: The same with the values known from now on, (B, C).
        timestamp_us: (B,); ``NO_TIME`` where the item has none.
    """

    values: Floats
    slots: NDArray[np.int64]
    new_slots: NDArray[np.int64]
    timestamp_us: NDArray[np.int64]


@dataclass(slots=True)
class Step:
    """What one micro-batch leads to; nothing of it holds before :meth:`model.learner.Learner.adopt`.

    Args:
        beliefs: After the items.
        scores: Of the predictions that were pending.
        predictions: Of the next items.
        weights: After the update; the same object as before where nothing was learned.
        vocabulary: After the items.
        lessons: What the counts of category fields learn when the step is adopted; ``None`` for nothing.
        version: Weights version that made the predictions.
        redo: Record from which the weight update can be computed again; ``None`` where weights and vocabulary stay.
        refused: Whether the weight update would not have been finite and was not taken.
        spec: The model's, for rendering.
        items: That were observed.
        observed: The same as columns.
    """

    beliefs: Beliefs
    scores: Scores
    predictions: Predictions
    weights: Weights
    vocabulary: Vocabulary
    lessons: np.ndarray | None
    version: int
    redo: bytes | None
    refused: bool
    spec: ModelSpec
    items: Items
    observed: Observed

    @property
    def encoded_beliefs(self) -> list[bytes]:
        """Each belief as bytes."""
        return self.beliefs.encode()

    @property
    def results(self) -> list[dict[str, Any]]:
        """Sequence, score and prediction of each stream as the contract's JSON values."""
        form = ReplyForm(self.spec)
        return [form.result(told) for told in self.replies()]

    def replies(self, with_experts: Sequence[bool] | None = None) -> list[reply.Reply]:
        """The reply to each item; those of the streams so marked, (B,), also hold what each expert said."""
        spec, vocabulary, predictions, observed = self.spec, self.vocabulary, self.predictions, self.observed
        starts = [place.start for _, place in reply.places(spec)]
        spans = np.array([*zip(starts, vocabulary.n_known.tolist(), strict=True)], np.int64).reshape(-1, 2)
        rows = row_layout(spec, len(spec.quantiles)).fill(
            *(self.scores, predictions, self.beliefs.records["drift"], observed.values, observed.new_slots, spans)
        )
        found = reply.replies(spec, vocabulary, self.beliefs.sequence, self.version, rows, self.items)
        for i, said in enumerate(with_experts or ()):
            if said:
                sent = reply.fields(spec, vocabulary, predictions, i)
                found[i].experts = reply.experts_said(spec, vocabulary, predictions, i, sent)
        return found
