"""The scripts that run inside the store; each ``.lua`` file states its keys, arguments and answer.

``checks.lua`` and ``ring.lua`` are none: they stand at the head of those that write streams, and their replies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which the store knows it once it has run."""

    source: str = field(repr=False)
    sha: str


def _load(name: str, *heads: str) -> Script:
    shebang, newline, rest = _read(name).partition("\n")
    source = shebang + newline + "".join(map(_read, heads)) + rest
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files("service.store").joinpath("lua", f"{name}.lua").read_text("utf-8")


ACQUIRE = _load("acquire")
RELEASE = _load("release")
RENEW = _load("renew")
COMMIT = _load("commit", "checks", "ring")
SAVE_WEIGHTS = _load("save_weights")
BEGIN_ANEW = _load("begin_anew")
READ_REDO = _load("read_redo")
KEEP_WEIGHTS = _load("keep_weights")
DROP_WEIGHTS = _load("drop_weights")
DELETE_STREAMS = _load("delete_streams")
DROP_PARTITION = _load("drop_partition")
FORGET_EXPIRED = _load("forget_expired")
CREATE_STREAMS = _load("create_streams", "checks")
KEEP_SNAPSHOT = _load("keep_snapshot")
RESTORE_STREAM = _load("restore_stream", "checks")
DROP_SNAPSHOT = _load("drop_snapshot")
REPLACE_MODEL = _load("replace_model")
