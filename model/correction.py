"""Correcting the belief: which way, how far, and how much what comes of it is trusted. All of it is learned.

A stream's state is carried along two paths. The **plain** path is the window, which the weights learn from; it is never
corrected. The **corrected** path is the belief: it carries each correction on.

- **Direction**: the gradient of the stream's own loss with respect to the memory, scaled so that a step of one would
  about remove the error of the item just seen (a Cauchy step: gradient squared over the curvature along it).
- **Rates**, one per unit: the share of that step which is taken. The gradient of the next loss with respect to the
  state, times the step, is the derivative of that loss with respect to the rate; each rate's logarithm moves against
  it, in units of its running size. ``rates``, ``moments`` (its running mean square), ``steps`` (the last full one) and
  ``slopes`` (how the hidden state follows the corrected memory) are (L, H) parts of a belief.
- **Trust**: the network's prediction is the plain path's, plus a share in [0, 1] of the difference that the corrections
  make. The share is that which would have been the best over the last few hundred items, less one standard error: the
  sums ``gain``, ``curvature`` and ``noise`` of least squares. It is 0 where correcting does not surely help, and then
  nothing is lost by it.

Sources: Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent" (2018), for the derivative; Sutton,
"Adapting Bias by Gradient Descent" (1992), for rates per unit that are learned in their logarithm.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import types
from numpy.typing import NDArray
from torch import Tensor

from model.compiled.network import CompiledNetwork, serves
from model.kernels import PER_STREAM, SINGLES, SLOTS, VALUES, clip, kernel, part
from model.network import HUBER, Example, Gradient, Network
from model.parameters import Parameters

Floats = NDArray[np.float64]

START = 0.1
"""Rate of every unit of a stream that has seen nothing."""

MAX_RATE = 4.0
MIN_RATE = 1e-3
MAX_CORRECTION = 1.0
"""Most that one correction changes a unit of the memory by."""

_LEARNING_RATE = 0.1  # of a rate's logarithm, in running sizes of its derivative
_MAX_SURPRISE = 3.0  # such sizes; more counts as this
_FORGET = 0.01  # of the running mean square of the derivative, per item
_LEAST_MOMENT = 1e-16
_PRIOR = 3.0  # weight of no trust, in units of summed curvature
_KEEP = 0.995  # of the sums, per item: they forget over two hundred items
_DAMPING = 0.01  # keeps the step finite where the outputs hardly depend on the memory
_TINY = 1e-12

_UNITS = types.float32[:, :, :]  # (B, L, H), may lie within larger records


def learn_rates(records: np.ndarray, before: Tensor, memory_part: int, seen: NDArray[np.bool_]) -> None:
    """Take in what the last correction did to the loss of this item; ``records`` is changed.

    Args:
        records: Beliefs, (B,).
        before: Gradient of each stream's loss with respect to the state that was corrected, (B, L, S, H).
        memory_part: Which part of the state the memory is.
        seen: Whether the stream had a prediction to score, (B,).
    """
    _learn_rates(
        *(records["rates"], records["moments"], records["steps"], records["slopes"]),
        *(before.cpu().numpy(), memory_part, seen),
    )


def learn_trust(network: Network, records: np.ndarray, targets: Floats, slots: NDArray[np.int64]) -> None:
    """Take in which share of the corrections' effect would have been the best for this item; ``records`` is changed.

    Args:
        network: Knows where each field's outputs lie.
        records: Beliefs that still hold both paths' outputs for the item, (B,).
        targets: Scaled values, (B, R); NaN where missing.
        slots: Of the category values, (B, C); -1 where missing.
    """
    _learn_trust(
        *(records["gain"], records["curvature"], records["noise"], records["outputs"], records["corrected_outputs"]),
        *(records["n_known"], targets, slots, np.array(network.slices, np.int64).reshape(-1, 2)),
        np.array(network.is_open, np.bool_),
    )


def outputs(records: np.ndarray) -> NDArray[np.float32]:
    """What the network says of the next item, (B, O): of both paths, as far as corrections are trusted."""
    plain, share = records["outputs"], trust(records).astype(np.float32)[:, None]
    return np.asarray(plain + share * (records["corrected_outputs"] - plain))


def trust(records: np.ndarray) -> Floats:
    """Share of the corrections' effect that the prediction takes, (B,), in [0, 1]."""
    shares = np.empty(len(records))
    _trusts(records["gain"], records["curvature"], records["noise"], shares)
    return shares


def settle(records: np.ndarray, rate: float) -> None:
    """Take this rate for every unit and trust the corrections fully, to compare with; ``records`` is changed."""
    records["rates"], records["gain"], records["curvature"], records["noise"] = rate, _PRIOR, 0.0, 0.0


def reset(records: np.ndarray) -> None:
    """Trust no correction, as before any was made; ``records`` is changed."""
    for name in ("gain", "curvature", "noise", "steps"):
        records[name] = 0.0


