"""Real series for tests: the one in ``examples/``, and those a developer keeps elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def dataset(name: str) -> Path:
    """Path of a file below ``STEPAHEAD_DATASETS``; skips the test where it is not there."""
    root = os.environ.get("STEPAHEAD_DATASETS")
    if root is None:
        pytest.skip(f"needs {name}: set STEPAHEAD_DATASETS to the folder that holds it")
    path = Path(root) / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not below {root}")
    return path
