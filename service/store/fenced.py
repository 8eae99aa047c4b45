"""Writing to a partition only while one owns it."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import LeaseLost
from service.store.client import Argument, StoreClient
from service.store.keys import PartitionKeys
from service.store.scripts import Script


class Fenced:
    """What every part of a partition shares: the way to the store, the keys, and the lease of who acquired it.

    Args:
        client: The way to the store.
        keys: The partition's.
    """

    def __init__(self, client: StoreClient, keys: PartitionKeys) -> None:
        self._client = client
        self._keys = keys
        self._lease = ""  # of no owner

    @property
    def name(self) -> str:
        """The partition's name in messages."""
        return self._keys.name

    async def _run_fenced(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, bulk: bool = False
    ) -> int | None:
        """Run a script that checks the lease; return its count, if that is what it answers."""
        answer = await self._client.run(script, [self._keys.lease, *keys], [self._lease, *args], bulk=bulk)
        if isinstance(answer, int):
            return answer
        if answer != b"OK":
            error = LeaseLost(self._keys.name)
            error.add_note(f"the store's {answer.decode().lower()} is not the one that this owner left")
            raise error
        return None
