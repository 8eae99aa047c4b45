"""The examples of README and docs, run in the order of each page against a real service."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from tests.integration.test_process import ROOT, Service, serving

URL = "http://127.0.0.1:8000"
END = "--- end of block ---"
AT_TIMES = {"degrees_of_freedom"}  # there or not, as the numbers have it
BLOCK = re.compile(r"^```(sh|json|python)\n(.*?)^```\n(?:```json\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A block of a page.

    Args:
        language: ``sh``, ``python`` or ``json``.
        source: The block's text.
        answer: The JSON block that stands right below it; ``None`` for none.
    """

    language: str
    source: str
    answer: str | None


def examples(page: str) -> list[Example]:
    """The page's blocks, in order."""
    return [Example(found[1], found[2], found[3]) for found in BLOCK.finditer((ROOT / page).read_text())]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that knows nothing yet."""
    with serving(tmp_path / "data") as service:
        yield service


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_api_is_as_its_page_shows(service: Service, tmp_path: Path) -> None:
    """Every command of docs/api.md works, and what it prints has the shape that is shown below it."""
    blocks = examples("docs/api.md")
    commands = [block for block in blocks if block.language == "sh"]
    script = "".join(f"{block.source}\necho\necho '{END}'\n" for block in commands)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-eu", "-c", at(service, script).replace("curl -s", "curl -sS")],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    printed = done.stdout.split(END)
    assert len(printed) == len(commands) + 1
    n_compared = 0
    for block, output in zip(commands, printed, strict=False):
        assert output.strip() or "curl" not in block.source, block.source
        if block.answer is not None:
            assert shape(json.loads(output)) == shape(json.loads(block.answer)), block.source
            n_compared += 1
        elif '"warm"' not in block.source:  # a value that no field takes: its error is what is shown
            assert '"error"' not in output, block.source + output
    assert n_compared >= 5
    for block in blocks:
        if block.language == "python":
            run_python(at(service, block.source), {})


@pytest.mark.parametrize("page", ["README.md", "docs/sdk.md"])
def test_the_sdk_works_as_its_pages_show(
    page: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Python block of the page works, with what the ones before it left."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    sources = [block.source for block in examples(page) if block.language == "python"]
    assert sources
    for source in sources:
        run_python(at(service, source), namespace)


def at(service: Service, text: str) -> str:
    """The text with the address of the service."""
    address = str(service.client.base_url).rstrip("/")
    return text.replace(URL, address).replace(URL.replace("http", "ws"), address.replace("http", "ws"))


def run_python(source: str, namespace: dict[str, Any]) -> None:
    """Run a block; one that awaits gets a loop of its own."""
    code = compile(source, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = FunctionType(code, namespace)()
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)


def shape(value: Any) -> Any:
    """What a JSON value consists of, whatever its numbers and texts are."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name not in AT_TIMES}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
