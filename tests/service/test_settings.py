"""Settings from environment and flags; a bad one is one line and exit status 2."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from service import __version__
from service.cli import main
from service.settings import BadSetting, Settings, env_name, flag_name


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)


def test_the_environment_sets_and_a_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable gives a setting its value, and what is given otherwise overrides it."""
    monkeypatch.setenv("STEPAHEAD_PORT", "9000")
    monkeypatch.setenv("STEPAHEAD_MAX_BATCH", "7")
    settings = Settings.load(port="9001")
    assert (settings.port, settings.max_batch) == (9001, 7)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable leaves the default."""
    monkeypatch.setenv("STEPAHEAD_REDIS_URL", "")
    assert Settings.load().redis_url is None


def test_keys_are_separated_by_commas() -> None:
    """Blanks around a key do not count."""
    assert Settings.load(api_keys="one, two").keys == ("one", "two")
    assert Settings.load().keys == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("max_batch", "0"),
        ("max_body_bytes", "-1"),
        ("redis_url", "http://somewhere"),
        ("redis_url", "redis://user:s3cret@host:port"),
        ("redis_url", "redis://:s3c/ret@host"),
        ("redis_url", "redis://[::1"),
        ("redis_url", "redis://host?nonsense=1"),
        ("redis_url", "unix:///s?db=first"),
        ("api_keys", ","),
        ("api_keys", "one,,two"),
        ("store_timeout_s", "0"),
        ("store_timeout_s", "nan"),
        ("log_level", "loud"),
        ("device", "gpu"),
        ("max_items_per_request", "65537"),
        ("max_queue_total", "9999"),
        ("max_open_models", "0"),
        ("max_models_bytes", "1"),
        ("model_idle_s", "0"),
        ("max_wait_s", "inf"),
        ("max_reads", "0"),
        ("max_connections", "0"),
        ("body_timeout_s", "-1"),
        ("drain_delay_s", "-1"),
    ],
)
def test_a_bad_setting_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the setting; the exit status is 2."""
    monkeypatch.setenv(env_name(name), value)
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("stepahead: bad setting: ")
    assert name in line.lower()
    assert "s3c" not in line


def test_cuda_that_is_not_there_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line; ``auto`` goes on without."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["serve", "--device", "cuda"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("stepahead: bad setting: STEPAHEAD_DEVICE='cuda' (--device): there is no CUDA here: ")
    assert Settings.load(device="auto").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Settings.load(device="auto").device == "cuda"


def test_a_secret_is_not_shown() -> None:
    """Neither what is wrong with a secret nor where data are kept tells it."""
    with pytest.raises(BadSetting) as caught:
        Settings.load(api_keys="s3cret,,", redis_url="htp://user:s3cret@host")
    assert "s3cret" not in str(caught.value)
    settings = Settings.load(redis_url="redis://user:s3cret@host:1/2", api_keys="s3cret")
    assert settings.store_place == "redis://host:1/2"
    assert "s3cret" not in repr(settings)


def test_every_setting_has_a_flag_and_says_what_it_is() -> None:
    """``serve --help`` names each setting's flag and variable."""
    text = "".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())
    for name, field in Settings.model_fields.items():
        assert flag_name(name) in text
        assert env_name(name) in text
        assert field.description


def test_the_version_is_told() -> None:
    """``--version`` names it."""
    assert __version__ in CliRunner().invoke(main, ["--version"]).output
