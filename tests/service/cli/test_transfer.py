"""``stepahead export`` and ``stepahead import`` through a real service."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from stepahead import Client
from tests.service.cli.test_replay import name, service_url

__all__ = ["name", "service_url"]  # fixtures


def run(url: str, *arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [*map(str, arguments), "--url", url])


def one_line(result: Result) -> str:
    """What a command that failed said, which is no traceback."""
    assert result.exit_code in {1, 2}, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture
def fed(service_url: str, name: str) -> str:
    """A model with two streams of three items."""
    with Client(service_url) as client:
        model = client.create_model(name, {"load": "real"}, hidden=8)
        for stream in ("s", "späß 7"):
            for load in (1.0, 2.0, 4.0):
                model.stream(stream).observe(load=load)
    return name


def test_a_model_goes_out_and_in(service_url: str, fed: str, tmp_path: Path) -> None:
    """With its streams under another name, or without under its own once that is free."""
    file, copy = tmp_path / "boiler.safetensors", f"{fed}-copy"
    result = run(service_url, "export", fed, file, "--streams")
    assert result.exit_code == 0, result.output
    assert f"{file.stat().st_size} bytes" in result.stdout
    assert list(tmp_path.iterdir()) == [file]
    result = run(service_url, "import", file, "--model", copy)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"model {copy}, 2 streams\n"
    with Client(service_url) as client:
        predicted = [client.model(model).stream("s").observe(load=3.0).prediction for model in (fed, copy)]
        assert predicted[0] == predicted[1]
        client.delete_model(copy)
        assert run(service_url, "export", fed, file).exit_code == 0
        assert "exists already (model_exists)" in one_line(run(service_url, "import", file))
        client.delete_model(fed)
        assert run(service_url, "import", file).stdout == f"model {fed}, 0 streams\n"


def test_a_stream_goes_out_and_in(service_url: str, fed: str, tmp_path: Path) -> None:
    """Under its own name once that is free, or another."""
    file = tmp_path / "stream"
    assert run(service_url, "export", fed, file, "--stream", "späß 7").exit_code == 0
    assert "(stream_exists)" in one_line(run(service_url, "import", file))
    told = run(service_url, "import", file, "--stream", "other").stdout
    assert told == f"stream other of model {fed}, at item 3\n"
    with Client(service_url) as client:
        client.model(fed).stream("späß 7").delete()
    assert run(service_url, "import", file).stdout == f"stream späß 7 of model {fed}, at item 3\n"


def test_a_failed_export_leaves_the_old_file(service_url: str, fed: str, tmp_path: Path) -> None:
    """What was there stays as it was, and nothing is left beside it."""
    file = tmp_path / "kept"
    file.write_bytes(b"old")
    assert "(unknown_stream)" in one_line(run(service_url, "export", fed, file, "--stream", "none"))
    assert "(unknown_model)" in one_line(run(service_url, "export", "none", file))
    assert "no answer from" in one_line(run("http://127.0.0.1:1", "export", fed, file))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_breaks_off_leaves_the_old_file(
    service_url: str, fed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection lost half-way is told in one line."""

    def broken(*_: object) -> object:
        yield b"half"
        raise httpx.RemoteProtocolError("peer closed connection")

    monkeypatch.setattr(httpx.Response, "iter_bytes", broken)
    file = tmp_path / "kept"
    file.write_bytes(b"old")
    assert "peer closed connection" in one_line(run(service_url, "export", fed, file))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_wrong_use_is_told_in_one_line(service_url: str, fed: str, tmp_path: Path) -> None:
    """Options that do not go together, files that are none or not there, places that cannot be written."""
    junk, model = tmp_path / "junk", tmp_path / "model"
    junk.write_bytes(b"junk" * 100)
    assert run(service_url, "export", fed, model).exit_code == 0
    for arguments, why in (
        (("export", fed, junk, "--streams", "--stream", "s"), "either --stream or --streams"),
        (("export", fed, tmp_path / "none" / "file"), "No such file or directory"),
        (("import", junk), "is no safetensors file"),
        (("import", tmp_path / "none"), "does not exist"),
        (("import", model, "--stream", "s"), "this one holds a model"),
        (("import", model, "--model", "a/b"), "cannot name anything"),
    ):
        assert why in one_line(run(service_url, *arguments))
    assert "must begin with http" in one_line(run("127.0.0.1:1", "export", fed, model))
