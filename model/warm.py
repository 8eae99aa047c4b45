"""Kernels compiled, or loaded from disk, before the first item asks for them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from model import correction, examples, features, optimiser
from model.belief import Beliefs
from model.compiled.network import CompiledNetwork
from model.optimiser import Weights
from model.parameters import Parameters
from model.spec import CellKind, FieldSpec, ModelSpec


@lru_cache
@torch.no_grad()
def compile_cell(cell: CellKind) -> None:
    """Run every kernel of a network of this cell once, on a stream of one item; later calls do nothing.

    Takes some seconds where a machine has not compiled them before.
    """
    spec = ModelSpec(fields=(FieldSpec("x"),), cell=cell, hidden=1)
    network = CompiledNetwork(spec, features.n_dense(spec))
    weights = Weights.around(Parameters.fresh(network.layout, 0))
    records = Beliefs.fresh(spec, 1).records
    records["sequence"] = 1
    nothing = np.empty((1, 0), np.int64)
    example = examples.to_example(
        examples.example_records(spec, records, np.ones((1, 1)), nothing), weights.parameters.flat.device
    )
    gradient = network.gradient(weights.parameters, example, weights=True, initial=True)
    if gradient.parameters is not None:
        optimiser.update(weights, gradient.parameters, optimiser.LEARNING_RATE)
    step = correction.full_step(network, weights.parameters, gradient, example)
    correction.apply(network, gradient, step, example.n_inputs > 0)
