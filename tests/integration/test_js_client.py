"""The JavaScript client's own tests, which start a service for themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "js"
UNREACHABLE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|FETCH_ERROR)\b")


@pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="needs node and npm")
def test_the_javascript_client_passes_its_tests() -> None:
    """What ``npm ci && npm test`` runs succeeds, with the client's types as the service documents them."""
    if not _is_installed():
        installed = _npm("ci", "--no-audit", "--no-fund")
        if installed.returncode and UNREACHABLE.search(installed.stdout):
            pytest.skip("needs npm's registry, once, for the TypeScript compiler")
        assert installed.returncode == 0, installed.stdout
    done = _npm("test")
    assert done.returncode == 0, done.stdout


def _is_installed() -> bool:
    """Whether what the lock file names is there."""
    there = CLIENT / "node_modules" / ".package-lock.json"
    return there.is_file() and there.stat().st_mtime >= (CLIENT / "package-lock.json").stat().st_mtime


def _npm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("npm") or "npm", *arguments],
        cwd=CLIENT,
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
