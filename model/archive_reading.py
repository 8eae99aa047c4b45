"""Reading the files of :mod:`model.archive`, without trusting them.

Whatever is missing, unknown, of another type or shape, not finite or out of range is refused, by name; memory is taken
only for arrays that the file has, whatever its spec claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import codec, features, snapshot, soundness
from model.archive import FORMAT_VERSION, WEIGHTS
from model.belief import Beliefs, belief_dtype
from model.items import Vocabulary
from model.ngrams.counts import ENCODED, Counts
from model.parameters import ParameterLayout
from model.soundness import named_parts
from model.spec import MAX_VALUE_LENGTH, ModelSpec
from model.tensors import InvalidArchive, TensorFile

_FILLERS_BYTES = 16  # most of a belief that is not in a file
_LAYOUT_PARTS = (
    "cell",
    "hidden",
    "layers",
    "window",
    "experts",
)  # with the fields, what a belief's layout follows from
_FLOAT32, _UINT32 = np.dtype(np.float32), np.dtype(np.uint32)


@dataclass(frozen=True, slots=True)
class ModelContent:
    """What a model's file holds.

    Args:
        snapshot: As :meth:`model.learner.Learner.encode_weights` makes it.
        version: Of the weights.
        streams: Encoded beliefs by name.
        sequences: That they are at, by name.
    """

    snapshot: bytes
    version: int
    streams: dict[str, bytes]
    sequences: dict[str, int]


def check_format(file: TensorFile, expected: str) -> None:
    """Return if the file is of this kind, and of a version that is read here.

    Raises:
        InvalidArchive: If it is not.
    """
    found = file.text("format")
    if found != expected:
        raise InvalidArchive(f"its format is {found[:40]!r} where {expected!r} is expected")
    version = file.number("format_version", codec.MAX_COUNT)
    if version != FORMAT_VERSION:
        raise InvalidArchive(f"its format version is {version}; this version reads {FORMAT_VERSION}")


def read_model(file: TensorFile, spec: ModelSpec) -> ModelContent:
    """What a model's file holds.

    Args:
        file: Nothing of it was taken.
        spec: The file's.

    Raises:
        InvalidArchive: If the file does not hold a model of this spec.
    """
    layout = ParameterLayout.of(spec, features.n_dense(spec))
    arrays: list[NDArray[Any]] = []
    for prefix in WEIGHTS:
        parts = [file.take(f"{prefix}.{part.name}", _FLOAT32, part.shape) for part in layout.parts.values()]
        arrays.append(np.concatenate([part.ravel() for part in parts]))
    values = _read_vocabulary(file, spec)
    version, n_updates = (file.number(name, codec.MAX_COUNT) for name in ("weights_version", "n_updates"))
    meta: dict[str, Any] = {"version": version, "n_updates": n_updates, "values": values}
    if spec.has_ngrams:
        n_rows, counted = _read_counts(file, spec)
        meta["counts"] = {"n_rows": n_rows, "n_used": len(counted[-1])}
        arrays += counted
    encoded = codec.pack_arrays(codec.Kind.WEIGHTS, meta, arrays)
    try:
        snapshot.decode(spec, layout, encoded)
    except codec.DamagedRecord as error:
        raise InvalidArchive(f"its weights cannot be used: {error.why}") from error
    names = _read_names(file)
    beliefs = _read_beliefs(file, spec, len(names))
    file.finish()
    streams = dict(zip(names, beliefs.encode(), strict=True))
    return ModelContent(encoded, version, streams, dict(zip(names, beliefs.sequence.tolist(), strict=True)))


def read_stream(file: TensorFile, theirs: ModelSpec, ours: ModelSpec, vocabulary: Vocabulary) -> bytes:
    """The encoded belief of a stream's file, for a model that it fits.

    Args:
        file: Nothing of it was taken.
        theirs: The file's spec.
        ours: The model's.
        vocabulary: The model's: it must know every value of the file's, in the same places.

    Raises:
        InvalidArchive: If the file does not hold a stream, or one of another layout; says what differs.
    """
    _check_fits(theirs, ours)
    values = _read_vocabulary(file, theirs)
    for field, known, met in zip(ours.categories, vocabulary.values, values, strict=True):
        if known[: len(met)] != met:
            raise InvalidArchive(
                f"it does not fit the model: of field {field.name!r} the model knows other values than the archive, or "
                "met them in another order"
            )
    (belief,) = _read_beliefs(file, ours, 1).encode()
    file.finish()
    return belief


def _check_fits(theirs: ModelSpec, ours: ModelSpec) -> None:
    for name in _LAYOUT_PARTS:
        has, wanted = getattr(theirs, name), getattr(ours, name)
        if has != wanted:
            raise InvalidArchive(f"it does not fit the model: its {name} is {has!r}, the model's {wanted!r}")
    if len(theirs.fields) != len(ours.fields):
        raise InvalidArchive(
            f"it does not fit the model: it has {len(theirs.fields)} fields, the model {len(ours.fields)}"
        )
    for number, (field, own) in enumerate(zip(theirs.fields, ours.fields, strict=True), start=1):
        if (field.name, field.kind) != (own.name, own.kind):
            raise InvalidArchive(
                f"it does not fit the model: its field {number} is {field.name!r} ({field.kind}), the model's "
                f"{own.name!r} ({own.kind})"
            )
        if field != own:
            raise InvalidArchive(
                f"it does not fit the model: its field {field.name!r} takes other values, or another number of them"
            )


def _read_vocabulary(file: TensorFile, spec: ModelSpec) -> list[list[str]]:
    """The values each category field knows."""
    values = file.take_json("vocabulary")
    if not isinstance(values, list) or len(values) != len(spec.categories):
        raise InvalidArchive(f"its vocabulary is not one list for each of {len(spec.categories)} category fields")
    for field, known in zip(spec.categories, values, strict=True):
        if not _are_texts(known, MAX_VALUE_LENGTH) or len(set(known)) < len(known):
            raise InvalidArchive(f"its vocabulary of field {field.name!r} is not a list of distinct texts")
        if (not field.is_open and tuple(known) != field.values) or len(known) > (field.capacity or len(known)):
            raise InvalidArchive(f"its vocabulary of field {field.name!r} is not the spec's, or more than fits it")
    return values


def _read_names(file: TensorFile) -> list[str]:
    """The names of the file's streams; empty where it has none."""
    if not file.has("streams"):
        return []
    names = file.take_json("streams")
    if not _are_texts(names) or len(set(names)) < len(names) or not names:
        raise InvalidArchive("its streams are not a list of distinct names")
    found: list[str] = names
    return found


