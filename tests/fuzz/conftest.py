"""The application and the server that are fuzzed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fuzz.hosted import Hosted, hosted
from tests.service.conftest import url, valkey

__all__ = ["app", "url", "valkey"]


@pytest.fixture
def app(url: str) -> Iterator[Hosted]:
    """The application on an emptied store; a hundred items ahead, so that a forecast takes no minutes."""
    with ExitStack() as stack:
        yield stack.enter_context(hosted(redis_url=url, max_horizon=100))
