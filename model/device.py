"""Where a network computes: by compiled kernels on the CPU, or by torch on a device."""

from __future__ import annotations

import os
from typing import Literal

import torch

from model import features
from model.compiled.network import CompiledNetwork
from model.network import Network
from model.spec import ModelSpec
from model.tensor_network import TensorNetwork

DeviceSetting = Literal["cpu", "cuda", "auto"]


def choose(setting: DeviceSetting) -> Literal["cpu", "cuda"]:
    """The device of a setting; ``auto`` is ``cuda`` where there is one.

    Raises:
        ValueError: If CUDA is asked for and torch cannot use any; the message is one line.
    """
    if setting == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if setting == "auto":
        return "cpu"
    why = "this build of torch is for the CPU alone" if torch.version.cuda is None else "torch finds no device"
    raise ValueError(f"there is no CUDA here: {why}")


def network_on(spec: ModelSpec, device: str) -> Network:
    """The network of a model.

    Args:
        spec: The model's.
        device: ``cpu`` for compiled kernels; any other device by torch's name for it, such as ``cuda:1``. ``cpu:0`` is
            torch on the CPU.

    Raises:
        RuntimeError: If torch knows no device of this name.
    """
    n_dense = features.n_dense(spec)
    if device == "cpu":
        return CompiledNetwork(spec, n_dense)
    if torch.device(device).type == "cuda":
        _make_cuda_repeatable()
    return TensorNetwork(spec, n_dense, device)


def _make_cuda_repeatable() -> None:
    """Have CUDA compute the same bits every time, without which no redo could: sums there else have no fixed order.

    Holds for the whole process. The variable is what cuBLAS asks for; one that is set already stays, and torch refuses
    to multiply under one that does not do.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True)
