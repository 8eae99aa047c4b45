"""The models that the store holds: their records, and what can be told of them without an engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from service.errors import StoreUnavailable, UnknownModel
from service.model_record import ModelRecord
from service.store import KeptSnapshot, Partition, Store


class Catalogue:
    """Models by name. A model that is being imported is none for anybody until all of it is kept.

    Every method raises ``StoreUnavailable`` if the store did not answer; the outcome of a write is then unknown.

    Args:
        store: Holds them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, model: str) -> ModelRecord:
        """The model's record.

        Raises:
            UnknownModel: If there is no such model.
        """
        return (await self.stored(model))[1]

    async def records(self) -> dict[str, ModelRecord]:
        """All models, in the order of their names."""
        records = {name: ModelRecord.decode(data) for name, data in sorted((await self._store.models()).items())}
        return {name: record for name, record in records.items() if not record.importing}

    async def count_streams(self, model: str) -> int:
        """Streams of a model, those included that have just expired."""
        return await self._store.partition(model).count_streams()

    async def kept_weights(self, model: str) -> list[KeptSnapshot]:
        """The snapshots of a model's weights that are kept, the newest first.

        Raises:
            UnknownModel: If there is no such model.
        """
        await self.record(model)
        return await self._store.partition(model).list_snapshots()

    async def stored(self, model: str) -> tuple[bytes, ModelRecord]:
        """The model's record, as it is stored too; raises what :meth:`record` does."""
        data = await self._store.model(model)
        record = None if data is None else ModelRecord.decode(data)
        if data is None or record is None or record.importing:
            raise UnknownModel(model)
        return data, record

    async def claim(self, model: str, record: ModelRecord) -> ModelRecord | None:
        """Keep a new model's record, or return that of the model that is there."""
        there = await self._store.create_model(model, record.encode())
        if there is not None and ModelRecord.decode(there).importing:  # of a process that ended, or of another one
            await self._store.discard_model(model, there)
            there = await self._store.create_model(model, record.encode())
        return None if there is None else ModelRecord.decode(there)

    async def fill(self, model: str, record: ModelRecord, write: Callable[[Partition], Awaitable[None]]) -> None:
        """Make a claimed model whole: its content first, its record last. A failure at any point leaves no model.

        Args:
            model: Was claimed with ``record.unfinished()``.
            record: What it is to be.
            write: Writes weights and streams to the model's partition, which is owned and empty.
        """
        unfinished, partition = record.unfinished().encode(), self._store.partition(model)
        try:
            await partition.acquire()
            if await self._store.model(model) != unfinished:  # taken for one of a process that ended
                raise StoreUnavailable("another service changed or deleted the model meanwhile")
            await write(partition)
            await self._store.replace_model(model, unfinished, record.encode())
        except BaseException:
            with suppress(StoreUnavailable):
                await self._store.discard_model(model, unfinished)
            raise
        with suppress(StoreUnavailable):
            await partition.release()  # whoever is asked for the model first may have it
