"""The kernels of each cell and type of number.

A cell brings two parts, one layer rolled forward over a window and the gradient back through it. Both take the arrays
that follow and then the layer's recurrent weights (R, G*H), ``out`` (H, H) and ``out_bias`` (H,); the latter two are
empty but for ``fused``. A window is right-aligned: of its K positions only the last ``n_inputs`` (B,) hold an input.

- ``forward`` takes ``gates`` (K, B, G*H), the projected inputs, which become the gates' activations; ``states``
  (K+1, B, S, H), of which the first is given and those after each input are filled in; ``extra`` (K, B, H), what else
  the gradient needs, filled in; ``n_inputs``.
- ``backward`` takes these ``gates``, ``states`` and ``extra``; ``n_inputs``; ``above`` (T, B, H), the gradient that
  reaches each hidden state from above; ``carry`` (B, S, H), the gradient of the state after the window, which becomes
  that of the state before its T newest inputs. Fills in the gradients of ``memory`` (T, B, H) and of ``projected`` and
  recurrent ``product`` (T, B, G*H); the latter two are one array where they are the same. Unless ``to_start``, nobody
  asks for the gradient of the state before the oldest step, and ``carry`` may miss what comes by the recurrent weights.

Symbols as in :mod:`model.network`; R recurrent inputs, T the newest steps that are gone back through (1 to K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, Literal

import numpy as np
from numba import from_dtype, types

from model.cells import CELLS
from model.compiled import adam, correction, fused, gru, lstm, passes, rnn
from model.compiled.kernels import kernel_of

_PARTS: dict[str, ModuleType] = {"lstm": lstm, "gru": gru, "rnn": rnn, "fused": fused}

OUTPUT_GATE = {"lstm": 2}
"""Which gate lets the squashed memory out into the hidden state, in cells that have one."""

_HAS_OWN_PRODUCT = {"gru"}


@dataclass(frozen=True, slots=True)
class Kernels:
    """See :mod:`model.compiled.passes`; the last two are the same for all cells."""

    gradient: Callable[..., int]
    advance: Callable[..., None]
    correct: Callable[..., None]
    update: Callable[..., bool]


@lru_cache
def kernels(cell: str, kind: np.dtype[Any]) -> Kernels:
    """Those of a cell, compiled or loaded from disk now, for parameters of a type of float."""
    number = from_dtype(kind)

    def array(n: int, layout: Literal["C", "A"] = "C", of: Any = number) -> Any:
        return types.Array(of, n, layout)

    observed = array(2, "A"), array(2, "A", types.int32), array(2, "A", types.int32)
    example = (
        *(array(4, "A"), array(3, "A"), array(3, "A", types.int32), array(1, "A", types.int32)),
        array(1, "A", types.int32),
        *observed,
    )
    bounds, flags = array(1, of=types.int64), array(1, of=types.boolean)
    found = (array(1), array(1), array(3), array(4), array(2), array(4), array(4), array(3), array(3))
    ahead = (array(4, "A"), array(2, "A"), array(2, "A", types.int64), bounds, array(4), array(2), array(3))
    last, made = (array(3), array(4), array(3), array(3)), (array(3, "A"), array(4, "A"), array(3, "A"))
    return Kernels(
        gradient=kernel_of(
            _bound(passes.gradient, cell),
            types.int64(array(1), bounds, *example, bounds, flags, types.float64, types.boolean, *found),
        ),
        advance=kernel_of(_bound(passes.advance, cell), types.void(array(1), bounds, *ahead)),
        correct=kernel_of(
            _fresh(correction.correct),
            types.void(
                *(*last, types.int64, array(2), array(2), *observed, array(1, "A", types.int32), bounds, flags),
                *(array(3, "A"), types.float64, types.float64, types.float64, *made),
            ),
        ),
        update=kernel_of(
            _fresh(adam.update),
            types.boolean(
                *([array(1)] * 7),
                *([types.float64] * 6),
                array(1, of=types.float32),
                *([types.float64] * 2),
            ),
        ),
    )


def _bound(pattern: Callable[..., Any], cell: str) -> Callable[..., Any]:
    """The same code with a cell's parts and facts where the pattern names them."""
    facts = {
        "forward": _PARTS[cell].forward,
        "backward": _PARTS[cell].backward,
        "N_PARTS": CELLS[cell].n_parts,
        "N_RECURRENT": CELLS[cell].n_recurrent,
        "HAS_OUT": int(CELLS[cell].has_out),
        "HAS_OWN_PRODUCT": int(cell in _HAS_OWN_PRODUCT),
    }
    made = _fresh(pattern, facts)
    made.__qualname__ = f"{pattern.__name__}_{cell}"
    return made


def _fresh(function: Callable[..., Any], facts: dict[str, Any] | None = None) -> Callable[..., Any]:
    """A function of the same code, which compiling gives a name of its own, and with these in place of its globals."""
    return FunctionType(function.__code__, {**function.__globals__, **(facts or {})}, function.__name__)
