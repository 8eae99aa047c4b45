"""Named arrays and texts as the bytes of a safetensors file, read without trusting them.

Format: https://huggingface.co/docs/safetensors. Eight bytes give the length of a JSON header, which names each tensor's
type, shape and place, and under ``__metadata__`` any texts; the tensors follow. It holds no code, and anything may read
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

_LENGTH_BYTES = 8
_WHY = 200  # characters of the parser's own words
_ECHO = 60  # characters of a file's own text that an error repeats
_TYPES = {
    np.dtype(kind): name
    for kind, name in (
        (np.float64, "F64"),
        (np.float32, "F32"),
        (np.int64, "I64"),
        (np.int32, "I32"),
        (np.uint32, "U32"),
        (np.uint8, "U8"),
    )
}


class InvalidArchive(ValueError):
    """Bytes that are no archive, or one that does not fit; the message is one line for a person."""


def write(texts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A file of these texts and arrays."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(texts))


def as_json(value: Any) -> NDArray[np.uint8]:
    """Plain JSON values as a tensor of their bytes, UTF-8: a header is bounded, and meant for less."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), np.uint8)


class TensorFile:
    """What a file holds; each tensor is taken once, as what it must be.

    Args:
        data: The file's bytes.

    Raises:
        InvalidArchive: If they are no safetensors file.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._tensors: dict[str, Any] = dict(deserialize(data))  # type: ignore[no-untyped-call]
            stop = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
            texts = json.loads(data[_LENGTH_BYTES:stop]).get("__metadata__") or {}
        except (SafetensorError, ValueError, TypeError, RecursionError) as error:
            raise InvalidArchive(f"not a safetensors file: {' '.join(str(error).split())[:_WHY]}") from error
        self._texts: dict[str, str] = {str(name): str(text) for name, text in texts.items()}
        self.n_bytes = sum(len(tensor["data"]) for tensor in self._tensors.values())

    def text(self, name: str) -> str:
        """A text of the header.

        Raises:
            InvalidArchive: If it is not there.
        """
        if name not in self._texts:
            raise InvalidArchive(f"its metadata has no {name!r}")
        return self._texts[name]

    def number(self, name: str, most: int) -> int:
        """A whole number of the header, from 0 to ``most``.

        Raises:
            InvalidArchive: If it is not there, or no such number.
        """
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
            raise InvalidArchive(f"its {name} is {text[:_ECHO]!r}: a whole number up to {most} is expected")
        return int(text)

    def has(self, name: str) -> bool:
        """Whether there is such a tensor, not taken yet."""
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that a tensor claims.

        Raises:
            InvalidArchive: If it is not there.
        """
        if name not in self._tensors:
            raise InvalidArchive(f"it has no tensor {name!r}")
        return tuple(self._tensors[name]["shape"])

    def take(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """A tensor, which must be of this type and shape; it is not given twice.

        Raises:
            InvalidArchive: If it is not there, or is something else.
        """
        found = self.shape(name)
        tensor = self._tensors[name]
        if tensor["dtype"] != _TYPES[dtype] or found != shape:
            expected = f"{_TYPES[dtype]} of shape {list(shape)}"
            raise InvalidArchive(
                f"its tensor {name!r} is {tensor['dtype']} of shape {list(found)} where {expected} is expected"
            )
        del self._tensors[name]
        return np.frombuffer(tensor["data"], dtype).reshape(shape)

    def take_json(self, name: str) -> Any:
        """JSON values that :func:`as_json` made a tensor of.

        Raises:
            InvalidArchive: If they are not there, or are something else.
        """
        data = self.take(name, np.dtype(np.uint8), (int(np.prod(self.shape(name))),))
        try:
            return json.loads(data.tobytes().decode())
        except (ValueError, RecursionError) as error:
            raise InvalidArchive(f"its tensor {name!r} holds no JSON") from error

    def finish(self) -> None:
        """Return if every tensor was taken.

        Raises:
            InvalidArchive: If one was not: this version would lose what it holds.
        """
        if self._tensors:
            raise InvalidArchive(f"its tensor {min(self._tensors)[:_ECHO]!r} is not known")
