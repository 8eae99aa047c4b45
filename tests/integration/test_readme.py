"""The README's commands, copied into a shell as a newcomer would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.spec import FieldSpec, ModelSpec
from service.cli.evaluate import evaluate
from service.evaluation.baselines import simple
from service.evaluation.runs import Variant
from service.evaluation.variants import ablation
from tests.integration.test_process import ROOT, serving

README = (ROOT / "README.md").read_text()


def quickstart() -> str:
    """The shell block between the README's quickstart marks."""
    found = re.search(r"<!-- quickstart -->\n```sh\n(.*?)```\n<!-- /quickstart -->", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_quickstart_ends_well_below_persistence(tmp_path: Path) -> None:
    """Every command succeeds, and over the last three quarters the error is at most .60 of persistence's."""
    with serving(tmp_path) as service:
        url = str(service.client.base_url).rstrip("/")
        bin_directory = Path(sys.executable).parent
        script = quickstart().replace("http://127.0.0.1:8000", url).replace(".venv/bin/", f"{bin_directory}/")
        script = script.replace("curl -sw", "curl -sS --fail-with-body -w")
        shell = shutil.which("bash") or "bash"
        done = subprocess.run(
            [shell, "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        summary = service.client.get("/v1/models/taxi/streams/nyc_taxi").json()
    assert summary["sequence"] == 10_320
    (shown,) = [line for line in README.splitlines() if "last 3/4" in line]
    (later,) = [line for line in done.stdout.splitlines() if "last 3/4" in line]
    assert later.split("│")[5] == shown.split("│")[5]  # persistence's error, which depends on the data alone
    rmse, persistence, ratio, coverage = (float(cell) for cell in later.split("│")[4:8])
    assert ratio <= 0.60
    assert rmse < persistence
    assert 0.885 <= coverage <= 0.915
    assert '"steps":' in done.stdout
    assert '"correction":' in done.stdout


def test_the_readme_names_files_that_are_there() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_the_learner_runs_on_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/architecture.md prints a prediction."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    exec(compile(example, "docs/architecture.md", "exec"), {})  # noqa: S102 - our own example
    assert 2 < float(capsys.readouterr().out) < 5


def test_the_evaluation_page_names_options_and_methods_that_are_there() -> None:
    """Every option of `stepahead evaluate` that docs/evaluate.md shows exists, and every variant is described."""
    page = (ROOT / "docs" / "evaluate.md").read_text()
    known = {name for parameter in evaluate.params for name in parameter.opts}
    commands = [line.split("#")[0] for line in page.splitlines() if line.startswith("stepahead evaluate")]
    shown = {option for command in commands for option in re.findall(r"--[a-z-]+", command)}
    assert shown
    assert shown <= known
    default = Variant("default", ModelSpec(fields=(FieldSpec("x"),)))
    for method in (*ablation(default)[0], *simple(None)):
        assert f"`{method.name}`" in page or method.name.startswith("weights-lr-"), method.name
