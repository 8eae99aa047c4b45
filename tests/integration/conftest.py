"""Running services that several modules share: a start takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conversing import MAX_ITEMS, MAX_LINE_BYTES, SLOW_S, WIDE, WINDOW
from tests.integration.test_process import SPEC, Service, serving


@pytest.fixture(scope="session")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with little room; it has a model ``m``, and a model ``wide`` whose replies are large."""
    flags = (
        *("--max-queue", str(MAX_ITEMS), "--max-items-per-request", str(MAX_ITEMS)),
        *("--max-frame-bytes", str(MAX_LINE_BYTES), "--max-body-bytes", "8192", "--body-timeout-s", "0.2"),
        *("--max-wait-s", "3600", "--max-window-items", str(WINDOW)),
    )
    with serving(tmp_path_factory.mktemp("bounded"), *flags) as service:
        yield from _with_models(service)


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that soon shows life, and soon gives up on who shows none and on idle models; with the same models."""
    flags = ("--heartbeat-s", "0.1", "--slow-reader-s", str(SLOW_S), "--model-idle-s", "0.3")
    with serving(tmp_path_factory.mktemp("lively"), *flags) as service:
        yield from _with_models(service)


def _with_models(service: Service) -> Iterator[Service]:
    for model, spec in (("m", SPEC), ("wide", WIDE)):
        assert service.client.put(f"/v1/models/{model}", json=spec).status_code == 201
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log