def full_step(network: Network, parameters: Parameters, gradient: Gradient, example: Example) -> Tensor:
    """Change of the memory, (B, L, H), that rates of one would make."""
    if isinstance(network, CompiledNetwork) and serves(gradient.memory):
        return network.full_step(parameters, gradient, example, _DAMPING, _TINY)
    top, tape = gradient.memory[:, -1], gradient.tapes[-1]  # (B, H)
    along = (top * network.cell.hidden_slope(tape, tape.after)) @ parameters.readout  # (B, O)
    n = network.n_reals
    curvature = torch.where(example.targets.isnan(), 0, along[:, :n].square()).sum(1)
    for j, (start, stop) in enumerate(network.slices):
        likely = network.log_probabilities(gradient.outputs, example.n_known, j).exp()
        moved = along[:, start:stop]
        spread = (likely * moved.square()).sum(1) - (likely * moved).sum(1).square()
        curvature = curvature + torch.where(example.target_slots[:, j] >= 0, spread, 0)
    square = top.square().sum(1)
    scale = square / (curvature + _DAMPING * square + _TINY)
    return (-scale[:, None, None] * gradient.memory).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def bounded(step: NDArray[np.float32], rates: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correction at these rates, both (B, L, H): units change by ``MAX_CORRECTION`` at most."""
    return np.asarray(np.clip(rates * step, -MAX_CORRECTION, MAX_CORRECTION))


def apply(network: Network, gradient: Gradient, correction: Tensor, begun: Tensor) -> Tensor:
    """The corrected state, (B, L, S, H); streams that have not ``begun`` (B,) keep theirs."""
    if isinstance(network, CompiledNetwork) and serves(correction):
        return network.correct(gradient, correction, begun)
    made = [network.cell.correct(tape, correction[:, i]) for i, tape in enumerate(gradient.tapes)]
    return torch.where(begun[:, None, None, None], torch.stack(made, 1), gradient.last)


def slopes(network: Network, gradient: Gradient, corrected: Tensor) -> Tensor:
    """Derivative of the corrected hidden state with respect to the corrected memory, unit by unit, (B, L, H)."""
    return torch.stack([network.cell.hidden_slope(t, corrected[:, i]) for i, t in enumerate(gradient.tapes)], 1)


@part
def _trust(gain: float, curvature: float, noise: float) -> float:
    return min(max((gain - math.sqrt(noise)) / (curvature + _PRIOR), 0.0), 1.0)


@kernel(PER_STREAM, PER_STREAM, PER_STREAM, PER_STREAM)
def _trusts(gains: np.ndarray, curvatures: np.ndarray, noises: np.ndarray, shares: np.ndarray) -> None:
    for b in range(shares.size):
        shares[b] = _trust(gains[b], curvatures[b], noises[b])


@kernel(_UNITS, _UNITS, _UNITS, _UNITS, types.float32[:, :, :, :], types.int64, types.boolean[:])
def _learn_rates(
    rates: np.ndarray,
    moments: np.ndarray,
    steps: np.ndarray,
    slopes: np.ndarray,
    before: np.ndarray,
    memory_part: int,
    seen: np.ndarray,
) -> None:
    n, layers, width = rates.shape
    for b in range(n):
        if not seen[b]:
            continue
        for layer in range(layers):
            for u in range(width):
                slope = np.float64(before[b, layer, memory_part, u])
                if memory_part:
                    slope += np.float64(before[b, layer, 0, u]) * slopes[b, layer, u]
                gain = -slope * steps[b, layer, u]
                if not math.isfinite(gain):
                    continue
                gain = clip(gain, 1e15)  # its square is a single-precision number
                moment = moments[b, layer, u] + _FORGET * (gain * gain - moments[b, layer, u])
                moments[b, layer, u] = moment
                move = _LEARNING_RATE * clip(gain / math.sqrt(moment + _LEAST_MOMENT), _MAX_SURPRISE)
                rates[b, layer, u] = min(max(rates[b, layer, u] * math.exp(move), MIN_RATE), MAX_RATE)


@part
def _spread(
    plain: np.ndarray, corrected: np.ndarray, share: float, start: int, stop: int, n_known: int, is_open: bool, own: int
) -> tuple[float, float]:
    """Slope and curvature of one category's log likelihood along the corrections' effect on its logits."""
    most = -math.inf
    for i in range(start, stop):
        if not is_open or i - start < n_known or i == stop - 1:
            most = max(most, plain[i] + share * (corrected[i] - plain[i]))
    total = mean = square = 0.0
    for i in range(start, stop):
        if not is_open or i - start < n_known or i == stop - 1:
            moved = np.float64(corrected[i]) - plain[i]
            likely = math.exp(plain[i] + share * moved - most)
            total += likely
            mean += likely * moved
            square += likely * moved * moved
    mean /= total
    return np.float64(corrected[own]) - plain[own] - mean, max(square / total - mean * mean, 0.0)


@kernel(
    *(PER_STREAM, PER_STREAM, PER_STREAM, SINGLES, SINGLES, types.int32[:, :], VALUES, SLOTS, SLOTS),
    types.boolean[:],
)
def _learn_trust(
    gains: np.ndarray,
    curvatures: np.ndarray,
    noises: np.ndarray,
    plains: np.ndarray,
    correcteds: np.ndarray,
    n_known: np.ndarray,
    targets: np.ndarray,
    slots: np.ndarray,
    bounds: np.ndarray,
    is_open: np.ndarray,
) -> None:
    for b in range(gains.size):
        plain, corrected = plains[b], correcteds[b]
        share = _trust(gains[b], curvatures[b], noises[b])
        gain = curvature = 0.0
        for f in range(targets.shape[1]):
            if not math.isnan(targets[b, f]):
                moved = np.float64(corrected[f]) - plain[f]
                gain += clip(targets[b, f] - plain[f] - share * moved, HUBER) * moved
                curvature += moved * moved
        for c in range(slots.shape[1]):
            if slots[b, c] >= 0:
                start, stop = bounds[c, 0], bounds[c, 1]
                slope, spread = _spread(
                    plain, corrected, share, start, stop, n_known[b, c], is_open[c], start + slots[b, c]
                )
                gain += slope
                curvature += spread
        if curvature > _TINY and gain * gain + curvature < math.inf:
            gains[b] = _KEEP * gains[b] + gain + share * curvature
            curvatures[b] = _KEEP * curvatures[b] + curvature
            noises[b] = _KEEP * noises[b] + gain * gain
