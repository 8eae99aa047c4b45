"""The kernels of each cell, under one signature.

Symbols as in :mod:`model.network`; G gates, R recurrent inputs, T the newest steps that are gone back through (1 to K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.compiled import fused, gru, lstm, rnn


@dataclass(frozen=True, slots=True)
class Kernels:
    """One layer rolled forward over a window, and the gradient back through it.

    Both take the arrays that follow and then the layer's recurrent weights (R, G*H), for ``fused`` also ``out`` (H, H)
    and ``out_bias`` (H,). A window is right-aligned: of its K positions only the last ``n_inputs`` (B,) hold an input.

    Args:
        forward: Takes ``gates`` (K, B, G*H), the projected inputs, which become the gates' activations; ``states``
            (K+1, B, S, H), of which the first is given and those after each input are filled in; ``extra`` (K, B, H),
            what else the gradient needs, filled in; ``corrections`` (B, K-1, L, H); ``n_inputs``; the layer's number.
        backward: Takes these ``gates``, ``states`` and ``extra``; ``n_inputs``; ``above`` (T, B, H), the gradient that
            reaches each hidden state from above; ``carry`` (B, S, H), the gradient of the state after the window, which
            becomes that of the state before its T newest inputs. Fills in the gradients of ``memory`` (T, B, H) and of
            ``projected`` and recurrent ``product`` (T, B, G*H).
        has_own_product: Whether the latter two differ; else one array is given for both.
        output_gate: Which gate lets the squashed memory out into the hidden state, if there is one.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    has_own_product: bool = False
    output_gate: int | None = None


CELL_KERNELS = {
    "lstm": Kernels(lstm.forward, lstm.backward, output_gate=2),
    "gru": Kernels(gru.forward, gru.backward, has_own_product=True),
    "rnn": Kernels(rnn.forward, rnn.backward),
    "fused": Kernels(fused.forward, fused.backward),
}
