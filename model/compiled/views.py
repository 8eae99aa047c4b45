"""Parameters, or a gradient of them, as views into the flat array (P,) that they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.compiled.kernels import Array, part
from model.parameters import ParameterLayout

Places = NDArray[np.int64]
"""Where each parameter begins in the flat array: a layer's five, the next layer's, then those of :func:`ends`."""

_OF_LAYER = 5


def places(layout: ParameterLayout) -> Places:
    """Those of a layout; 0 for what a cell has not."""
    names = ("input", "bias", "recurrent", "out", "out_bias")
    of_layers = [f"{name}.{layer}" for layer in range(layout.n_layers) for name in names]
    ordered = [layout.parts.get(name) for name in (*of_layers, "initial", "readout", "readout_bias")]
    return np.array([0 if part is None else part.offset for part in ordered], np.int64)


@part
def matrix(flat: Array, start: int, rows: int, columns: int) -> Array:
    """The part of ``flat`` from ``start`` on as a matrix (rows, columns)."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@part
def of_layer(
    flat: Array, places: Places, layer: int, rows: tuple[int, int], width: int, n_gates: int, has_out: int
) -> tuple[Array, Array, Array, Array, Array]:
    """A layer's weights: (I, G*H) of its inputs, bias (G*H,), recurrent (R, G*H), ``out`` (H, H) and its bias (H,).

    Args:
        flat: Empty for none; then so are the views.
        places: Of the layout.
        layer: Which.
        rows: I of the first layer, and R; other layers have H inputs.
        width: H.
        n_gates: G*H.
        has_out: 0 where the last two are empty, else 1.
    """
    at = _OF_LAYER * layer
    last = places[at + 4]
    return (
        matrix(flat, places[at], width if layer else rows[0], n_gates),
        flat[places[at + 1] : places[at + 1] + n_gates],
        matrix(flat, places[at + 2], rows[1], n_gates),
        matrix(flat, places[at + 3], has_out * width, width),
        flat[last : last + has_out * width],
    )


@part
def ends(
    flat: Array, places: Places, layers: int, n_parts: int, width: int, n_outputs: int
) -> tuple[Array, Array, Array]:
    """Initial state (L*S, H), readout (H, O) and its bias (O,)."""
    at = _OF_LAYER * layers
    last = places[at + 2]
    return (
        matrix(flat, places[at], layers * n_parts, width),
        matrix(flat, places[at + 1], width, n_outputs),
        flat[last : last + n_outputs],
    )
