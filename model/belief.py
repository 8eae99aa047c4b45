"""Beliefs: all that a stream carries from one item to the next, as one fixed-size record per stream.

A batch of B beliefs is one NumPy structured array of length B. Stacking is joining bytes, unstacking is slicing them,
and every part is a view. The layout follows from the model's spec and never changes while the model lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model import calibration, codec, drift, experts, features, ngrams, scaling, scoring, student, surprise
from model.cells import CELLS
from model.correction import START
from model.items import NO_TIME
from model.spec import Layout, ModelSpec


def belief_dtype(spec: ModelSpec) -> np.dtype[np.void]:
    """Layout of one belief. Symbols as in :mod:`model.network`; R real and C category fields, V slots of all of these.

    - ``sequence``: of the last applied item, 0 before any; ``timestamp_us``: of the last item; ``interval_us``: the
      last step forward in time.
    - ``scale``: see :func:`model.scaling.scaling_dtype`.
    - ``state`` (L, S, H): hidden and cell state after the last item. ``uncorrected`` and ``corrected`` (L, S, H): the
      state that the last item was predicted from, before and after the correction; ``origin`` and ``unit`` (R,): the
      value and the increment scale it was predicted with; ``newest`` (D,): the inputs that this state was then
      advanced on. ``rates``, ``moments``, ``steps``, ``slopes`` (L, H), ``gain``, ``curvature``, ``noise``: what the
      correction learns, see :mod:`model.correction`.
    - ``window``: what the weight gradient goes back through; it was never corrected. ``outputs`` and
      ``corrected_outputs`` (O,): what the network puts out for the next item, from this window and from ``state``.
    - ``pending`` (R,), ``probabilities`` (V,), ``weights_version``, ``n_known`` (C,): the prediction that was sent and
      awaits its item, the weights that made it and the values known when it was made.
    - ``quantiles`` (R, Q): of standardised errors.
    - ``experts``: what forecasts beside the network, see :mod:`model.experts`; ``ngrams``: the last values of the
      category fields, and how network and counts are mixed, see :mod:`model.ngrams`; not there if the spec has none.
    - ``tally``: sums for the summary. ``surprises``: histogram of past surprise. ``drift``: see :mod:`model.drift`.
    - ``tails``: how well degrees of freedom fit, see :mod:`model.student`.
    """
    return _belief_dtype(spec.layout, features.n_dense(spec))


@lru_cache(maxsize=1024)
def _belief_dtype(layout: Layout, n_dense: int) -> np.dtype[np.void]:
    n_r, n_c, n_v = layout.n_reals, len(layout.n_slots), sum(layout.n_slots)
    state = (layout.layers, CELLS[layout.cell].n_parts, layout.hidden)
    memory = (layout.layers, layout.hidden)
    window = [
        ("start", np.float32, state),
        ("dense", np.float32, (layout.window, n_dense)),
        ("slots", np.int32, (layout.window, n_c)),
    ]
    tally = [
        ("reals", scoring.REAL_TALLY, (n_r,)),
        ("categories", scoring.CATEGORY_TALLY, (n_c,)),
        ("nll", np.float64),
        ("n_scores", np.int64),
    ]
    parts = [
        ("sequence", np.int64),
        ("timestamp_us", np.int64),
        ("interval_us", np.int64),
        ("scale", scaling.scaling_dtype(n_r)),
        ("origin", np.float64, (n_r,)),
        ("unit", np.float64, (n_r,)),
        ("gain", np.float64),
        ("curvature", np.float64),
        ("noise", np.float64),
        ("pending", scoring.PENDING, (n_r,)),
        ("weights_version", np.int64),
        ("tally", np.dtype(tally)),
        ("drift", drift.drift_dtype(n_r + n_c)),
        ("tails", student.tails_dtype(n_r)),
        *([("experts", experts.experts_dtype(n_r, experts.SIZES[layout.experts]))] if layout.experts != "none" else []),
        *([("ngrams", ngrams.mix_dtype(n_c))] if layout.has_ngrams else []),
        # Four-byte parts come last, so that every part is aligned and no byte is left undefined.
        ("probabilities", np.float32, (n_v,)),
        ("n_known", np.int32, (n_c,)),
        ("last_slots", np.int32, (n_c,)),
        ("state", np.float32, state),
        ("uncorrected", np.float32, state),
        ("corrected", np.float32, state),
        ("outputs", np.float32, (n_r + n_v,)),
        ("corrected_outputs", np.float32, (n_r + n_v,)),
        ("newest", np.float32, (n_dense,)),
        *((name, np.float32, memory) for name in ("rates", "moments", "steps", "slopes")),
        ("window", np.dtype(window)),
        ("quantiles", np.float32, (n_r, len(calibration.LEVELS))),
        ("surprises", np.uint32, (surprise.N_BINS,)),
    ]
    filler = np.dtype(parts).itemsize // 4 % 2
    return np.dtype([*parts, ("filler", np.int32, (filler,))])


@lru_cache(maxsize=32)  # megabytes each where vocabularies are large
def _fresh(dtype: np.dtype[np.void]) -> bytes:
    """The belief of a stream that has seen nothing."""
    records = np.zeros(1, dtype)
    records["timestamp_us"] = NO_TIME
    records["last_slots"] = -1
    records["window"]["slots"] = -1
    records["quantiles"] = calibration.fresh(records["scale"].shape[1])
    scaling.fresh(records["scale"])
    records["rates"] = START
    for name, part in (("experts", experts), ("ngrams", ngrams)):
        if name in (dtype.names or ()):
            part.fresh(records[name])
    return records.tobytes()


class Beliefs:
    """A batch of beliefs under one layout; indexing with a mask or indices gives a batch of copies.

    Args:
        records: (B,), contiguous.
        rows: The same memory as bytes, (B, size), if the caller has it.
    """

    __slots__ = ("records", "rows")

    def __init__(self, records: np.ndarray, rows: NDArray[np.uint8] | None = None) -> None:
        self.records = records
        self.rows = records.view(np.uint8).reshape(len(records), -1) if rows is None else rows
        """The bytes of each belief. Copied by rows, NumPy is fast; by records, it copies each of their many parts."""

    @classmethod
    def fresh(cls, spec: ModelSpec, n: int) -> Self:
        """Beliefs of ``n`` streams that have seen nothing."""
        dtype = belief_dtype(spec)
        return cls._of(np.frombuffer(bytearray(_fresh(dtype) * n), np.uint8), dtype)

    @classmethod
    def decode(cls, spec: ModelSpec, encoded: Sequence[bytes | None]) -> Self:
        """Stack encoded beliefs; ``None`` stands for a new stream.

        Raises:
            DamagedRecord: If bytes are not a belief of this spec.
        """
        dtype = belief_dtype(spec)
        new = _fresh(dtype)
        kept = (new if data is None else codec.unpack(codec.Kind.BELIEF, data, dtype.itemsize) for data in encoded)
        return cls._of(np.frombuffer(bytearray().join(kept), np.uint8), dtype)

    def encode(self) -> list[bytes]:
        """Each belief as bytes of its own."""
        return [codec.pack(codec.Kind.BELIEF, row.data) for row in self.rows]

    def copy(self) -> Self:
        """Beliefs that share no memory with these."""
        return self._of(self.rows.copy(), self.records.dtype)

    @property
    def sequence(self) -> NDArray[np.int64]:
        """Sequence of the last applied item of each stream, (B,); 0 for a new one."""
        return np.asarray(self.records["sequence"])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice | list[int]) -> Self:
        rows = self.rows[index]
        return self._of(rows.copy() if isinstance(index, slice) else rows, self.records.dtype)

    @classmethod
    def _of(cls, rows: NDArray[np.uint8], dtype: np.dtype[np.void]) -> Self:
        """Beliefs of these bytes, which they share; (B, size) or all in one row."""
        return cls(np.frombuffer(rows, dtype), rows.reshape(-1, dtype.itemsize))
