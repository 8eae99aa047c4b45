"""The README's Python, run against the real service."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from stepahead import Client

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)


async def arriving_rows() -> AsyncIterator[tuple[str, dict[str, float]]]:
    """Rows of a source that takes its time."""
    for celsius in (59.0, 60.0):
        yield "site-9", {"temperature": celsius}


def run(code: CodeType, namespace: dict[str, Any]) -> None:
    """Run a block; one that awaits gets a loop of its own."""
    outcome = FunctionType(code, namespace)()
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)


def test_the_examples_work(
    service_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block does, in the order of the page, with what the ones before it left."""
    namespace: dict[str, Any] = {"__name__": "readme", "readings": [(61.0, "idle"), (61.5, "busy"), (62.0, "busy")]}
    monkeypatch.chdir(tmp_path)
    try:
        for block in BLOCKS:
            source = block.replace("http://127.0.0.1:8000", service_url)
            if "rows()" in source:
                namespace["rows"] = arriving_rows
            run(compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
        with Client(service_url) as client:
            sequences = {s.stream: s.sequence for s in client.model("boiler").streams()}
    finally:
        with Client(service_url) as client:
            client.delete_model("boiler")
    assert len(BLOCKS) == 6
    assert sequences == {"site-7": 5, "site-8": 1, "site-9": 2}
    printed = capsys.readouterr().out
    assert "busy" in printed
    assert "p-1 {'load': 3.3} Score(" in printed
