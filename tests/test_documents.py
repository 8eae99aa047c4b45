"""Documents that say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.settings import Settings, env_name

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]


def test_every_setting_is_documented() -> None:
    """The table in the operations' guide has each setting, its default and its description."""
    rows = [
        f"| `{env_name(name)}` | {'' if field.default is None else f'`{field.default}`'} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    _, _, table = (
        (ROOT / "docs" / "operations.md")
        .read_text()
        .partition("| variable | default | what it does |\n|---|---|---|\n")
    )
    assert table.strip().splitlines() == rows


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_settings_that_are_there(document: Path) -> None:
    """No variable of another name than a setting's, but for those of benchmarks and tests."""
    known = {env_name(name) for name in Settings.model_fields} | {"STEPAHEAD_DATASETS"}
    assert set(re.findall(r"STEPAHEAD_[A-Z]+(?:_[A-Z]+)*", document.read_text())) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the repository finds it, and one to a heading finds that."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        there = (document.parent / path).resolve() if path else document
        assert there.exists(), target
        if anchor:
            assert anchor in anchors_of(there), target


def anchors_of(document: Path) -> set[str]:
    """Anchors that headings get: lower case, without punctuation, dashes for spaces."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
