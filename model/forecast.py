"""Horizons beyond one step: sample paths, each a belief rolled forward on items drawn from its own predictions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import calibration, correction, ngrams, opinions, reply, scaling, timing
from model.belief import Beliefs
from model.items import NO_TIME, Item
from model.learner import Learner
from model.prediction import Predictions

N_PATHS = 200
"""Sample paths per forecast."""


def forecast(learner: Learner, belief: Beliefs, horizon: int, *, with_experts: bool = False) -> list[dict[str, Any]]:
    """Predict ``horizon`` steps ahead; changes nothing, and gives the same answer when asked again.

    The first step is the prediction that was sent. Each further one is read off the sample paths.

    Args:
        learner: Its weights are used, not changed.
        belief: Of one stream.
        horizon: Steps, at least 1.
        with_experts: Also what each expert said; of the first step, as the further ones are of no one mix.

    Returns:
        The contract's ``steps``.

    Raises:
        ValueError: If the horizon is below 1 or there is not exactly one belief.
    """
    if horizon < 1 or len(belief) != 1:
        raise ValueError(f"horizon {horizon} of {len(belief)} beliefs")
    spec, sequence = learner.spec, int(belief.sequence[0])
    first = pending(learner, belief)
    if with_experts and learner.counts is not None:
        logits = correction.outputs(belief.records)[:, len(spec.reals) :]
        known = learner.vocabulary.n_known
        first.said = partial(ngrams.opinion, learner.counts.copy(), belief.records["ngrams"], logits, known)
    sent = reply.fields(spec, learner.vocabulary, first, 0)
    if with_experts:
        for name, said in reply.experts_said(spec, learner.vocabulary, first, 0, sent).items():
            sent[name]["experts"] = said
    steps = [{"sequence": sequence + 1, "fields": sent}]
    if horizon == 1:
        return steps
    source = np.random.default_rng((spec.seed, sequence))
    frozen = learner.frozen()
    paths = Beliefs(np.repeat(belief.records, N_PATHS))
    predictions = pending(learner, paths)
    for ahead in range(2, horizon + 1):
        step = frozen.step(paths, _draw(frozen, paths, predictions, source))
        paths, predictions = step.beliefs, step.predictions
        _forget_draws(paths, belief)
        summary = _summarise(learner, predictions, paths, source)
        steps.append({"sequence": sequence + ahead, "fields": reply.fields(spec, learner.vocabulary, summary, 0)})
    return steps


def _forget_draws(paths: Beliefs, belief: Beliefs) -> None:
    """Give the paths back the scale and calibration that were really seen; ``paths`` is changed.

    Learned from a path's own draws they would feed on themselves and grow without end.
    """
    for name in scaling.LEARNED:
        paths.records["scale"][name] = belief.records["scale"][name]
    paths.records["quantiles"] = belief.records["quantiles"]
    if "ngrams" in (belief.records.dtype.names or ()):
        paths.records["ngrams"]["weights"] = belief.records["ngrams"]["weights"]


def pending(learner: Learner, beliefs: Beliefs) -> Predictions:
    """The predictions that were sent and await their items."""
    kept, levels = beliefs.records["pending"], np.asarray(learner.spec.quantiles)
    mean, std = kept["mean"], kept["std"]
    offsets = calibration.read(beliefs.records["quantiles"], levels)
    return Predictions(
        mean=mean,
        std=std,
        quantiles=mean[..., None] + std[..., None] * offsets,
        known=beliefs.records["scale"]["count"] > 0,
        probabilities=beliefs.records["probabilities"].astype(np.float64),
        offsets=offsets,
        degrees=kept["degrees"],
        mixed=opinions.kept(beliefs.records),
    )


def _draw(learner: Learner, paths: Beliefs, predictions: Predictions, source: np.random.Generator) -> list[Item]:
    """One item per path, drawn from its prediction."""
    values = _draw_reals(paths, predictions, source)
    records, n = paths.records, len(paths)
    slots: list[NDArray[np.int64]] = []
    at = 0
    for j, field in enumerate(learner.spec.categories):
        # A value that is not known yet cannot be drawn: it has no name.
        known = predictions.probabilities[:, at : at + len(learner.vocabulary.values[j])]
        cumulative = np.cumsum(known, axis=1)
        drawn = source.random(n) * (cumulative[:, -1] if known.shape[1] else 1.0)
        slots.append((cumulative < drawn[:, None]).sum(1))
        at += field.n_slots
    expected = timing.expected_us(records)
    return [
        Item(
            reals=tuple(values[i]),
            categories=tuple(
                learner.vocabulary.values[j][slots[j][i]] if learner.vocabulary.values[j] else None
                for j in range(len(slots))
            ),
            timestamp_us=None if expected[i] == NO_TIME else int(expected[i]),
        )
        for i in range(n)
    ]


def _draw_reals(paths: Beliefs, predictions: Predictions, source: np.random.Generator) -> NDArray[np.float64]:
    """Values (B, R) drawn between the calibrated quantiles, within the stream's range; NaN for a field never seen."""
    kept = paths.records["quantiles"]
    at = np.clip(source.random(predictions.mean.shape), calibration.LEVELS[0], calibration.LEVELS[-1])
    right = np.clip(np.searchsorted(calibration.LEVELS, at), 1, len(calibration.LEVELS) - 1)[..., None]
    low, high = (np.take_along_axis(kept, k, 2)[..., 0].astype(np.float64) for k in (right - 1, right))
    left, gap = calibration.LEVELS[right[..., 0] - 1], np.diff(calibration.LEVELS)[right[..., 0] - 1]
    drawn = predictions.mean + predictions.std * (low + (at - left) / gap * (high - low))
    return np.where(predictions.known, scaling.bound(paths.records["scale"], drawn), np.nan)


def _summarise(learner: Learner, predictions: Predictions, paths: Beliefs, source: np.random.Generator) -> Predictions:
    """One prediction from those of all paths: the law of total variance, and quantiles of one draw per path."""
    drawn = _draw_reals(paths, predictions, source)
    mean = predictions.mean.mean(0, keepdims=True)
    spread = np.square(predictions.std).mean(0) + predictions.mean.var(0)
    quantiles = np.moveaxis(np.quantile(drawn, learner.spec.quantiles, axis=0), 0, -1)
    return Predictions(
        mean=mean,
        std=np.sqrt(spread)[None],
        quantiles=quantiles[None],
        known=predictions.known[:1],
        probabilities=predictions.probabilities.mean(0, keepdims=True),
    )
