"""Where the embedded server listens, and where the last one did."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 108 on Linux and 104 on macOS


def choose_socket_path(store_dir: Path) -> Path:
    """Return the path for the socket of the server in ``store_dir``: there, or where that would be too long, elsewhere.

    Elsewhere is a private directory among the temporary ones; it is made if need be.

    Raises:
        OSError: If that directory can be anybody else's.
    """
    path = store_dir / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(store_dir)).hexdigest()[:16]
    return _private_directory(Path(tempfile.gettempdir()) / f"stepahead-{digest}") / "valkey.sock"


def note_socket_path(store_dir: Path, path: Path) -> None:
    """Leave word of where the next server listens, and make room for it."""
    (store_dir / "socket-path").write_bytes(_identity(store_dir) + os.fsencode(path))
    path.unlink(missing_ok=True)


def noted_socket_path(store_dir: Path) -> Path | None:
    """Return where the last server in ``store_dir`` listened; None if there was none.

    It need not be where the next one will: the directory for temporary files may have been another.
    """
    try:
        noted = (store_dir / "socket-path").read_bytes()
    except FileNotFoundError:
        return None
    identity = _identity(store_dir)
    return Path(os.fsdecode(noted.removeprefix(identity))) if noted.startswith(identity) else None


def _identity(directory: Path) -> bytes:
    """Tell a directory from a copy of it, in which the note is about the original's server."""
    status = directory.stat()
    return b"%d:%d " % (status.st_dev, status.st_ino)


def _private_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
        raise PermissionError(f"{path} is not a private directory of this user")
    return path
