"""Files of models and streams that nobody exported as they are."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")
_NUMBERS = (0, 1, -1, 2, 255, 256, 2**15, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e-310, 1e18, 1e38, 1e100, -1e308, float("inf"), float("nan"))
_TEXTS = ("", "0", "-1", "9" * 20, "1.5", "[", "{}", "null", "a" * 300, "\ud800", "Ж", "stepahead-model")
_SPECS: dict[str, tuple[Any, ...]] = {
    "hidden": (0, 1, 5, 1024, 2**40, "4", None),
    "layers": (0, 2, 4, 99),
    "window": (0, 1, 3, 64),
    "cell": ("gru", "rnn", "fused", "none"),
    "experts": ("none", "light", "some"),
    "tails": ("normal", 1),
    "quantiles": ([], [0.5], [0.9, 0.1], [float("nan")]),
    "max_streams": (0, 1, None, 2**80),
    "ttl_s": (0, 1, 1e308),
    "seed": (-1, 2**63),
    "fields": ([], [{"name": "load"}], [{"name": "load"}] * 2, None),
    "learn": ({"weights": False}, {"none": 1}, None),
    "more": (1,),
}


def mutated(source: random.Random, data: bytes) -> bytes:
    """A valid file with one thing changed, or a few: most of them are files still, and say something else."""
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        try:
            header, tensors = _parts(data)
        except ValueError:  # changed past reading
            break
        change = source.choice((_numbers, _numbers, _numbers, _texts, _spec, _header, _bytes))
        data = change(source, header, bytearray(tensors))
    return data


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A file's header and what follows it."""
    if len(data) < _LENGTH.size:
        raise ValueError("no file")
    stop = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    header = json.loads(data[_LENGTH.size : stop])
    if not isinstance(header, dict) or not all(isinstance(part, dict) for part in header.values()):
        raise ValueError("no header")
    return header, data[stop:]


def _whole(header: dict[str, Any], tensors: bytes | bytearray) -> bytes:
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return _LENGTH.pack(len(head)) + head + bytes(tensors)


def _numbers(source: random.Random, header: dict[str, Any], tensors: bytearray) -> bytes:
    """One number of a tensor replaced, of its type; small ones are as likely as the large."""
    named = sorted(name for name in header if name != "__metadata__" and "data_offsets" in header[name])
    if named:
        tensor = header[source.choice(named)]
        first, stop = tensor["data_offsets"]
        kind = {"F64": "<d", "F32": "<f", "I64": "<q", "I32": "<i", "U32": "<I", "U8": "<B"}.get(tensor["dtype"], "<B")
        size = struct.calcsize(kind)
        if stop - first >= size and stop <= len(tensors):
            at = first + source.randrange((stop - first) // size) * size
            if kind in {"<d", "<f"}:
                number = source.choice(_FLOATS)
                packed = struct.pack(kind, number if kind == "<d" or abs(number) < 3e38 else float("inf"))
            else:
                packed = struct.pack("<q", source.choice(_NUMBERS))[:size]
            tensors[at : at + size] = packed
    return _whole(header, tensors)


def _texts(source: random.Random, header: dict[str, Any], tensors: bytearray) -> bytes:
    """One text of the header replaced, left out, or added."""
    texts = header.get("__metadata__")
    if isinstance(texts, dict):
        name = source.choice([*sorted(texts), "more"])
        if source.random() < 0.2:
            texts.pop(name, None)
        else:
            texts[name] = source.choice(_TEXTS)
    return _whole(header, tensors)


def _spec(source: random.Random, header: dict[str, Any], tensors: bytearray) -> bytes:
    """One part of the spec replaced: what the file holds is then of another model."""
    texts = header.get("__metadata__")
    try:
        spec = json.loads(texts["spec"])
        name = source.choice(sorted(_SPECS))
        texts["spec"] = json.dumps({**spec, name: source.choice(_SPECS[name])})
    except (KeyError, TypeError, ValueError):  # another change took it away
        pass
    return _whole(header, tensors)


def _header(source: random.Random, header: dict[str, Any], tensors: bytearray) -> bytes:
    """A tensor renamed, left out, doubled, or of another type, shape or place."""
    named = sorted(name for name in header if name != "__metadata__")
    if named:
        name = source.choice(named)
        tensor = dict(header[name])
        match source.randrange(6):
            case 0:
                del header[name]
            case 1:
                header["more"] = header.pop(name)
            case 2:
                header["more"] = tensor
            case 3:
                tensor["dtype"] = source.choice(("F64", "F32", "I64", "I32", "U32", "U8", "BOOL", "none", 1))
            case 4:
                tensor["shape"] = source.choice(([], [0], [1], [2**40, 2**40], [-1], "1", [1.5]))
            case _:
                tensor["data_offsets"] = source.choice(([0, 0], [0, 2**60], [8, 0], [0], "0"))
        if name in header:
            header[name] = tensor
    return _whole(header, tensors)


def _bytes(source: random.Random, header: dict[str, Any], tensors: bytearray) -> bytes:
    """Bytes turned over, cut off or added, wherever they are."""
    data = bytearray(_whole(header, tensors))
    match source.randrange(4):
        case 0:
            return bytes(data[: source.randrange(len(data) + 1)])
        case 1:
            return bytes(data) + source.randbytes(source.choice((1, 8, 1000)))
        case 2:
            data[: _LENGTH.size] = _LENGTH.pack(source.choice((0, 1, 7, len(data), 2**31, 2**63, 2**64 - 1)))
        case _:
            for _ in range(source.randrange(1, 20)):
                data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    return bytes(data)
