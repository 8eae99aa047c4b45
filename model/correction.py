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
from numba import types
from numpy.typing import NDArray

from model.compiled.kernels import exponential
from model.kernels import PER_STREAM, SINGLES, clip, kernel, part
from model.network import HUBER, TINY, Correction, Example, Flat, Gradient, Network

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

_UNITS = types.float32[:, :, :]  # (B, L, H), may lie within larger records


def correct(network: Network, flat: Flat, records: np.ndarray, example: Example, gradient: Gradient) -> None:
    """Correct the carried states at the rates that the streams have; ``records`` is changed.

    Args:
        network: Of the model.
        flat: Its parameters.
        records: Beliefs before the item, (B,).
        example: The item as it followed from the carried states, see :func:`model.examples.newest_example`.
        gradient: Of this example.
    """
    records["uncorrected"] = gradient.last
    into = Correction(records["steps"], records["corrected"], records["slopes"])
    network.correct(flat, example, gradient, records["rates"], MAX_CORRECTION, into)


def learn(network: Network, records: np.ndarray, example: Example, before: NDArray[np.float32]) -> None:
    """Take in what the last correction did to the loss of this item; ``records`` is changed.

    Args:
        network: Knows where each field's outputs lie, and which part of the state the memory is.
        records: Beliefs that still hold both paths' outputs for the item, (B,).
        example: The item as it followed from the carried states.
        before: Gradient of each stream's loss with respect to the state that was corrected, (B, L, S, H).
    """
    _learn(
        *(records["rates"], records["moments"], records["steps"], records["slopes"]),
        *(before, network.cell.n_parts - 1, example.n_inputs),
        *(records["gain"], records["curvature"], records["noise"], records["outputs"], records["corrected_outputs"]),
        *(example.n_known, example.targets, example.target_slots, network.bounds, network.is_open),
    )


def outputs(records: np.ndarray) -> NDArray[np.float32]:
    """What the network says of the next item, (B, O): of both paths, as far as corrections are trusted."""
    plain = records["outputs"]
    found = np.empty(plain.shape, np.float32)
    _mix(records["gain"], records["curvature"], records["noise"], plain, records["corrected_outputs"], found)
    return found


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


@part
def _trust(gain: float, curvature: float, noise: float) -> float:
    return min(max((gain - math.sqrt(noise)) / (curvature + _PRIOR), 0.0), 1.0)


@kernel(PER_STREAM, PER_STREAM, PER_STREAM, PER_STREAM)
def _trusts(gains: np.ndarray, curvatures: np.ndarray, noises: np.ndarray, shares: np.ndarray) -> None:
    for b in range(shares.size):
        shares[b] = _trust(gains[b], curvatures[b], noises[b])


@kernel(PER_STREAM, PER_STREAM, PER_STREAM, SINGLES, SINGLES, SINGLES)
def _mix(
    gains: np.ndarray,
    curvatures: np.ndarray,
    noises: np.ndarray,
    plain: np.ndarray,
    corrected: np.ndarray,
    mixed: np.ndarray,
) -> None:
    for b in range(plain.shape[0]):
        share = np.float32(_trust(gains[b], curvatures[b], noises[b]))
        for i in range(plain.shape[1]):
            mixed[b, i] = plain[b, i] + share * (corrected[b, i] - plain[b, i])


@part
def _learn_rates(
    rates: np.ndarray, moments: np.ndarray, steps: np.ndarray, slopes: np.ndarray, before: np.ndarray, memory_part: int
) -> None:
    """Of one layer of one stream; all (H,), ``before`` (S, H)."""
    single = np.float32
    forget, least, most = single(_FORGET), single(_LEAST_MOMENT), single(_MAX_SURPRISE)
    width = rates.size
    gains, kept = np.empty(width, np.float32), np.empty(width, np.float32)
    for u in range(width):
        slope = before[memory_part, u]
        if memory_part:
            slope += before[0, u] * slopes[u]
        gains[u], kept[u] = -slope * steps[u], moments[u]
    for u in range(width):
        is_finite = gains[u] - gains[u] == single(0)
        gain = min(max(gains[u], single(-1e15)), single(1e15))  # its square is a single-precision number
        gain = gain if is_finite else single(0)
        moment = kept[u] + forget * (gain * gain - kept[u])
        move = single(_LEARNING_RATE) * min(max(gain / math.sqrt(moment + least), -most), most)
        gains[u] = exponential(move)
        kept[u] = moment if is_finite else kept[u]
    for u in range(width):
        moments[u] = kept[u]
        rates[u] = min(max(rates[u] * gains[u], single(MIN_RATE)), single(MAX_RATE))


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
    *(_UNITS, _UNITS, _UNITS, _UNITS, types.float32[:, :, :, :], types.int64, types.int32[:]),
    *(PER_STREAM, PER_STREAM, PER_STREAM, SINGLES, SINGLES, types.int32[:, :], SINGLES, types.int32[:, :]),
    *(types.int64[:], types.boolean[:]),
)
def _learn(
    rates: np.ndarray,
    moments: np.ndarray,
    steps: np.ndarray,
    slopes: np.ndarray,
    before: np.ndarray,
    memory_part: int,
    n_inputs: np.ndarray,
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
        if n_inputs[b] > 0:
            for layer in range(rates.shape[1]):
                own = rates[b, layer], moments[b, layer], steps[b, layer], slopes[b, layer], before[b, layer]
                _learn_rates(*own, memory_part)
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
                start, stop = bounds[c], bounds[c + 1]
                slope, spread = _spread(
                    plain, corrected, share, start, stop, n_known[b, c], is_open[c], start + slots[b, c]
                )
                gain += slope
                curvature += spread
        if curvature > TINY and gain * gain + curvature < math.inf:
            gains[b] = _KEEP * gains[b] + gain + share * curvature
            curvatures[b] = _KEEP * curvatures[b] + curvature
            noises[b] = _KEEP * noises[b] + gain * gain
