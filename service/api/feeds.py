"""Feeds: which connection carries a client's items now.

A client whose connection broke opens another and sends again what was not answered. What it had sent over the first
may still be on its way: taken late, an item that got another number since would be learned twice. So a connection that
names its feed ends the one that carried it before, and takes nothing until all that came over that one is learned.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from service.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Carrier(Protocol):
    """A connection that can be told to take no more."""

    async def supersede(self) -> None:
        """Take no more from now on; returns once all that was taken is learned."""


class _Carried:
    """A feed's carrier, and whether it may take anything yet."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.may_take = asyncio.Event()


class Feeds:
    """The carrier of each feed that names itself, by model and name."""

    def __init__(self) -> None:
        self._carried: dict[tuple[str, str], _Carried] = {}

    @asynccontextmanager
    async def carrying(self, model: str, feed: str | None, carrier: Carrier) -> AsyncIterator[None]:
        """Be the carrier of a feed until the end of the block, or until another one is; of no feed where it is None."""
        if feed is None:
            yield
            return
        place = (model, feed)
        before, carried = self._carried.get(place), _Carried(carrier)
        self._carried[place] = carried
        try:
            if before is not None:
                await before.may_take.wait()  # it may itself wait for the one before it
                await before.carrier.supersede()
            carried.may_take.set()
            yield
        finally:
            await carrier.supersede()  # it has ended; what it took may not be learned yet
            carried.may_take.set()
            if self._carried.get(place) is carried:
                del self._carried[place]


def read_feed(query: Mapping[str, str]) -> str | None:
    """The feed that a connection carries, as it names it; None where it names none.

    Raises:
        InvalidRequest: If that is no name.
    """
    name = query.get("feed")
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidRequest("feed: 1 to 64 letters, digits, '_' or '-'")
    return name