def _are_texts(values: Any, max_length: int | None = None) -> bool:
    """Whether it is a list of texts that are not empty, and can be encoded."""
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        return False
    if max_length is not None and any(len(value) > max_length for value in values):
        return False
    try:
        "".join(values).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _read_counts(file: TensorFile, spec: ModelSpec) -> tuple[int, list[NDArray[Any]]]:
    """Rows of the table, and the arrays as :meth:`Counts.encode` gives them; what they hold is not looked at here."""
    fresh = Counts.fresh(spec)
    *parts, places, rows = ENCODED
    n_used = int(np.prod(file.shape(f"counts.{places}")))
    arrays = [file.take(f"counts.{name}", getattr(fresh, name).dtype, getattr(fresh, name).shape) for name in parts]
    arrays.append(file.take(f"counts.{places}", _UINT32, (n_used,)))
    arrays.append(file.take(f"counts.{rows}", _UINT32, (n_used, fresh.rows.shape[1])))
    return file.number("counts_rows", codec.MAX_COUNT), arrays


def _read_beliefs(file: TensorFile, spec: ModelSpec, n: int) -> Beliefs:
    """The beliefs of ``n`` streams."""
    if not n:
        return Beliefs.fresh(spec, 0)
    dtype = belief_dtype(spec)
    if n * (dtype.itemsize - _FILLERS_BYTES) > file.n_bytes:
        raise InvalidArchive(f"it is too short for the beliefs of {n} streams, {dtype.itemsize} bytes each")
    records = np.zeros(n, dtype)
    for name, part in named_parts(records).items():
        part[...] = file.take(f"beliefs.{name}", part.dtype, part.shape)
    beliefs = Beliefs(records)
    if (beliefs.sequence < 1).any():
        raise InvalidArchive("of its beliefs sequence is out of its bounds")
    try:
        soundness.check(spec, beliefs)
    except codec.DamagedRecord as error:
        raise InvalidArchive(f"of its beliefs {error.why}") from error
    return beliefs
