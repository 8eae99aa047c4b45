"""The ablation: what the learner comes to without one of its parts, or with something simpler in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from model.spec import MAX_HIDDEN, CellKind, LearnSpec
from service.evaluation.runs import Variant

FIXED_RATES = (0.1, 0.3)
"""Shares of the full correction that variants with a fixed rate take."""

LEARNING_RATES = (1e-3, 3e-3)
"""Adam's step sizes in place of the default schedule; of a rate that was given, a third and three times are taken."""

_FROM_FIRST_SCORED = -1


def ablation(default: Variant) -> tuple[list[Variant], list[tuple[str, str]]]:
    """Variants of the learner, and which are compared with which.

    Args:
        default: What all others are variants of: weights and state learn, with learned correction rates.

    Returns:
        The variants without the default itself, and pairs of a variant and what it is compared with.
    """
    spec = default.spec
    weights = replace(spec, learn=replace(spec.learn, weights=True, state=False))
    initial = spec.learn.initial_state
    only_state = LearnSpec(weights=False, state=True, initial_state=False)
    nothing = LearnSpec(weights=False, state=False, initial_state=False)
    given = spec.learning_rate
    rates = LEARNING_RATES if given is None else (given / 3, min(3 * given, 1.0))
    variants = [
        Variant("weights", weights),
        *(Variant(f"both-rate-{rate:g}", spec, correction_rate=rate) for rate in FIXED_RATES),
        Variant("state", spec, _FROM_FIRST_SCORED, only_state),
        Variant("frozen", weights, _FROM_FIRST_SCORED, nothing),
        Variant("weights-x4", replace(weights, hidden=min(4 * spec.hidden, MAX_HIDDEN))),
        *(Variant(f"weights-lr-{rate:g}", replace(weights, learning_rate=rate)) for rate in rates),
        *([Variant("no-initial", replace(spec, learn=replace(spec.learn, initial_state=False)))] if initial else []),
        *(Variant(cell, replace(spec, cell=cell)) for cell in get_args(CellKind) if cell != spec.cell),
    ]
    variants = [replace(variant, device=default.device) for variant in variants]
    pairs = [(variant.name, default.name) for variant in variants]
    return variants, [*pairs, ("state", "frozen")]
