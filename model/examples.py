"""What one weight update learned from, as fixed-size records: a batch of them is a redo record's content."""

from __future__ import annotations

import numpy as np
import torch
from numba import types
from torch import Tensor

from model import codec
from model.belief import belief_dtype
from model.kernels import ITEMS, SINGLES, SLOTS, VALUES, kernel
from model.network import Example, Inputs
from model.spec import ModelSpec


def example_dtype(spec: ModelSpec) -> np.dtype[np.void]:
    """Layout of one example: the belief's window, and the item that followed it. See :class:`model.network.Example`."""
    n_r, n_c = len(spec.reals), len(spec.categories)
    return np.dtype(
        [
            ("window", belief_dtype(spec)["window"]),
            ("n_inputs", np.int32),
            ("from_initial", np.int32),
            ("targets", np.float32, (n_r,)),
            ("target_slots", np.int32, (n_c,)),
            ("n_known", np.int32, (n_c,)),
        ]
    )


def example_records(spec: ModelSpec, beliefs: np.ndarray, targets: np.ndarray, target_slots: np.ndarray) -> np.ndarray:
    """Examples from beliefs and the scaled items that followed them.

    Args:
        spec: The model's.
        beliefs: (B,), before the items.
        targets: (B, R); NaN where missing.
        target_slots: (B, C); -1 where missing.
    """
    records = np.zeros(len(beliefs), example_dtype(spec))
    for name in ("start", "dense", "slots"):
        records["window"][name] = beliefs["window"][name]
    _follow(
        *(beliefs["sequence"], spec.window, targets, target_slots),
        *(records["n_inputs"], records["from_initial"], records["targets"], records["target_slots"]),
    )
    records["n_known"] = beliefs["n_known"]
    return records


def read_examples(spec: ModelSpec, payload: memoryview) -> np.ndarray:
    """Examples from the bytes of a redo record.

    Raises:
        DamagedRecord: If an index in them is out of its bounds; kernels take it as it is.
    """
    records = np.frombuffer(payload, example_dtype(spec)).copy()  # torch takes no read-only memory
    n_slots = np.array([field.n_slots for field in spec.categories], np.int64)
    slots, targets, known = records["window"]["slots"], records["target_slots"], records["n_known"]
    if (
        any((found < -1).any() or (found >= n_slots).any() for found in (slots, targets))
        or ((known < 0) | (known > n_slots)).any()
        or ((records["n_inputs"] < 0) | (records["n_inputs"] > spec.window)).any()
    ):
        raise codec.DamagedRecord(codec.Kind.REDO, "its examples are out of bounds")
    return records


def to_example(records: np.ndarray, device: torch.device) -> Example:
    """Tensors of the examples; copied, so that redoing computes on the same memory layout as the first time."""

    def tensor(array: np.ndarray, kind: type) -> Tensor:
        return torch.from_numpy(np.array(array, kind, order="C")).to(device)

    window = records["window"]
    return Example(
        start=tensor(window["start"], np.float32),
        inputs=Inputs(tensor(window["dense"], np.float32), tensor(window["slots"], np.int64)),
        n_inputs=tensor(records["n_inputs"], np.int64),
        from_initial=tensor(records["from_initial"], np.bool_),
        targets=tensor(records["targets"], np.float32),
        target_slots=tensor(records["target_slots"], np.int64),
        n_known=tensor(records["n_known"], np.int64),
    )


def newest_example(example: Example, beliefs: np.ndarray) -> Example:
    """The same items as they follow from the corrected states, (B,): a window of one input.

    Args:
        example: Made from these beliefs.
        beliefs: (B,), before the items.
    """
    newest = np.ascontiguousarray(beliefs["newest"])[:, None]
    return Example(
        start=torch.from_numpy(np.ascontiguousarray(beliefs["corrected"])).to(example.start.device),
        inputs=Inputs(torch.from_numpy(newest).to(example.start.device), example.inputs.slots[:, -1:].contiguous()),
        n_inputs=example.n_inputs.clamp_max(1),
        from_initial=example.n_inputs == 0,
        targets=example.targets,
        target_slots=example.target_slots,
        n_known=example.n_known,
    )


@kernel(
    *(ITEMS, types.int64, VALUES, SLOTS),
    *(types.int32[:], types.int32[:], SINGLES, types.int32[:, :]),
)
def _follow(
    sequence: np.ndarray,
    window: int,
    targets: np.ndarray,
    slots: np.ndarray,
    n_inputs: np.ndarray,
    from_initial: np.ndarray,
    kept_targets: np.ndarray,
    kept_slots: np.ndarray,
) -> None:
    for b in range(sequence.size):
        predicted = sequence[b] > 0  # nothing was of a stream's first item
        n_inputs[b] = min(sequence[b], window)
        from_initial[b] = sequence[b] <= window
        for f in range(targets.shape[1]):
            kept_targets[b, f] = targets[b, f] if predicted else np.nan
        for c in range(slots.shape[1]):
            kept_slots[b, c] = slots[b, c] if predicted else -1
