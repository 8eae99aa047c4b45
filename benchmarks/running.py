"""A service of one's own, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTENS = " listens on "


@contextmanager
def running() -> Iterator[str]:
    """The URL of a service on a free port, whose data is thrown away in the end.

    Raises:
        RuntimeError: If it does not start; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, (Path(folder) / "log").open("w+") as log:
        command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data-dir", f"{folder}/data"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPAHEAD_")}
        with subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process:
            try:
                said = process.stdout or ()
                url = next((line.rpartition(LISTENS)[2].split()[0] for line in said if LISTENS in line), None)
                if url is None:
                    log.seek(0)
                    raise RuntimeError(log.read())
                yield url
            finally:
                process.terminate()
                process.communicate()
