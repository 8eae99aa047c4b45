"""Correcting the belief: which way, how far, and how far learned from what the last correction did.

The direction is the gradient of the stream's own loss with respect to its memory, scaled so that a step of one would
about remove the error of the item just seen (a Cauchy step: gradient squared over the curvature along it). How much of
that step to take is a **rate** per stream in [0, 1]. Each item shows what a slightly larger rate at the item before
would have done to its prediction; the derivative of its loss with respect to the rate, over the curvature, is summed
with forgetting and gives the rate. It goes to 0 where correcting does not help.

A belief keeps for this: ``outputs`` (O,), what the network put out for the pending prediction; ``response`` (O,), the
derivative of that with respect to the last correction's rate, zero where nothing was corrected; and the two sums,
``slope`` and ``curvature``.

Source: the hypergradient of Baydin et al., "Online Learning Rate Adaptation with Hypergradient Descent" (2018), in the
Newton form of stochastic meta-descent (Schraudolph 1999).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network import HUBER, Example, Gradient, Network
from model.parameters import Parameters

Floats = NDArray[np.float64]

PROBE = 0.1
"""How much larger than the rate the probe's is."""

START = 0.1
"""Rate of a stream that has seen nothing."""

_PRIOR = 30.0  # weight of the start, in units of summed curvature
_KEEP = 0.999  # of the sums, per item: they forget over a thousand items
_DAMPING = 0.1  # keeps the step finite where the outputs hardly depend on the memory
_TINY = 1e-12
MAX_CORRECTION = 1.0
"""Most that one correction changes a unit of the memory by."""


def rate(records: np.ndarray) -> Floats:
    """Share of the full step that each stream's correction takes, (B,), in [0, 1]."""
    return np.asarray(np.clip((records["slope"] + _PRIOR * START) / (records["curvature"] + _PRIOR), 0.0, 1.0))


def learn_rate(
    network: Network, records: np.ndarray, targets: Floats, slots: NDArray[np.int64], probabilities: Floats
) -> None:
    """Take in what the last correction did to the prediction of this item; ``records`` is changed.

    Args:
        network: Knows where each field's outputs lie.
        records: Beliefs that still hold the pending prediction, (B,).
        targets: Scaled values, (B, R); NaN where missing.
        slots: Of the category values, (B, C); -1 where missing.
        probabilities: What the network alone gave the category fields' slots, (B, V).
    """
    n, response = network.n_reals, records["response"].astype(np.float64)
    used = rate(records)
    error = np.clip(targets - records["outputs"][:, :n], -HUBER, HUBER)
    seen = ~np.isnan(error)
    moved = np.where(seen, response[:, :n], 0.0)
    slope = (np.where(seen, error, 0.0) * moved).sum(1)
    curvature = np.square(moved).sum(1)
    for j, (start, stop) in enumerate(network.slices):
        named = slots[:, j] >= 0
        moved = np.where(named[:, None], response[:, start:stop], 0.0)
        likely = probabilities[:, start - n : stop - n]
        own = np.take_along_axis(moved, np.maximum(slots[:, j], 0)[:, None], 1)[:, 0]
        mean = (likely * moved).sum(1)
        slope += own - mean
        curvature += (likely * np.square(moved)).sum(1) - np.square(mean)
    curvature = np.maximum(curvature, 0.0)
    told = curvature > _TINY
    records["slope"] = np.where(told, _KEEP * records["slope"] + slope + used * curvature, records["slope"])
    records["curvature"] = np.where(told, _KEEP * records["curvature"] + curvature, records["curvature"])


def full_step(network: Network, parameters: Parameters, gradient: Gradient, example: Example) -> Tensor:
    """Change of the memory, (B, L, H), that a rate of one would make."""
    top = gradient.memory[:, -1]  # (B, H)
    along = (top * network.cell.hidden_slope(gradient.tapes[-1])) @ parameters.readout  # (B, O)
    n = network.n_reals
    curvature = torch.where(example.targets.isnan(), 0, along[:, :n].square()).sum(1)
    for j, (start, stop) in enumerate(network.slices):
        likely = network.log_probabilities(gradient.outputs, example.n_known, j).exp()
        part = along[:, start:stop]
        spread = (likely * part.square()).sum(1) - (likely * part).sum(1).square()
        curvature = curvature + torch.where(example.target_slots[:, j] >= 0, spread, 0)
    square = top.square().sum(1)
    scale = square / (curvature + _DAMPING * square + _TINY)
    return (-scale[:, None, None] * gradient.memory).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def bounded(step: Tensor, rates: Floats) -> Tensor:
    """The correction at these rates (B,): that share of the full step, units within ``MAX_CORRECTION``, (B, L, H)."""
    share = torch.from_numpy(rates).to(step)[:, None, None]
    return (share * step).clamp(-MAX_CORRECTION, MAX_CORRECTION)


def apply(network: Network, gradient: Gradient, correction: Tensor, begun: Tensor) -> Tensor:
    """The corrected state, (B, L, S, H); streams that have not ``begun`` (B,) keep theirs."""
    made = [network.cell.correct(tape, correction[:, i]) for i, tape in enumerate(gradient.tapes)]
    return torch.where(begun[:, None, None, None], torch.stack(made, 1), gradient.last)
